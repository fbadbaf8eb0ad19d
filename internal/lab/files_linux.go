package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// privateFiles gives the namespaces a file system in which daemons may write
// where they usually do, and which dies with them.
func privateFiles() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("detaching the mount table: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := tmpfs("/run"); err != nil {
		return err
	}
	if err := shadow("/etc", "tinc"); err != nil {
		return err
	}
	if err := shadow("/var", "log", "run"); err != nil {
		return err
	}
	if err := os.Remove("/var/run"); err != nil {
		return err
	}
	return os.Symlink("/run", "/var/run")
}

// hostFiles gives the calling thread, which has a mount namespace of its own,
// the directories that two machines do not share.
func hostFiles() error {
	for _, dir := range []string{"/run", "/etc/tinc", "/var/log"} {
		if err := tmpfs(dir); err != nil {
			return err
		}
	}
	return nil
}

func tmpfs(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// shadow replaces dir by a tmpfs that shows the same entries, except for those
// named fresh, which are empty directories.
func shadow(dir string, fresh ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	staging, err := os.MkdirTemp("/run", "shadow")
	if err != nil {
		return err
	}
	if err := tmpfs(staging); err != nil {
		return err
	}
	for _, name := range fresh {
		if err := os.Mkdir(filepath.Join(staging, name), 0o755); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if slices.Contains(fresh, e.Name()) {
			continue
		}
		if err := show(filepath.Join(dir, e.Name()), filepath.Join(staging, e.Name()), e.Type()); err != nil {
			return fmt.Errorf("showing %s again: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	if err := unix.Mount(staging, dir, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("mounting over %s: %w", dir, err)
	}
	return os.Remove(staging)
}

// show makes old visible as the new path.
func show(old, path string, kind fs.FileMode) error {
	switch {
	case kind&fs.ModeSymlink != 0:
		target, err := os.Readlink(old)
		if err != nil {
			return err
		}
		return os.Symlink(target, path)
	case kind.IsDir():
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
	}
	err := unix.Mount(old, path, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, unix.ENOENT) {
		return nil // it went away meanwhile
	}
	return err
}

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
	if err := shadow("/etc", readOnly, "tinc", "systemd"); err != nil {
		return err
	}
	if err := shadow("/var", 0, "log", "run"); err != nil {
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
	for _, dir := range []string{"/run", "/etc/tinc", "/etc/systemd", "/var/log"} {
		if err := tmpfs(dir); err != nil {
			return err
		}
	}
	return os.Mkdir("/etc/systemd/system", 0o755)
}

func tmpfs(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// readOnly is for shadow: what is shown cannot be changed.
const readOnly = unix.MS_RDONLY

// shadow replaces dir by a tmpfs that shows the same entries, except for those
// named fresh, which are empty directories.
func shadow(dir string, flags uintptr, fresh ...string) error {
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
		if err := show(filepath.Join(dir, e.Name()), filepath.Join(staging, e.Name()), e.Type(), flags); err != nil {
			return fmt.Errorf("showing %s again: %w", filepath.Join(dir, e.Name()), err)
		}
	}
	if err := unix.Mount(staging, dir, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("mounting over %s: %w", dir, err)
	}
	return os.Remove(staging)
}

// show makes old visible as the new path.
func show(old, path string, kind fs.FileMode, flags uintptr) error {
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
	if err != nil || flags == 0 {
		return err
	}
	// The flags that the mount has already may not be taken away in a user namespace. The
	// numbers of those of statfs are those of mount, as far as they matter here.
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	keep := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
	if st.Flags&unix.ST_RELATIME != 0 {
		keep |= unix.MS_RELATIME
	}
	return unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|flags|keep, "")
}

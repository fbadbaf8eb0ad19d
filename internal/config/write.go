package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of new files; the umask applies to the first two.
const (
	FileMode   fs.FileMode = 0o666
	ScriptMode fs.FileMode = 0o777
	SecretMode fs.FileMode = 0o600
)

// WriteFile replaces the contents of path, or creates it with the given mode.
// Whoever reads it at the same time, or after a crash, finds either the old
// text or the new one; when the disk is full the old one stays. Mode and owner
// of an existing file are kept (a secret becomes 0600 in any case), and
// symbolic links are followed.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		target, err = danglingTarget(path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := replace(target, data, mode); err != nil {
		return fmt.Errorf("writing %s: %w", path, cause(err))
	}
	return nil
}

// cause leaves out the names of temporary files, which tell nobody anything.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// danglingTarget returns what a symbolic link to nothing points to, or path
// itself if it does not exist at all.
func danglingTarget(path string) (string, error) {
	to, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", err
	case filepath.IsAbs(to):
		return to, nil
	}
	return filepath.Join(filepath.Dir(path), to), nil
}

func replace(path string, data []byte, mode fs.FileMode) error {
	return replaceWith(path, data, mode, createBeside)
}

func replaceWith(path string, data []byte, mode fs.FileMode, create func(string, fs.FileMode) (*os.File, error)) (err error) {
	old, err := os.Lstat(path)
	switch {
	case err == nil && !old.Mode().IsRegular():
		return errors.New("it is not a regular file")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		old = nil
	}
	perm := mode
	if old != nil {
		if mode != SecretMode {
			perm = old.Mode().Perm()
		}
		mode &= perm // at no moment readable for more people than in the end
	}

	tmp, err := create(path, mode)
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	if old != nil {
		if err := keepOwner(tmp, old); err != nil {
			return err
		}
		if err := tmp.Chmod(perm); err != nil {
			return err
		}
	}
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// createBeside opens a new file in the directory of path. The name cannot be
// taken for a host file or a part of conf.d. It is not os.CreateTemp, because
// the umask must decide about the mode.
func createBeside(path string, mode fs.FileMode) (*os.File, error) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s.%d-%d.tmp", path, os.Getpid(), i)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err == nil || !errors.Is(err, fs.ErrExist) || i == 1000 {
			return f, err
		}
	}
}

// Create writes a new file and fails with an error that is fs.ErrExist if
// there is one already.
func Create(path string, data []byte, mode fs.FileMode) error {
	if err := create(path, data, mode); err != nil {
		return fmt.Errorf("creating %s: %w", path, cause(err))
	}
	return nil
}

func create(path string, data []byte, mode fs.FileMode) error {
	tmp, err := createBeside(path, mode)
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// MakeDir creates a directory if it is missing. The mode of one that exists is
// left as its owner made it, except that a private one (0700) is tightened.
func MakeDir(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s exists and is not a directory", path)
	case mode == 0o700 && info.Mode().Perm()&0o077 != 0:
		return os.Chmod(path, 0o700)
	}
	return nil
}

// Package files reads and writes files whole, in directories that may belong to
// somebody else.
//
// A node that was started with -U owns hosts/, cache/ and invitations/, and root
// works in them as well: import, set, invite, check --fix. So that root writes
// nothing else than it means to, symbolic links are followed only where root or the
// caller has put them; everywhere else they are refused. Each step from the root
// directory to the file is taken through a descriptor of the directory before, so
// nothing can be exchanged in between. On systems without such owners paths are used
// as they are.
//
// What an operating system demands of whoever replaces a file is here, too. The
// package knows nothing of what is in the files.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// SecretMode is the mode of files that only their owner may read. Writing one of
// this mode over another file takes the rights of the others away.
const SecretMode fs.FileMode = 0o600

// LinkError is the error for a symbolic link that is not followed.
type LinkError struct{ Path string }

func (e *LinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link in a directory of another user, so it is not followed", e.Path)
}

// Hint is what the user can do about it.
func (e *LinkError) Hint() string {
	return "remove the link, or let root own the directory; a link that root made in a directory of root's is followed"
}

// NotRegularError is the error for something that is there in place of a file.
type NotRegularError struct {
	Path string
	Mode fs.FileMode // its type
}

func (e *NotRegularError) Error() string {
	return fmt.Sprintf("%s is %s, and no regular file", e.Path, kind(e.Mode))
}

// Hint is what the user can do about it.
func (e *NotRegularError) Hint() string {
	switch {
	case e.Mode&fs.ModeSymlink != 0:
		return "remove it: rm " + e.Path
	case e.Mode.IsDir():
		return "move it away, or name another file"
	}
	return "name a regular file" // never to remove it: it may be in /dev
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsDir():
		return "a directory"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// Read returns the contents of a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, err := OpenLinked(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := regular(f, path); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, err
}

// regular refuses what is no file: a named pipe would keep us waiting, a device
// would take what is written.
func regular(f *os.File, path string) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &NotRegularError{path, info.Mode()}
	}
	return err
}

// Write replaces the contents of path, or creates it with the given mode, to which the
// umask applies. Whoever reads it at the same time, or after a crash, finds either the
// old text or the new one; when the disk is full the old one stays. Mode and owner of
// an existing file are kept, except that [SecretMode] takes rights away.
func Write(path string, data []byte, mode fs.FileMode) error {
	return write(path, data, mode, (*place).createBeside)
}

func write(path string, data []byte, mode fs.FileMode, create func(*place, fs.FileMode) (*os.File, string, error)) (err error) {
	p, err := locate(path, true)
	if err != nil {
		return err
	}
	defer p.close()
	old, err := p.lstat()
	switch {
	case err == nil && !old.mode.IsRegular():
		return &NotRegularError{path, old.mode}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	there := err == nil
	perm := mode
	if there {
		if mode != SecretMode {
			perm = old.mode.Perm()
		}
		mode &= perm // at no moment readable for more people than in the end
	}
	tmp, name, err := create(p, mode)
	if err != nil {
		return err
	}
	defer func() {
		tmp.Close()
		if err != nil {
			p.sibling(name).remove()
		}
	}()
	if there {
		if err := keepOwner(tmp, old); err != nil {
			return err
		}
		if err := tmp.Chmod(perm); err != nil {
			return err
		}
	}
	if err := fill(tmp, data); err != nil {
		return err
	}
	if err := p.sibling(name).rename(p); err != nil {
		return err
	}
	return p.sync()
}

// fill writes a new file and closes it.
func fill(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// Create writes a new file. The error is fs.ErrExist if there is something already.
func Create(path string, data []byte, mode fs.FileMode) error {
	p, err := locate(path, false)
	if err != nil {
		return err
	}
	defer p.close()
	tmp, name, err := p.createBeside(mode)
	if err != nil {
		return err
	}
	defer p.sibling(name).remove()
	defer tmp.Close()
	if err := fill(tmp, data); err != nil {
		return err
	}
	if err := p.sibling(name).link(p); err != nil {
		return err
	}
	return p.sync()
}

// tries bounds the search for a name that is free.
const tries = 1000

// createBeside opens a new file in the directory of p. The name cannot be taken for a
// host file or a part of conf.d. It is not os.CreateTemp, because the umask must
// decide about the mode.
func (p *place) createBeside(mode fs.FileMode) (f *os.File, name string, err error) {
	for i := range tries {
		name = fmt.Sprintf("%s.%d-%d.tmp", p.base, os.Getpid(), i)
		f, err = p.sibling(name).open(os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, name, err
}

// Open opens a regular file as os.OpenFile does; the last part of path must not be a
// symbolic link at all, the file has no second name, and it never waits for the other end of a named pipe.
func Open(path string, flag int, mode fs.FileMode) (*os.File, error) {
	p, err := locate(path, false)
	if err != nil {
		return nil, err
	}
	defer p.close()
	// Said before the attempt: each system has another error for each kind.
	if e, err := p.lstat(); err == nil && !e.mode.IsRegular() {
		return nil, &NotRegularError{path, e.mode}
	}
	f, err := p.open(flag, mode)
	if err != nil {
		return nil, err
	}
	err = regular(f, path)
	if err == nil && names(f) > 1 {
		err = fmt.Errorf("%s has other names as well (hard links), so it is not touched", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenLinked is Open for files where links that may be followed are welcome, and
// devices and named pipes as well, such as a log file: /dev/stderr.
func OpenLinked(path string, flag int, mode fs.FileMode) (*os.File, error) {
	p, err := locate(path, true)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.open(flag, mode)
}

// Remove removes a file or an empty directory.
func Remove(path string) error {
	p, err := locate(path, false)
	if err != nil {
		return err
	}
	defer p.close()
	return p.remove()
}

// Rename gives a file another name.
func Rename(from, to string) error {
	p, err := locate(from, false)
	if err != nil {
		return err
	}
	defer p.close()
	q, err := locate(to, false)
	if err != nil {
		return err
	}
	defer q.close()
	return p.rename(q)
}

// Chmod sets the permissions of a file or directory.
func Chmod(path string, mode fs.FileMode) error {
	f, err := openForAttributes(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(mode)
}

// MakeDir makes a directory if it is missing. The mode of one that exists is left as
// its owner made it, except that a private one (0700) is tightened.
func MakeDir(path string, mode fs.FileMode) error {
	p, err := locate(path, true)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.mkdir(mode); !errors.Is(err, fs.ErrExist) {
		return err
	}
	e, err := p.lstat()
	switch {
	case err != nil:
		return err
	case !e.mode.IsDir():
		return fmt.Errorf("%s exists and is not a directory", path)
	case mode == 0o700 && e.mode.Perm()&0o077 != 0:
		return Chmod(path, 0o700)
	}
	return nil
}

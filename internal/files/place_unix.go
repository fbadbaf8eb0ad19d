//go:build unix

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// place is a name in an open directory.
type place struct {
	dir  int // a descriptor; -1: the path is too simple to need one
	base string
	path string // for messages
	// magic: a link of /proc, such as the one behind /dev/stderr, which only the kernel can follow.
	magic bool
}

// maxLinks is how many symbolic links one path may lead through, as in Linux.
const maxLinks = 40

// locate opens the directory that path leads to. With follow a symbolic link at the end
// is followed, if it may be; else the place is the link itself.
func locate(path string, follow bool) (*place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	p := &place{dir: -1, path: path}
	if err := p.walk(abs, follow); err != nil {
		p.close()
		if searchOnly == unix.O_RDONLY && errors.Is(err, unix.EACCES) && os.Geteuid() != 0 {
			// A directory that may be passed and not read cannot be opened here.
			return &place{dir: unix.AT_FDCWD, base: abs, path: path}, nil
		}
		var link *LinkError
		if errors.As(err, &link) {
			return nil, err
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return p, nil
}

func (p *place) walk(abs string, follow bool) error {
	if err := p.enter("/"); err != nil {
		return err
	}
	var top unix.Stat_t
	if err := unix.Fstat(p.dir, &top); err != nil {
		return err
	}
	todo := parts(abs)
	for links := 0; len(todo) > 0; {
		name, last := todo[0], len(todo) == 1
		var st unix.Stat_t
		err := unix.Fstatat(p.dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		switch {
		case err != nil && !(last && errors.Is(err, unix.ENOENT)):
			return err
		case err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK && (!last || follow):
			if last && magic(p.dir) { // leads to an open file and not to a name
				p.base, p.magic = name, true
				return nil
			}
			if !p.trusts(&st, top.Uid) {
				return &LinkError{p.path}
			}
			if links++; links > maxLinks {
				return unix.ELOOP
			}
			to, err := readlinkat(p.dir, name)
			if err != nil {
				return err
			}
			if filepath.IsAbs(to) {
				if err := p.enter("/"); err != nil {
					return err
				}
			}
			todo = append(parts(to), todo[1:]...)
			continue
		}
		if last {
			p.base = name
			return nil
		}
		if err := p.enter(name); err != nil {
			return err
		}
		todo = todo[1:]
	}
	p.base = "." // the root directory, or where a link to .. leads
	return nil
}

// parts are the names in a path. ".." stays: it can follow a link.
func parts(path string) (names []string) {
	for _, name := range strings.Split(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}

// enter makes a directory in the present one the present one.
func (p *place) enter(name string) error {
	next, err := unix.Openat(p.dir, name, searchOnly|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.close()
	p.dir = next
	return nil
}

// trusts tells whether a link may be followed: root or the caller has made it, in a
// directory of one of the two. In a user namespace the owner of the root directory is
// who root is outside.
func (p *place) trusts(link *unix.Stat_t, top uint32) bool {
	var dir unix.Stat_t
	if err := unix.Fstat(p.dir, &dir); err != nil {
		return false
	}
	for _, uid := range []uint32{link.Uid, dir.Uid} {
		if uid != 0 && uid != top && uid != uint32(os.Geteuid()) {
			return false
		}
	}
	return true
}

func (p *place) close() {
	if p.dir >= 0 {
		unix.Close(p.dir)
		p.dir = -1
	}
}

// sibling is another name in the same directory. It is not closed.
func (p *place) sibling(name string) *place {
	return &place{dir: p.dir, base: name, path: filepath.Join(filepath.Dir(p.path), filepath.Base(name))}
}

func (p *place) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: p.path, Err: err}
}

func (p *place) open(flag int, mode fs.FileMode) (*os.File, error) {
	// Without O_NONBLOCK a named pipe would keep us until its other end is open.
	how := flag | unix.O_NOFOLLOW
	if p.magic {
		how = flag
	}
	fd, err := unix.Openat(p.dir, p.base, how|unix.O_NONBLOCK|unix.O_CLOEXEC, uint32(mode.Perm()))
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EMLINK): // Linux and others, FreeBSD
		return nil, &NotRegularError{p.path, fs.ModeSymlink}
	case errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("open %s: nobody reads this named pipe, or it is a socket", p.path)
	case err != nil:
		return nil, p.failed("open", err)
	}
	return os.NewFile(uintptr(fd), p.path), nil
}

// entry is what is known of what has a name.
type entry struct {
	mode     fs.FileMode // type and permissions
	uid, gid uint32
}

func (p *place) lstat() (entry, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(p.dir, p.base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return entry{}, p.failed("lstat", err)
	}
	e := entry{fs.FileMode(st.Mode) & fs.ModePerm, st.Uid, st.Gid}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		e.mode |= fs.ModeDir
	case unix.S_IFLNK:
		e.mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		e.mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		e.mode |= fs.ModeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		e.mode |= fs.ModeDevice
	default:
		e.mode |= fs.ModeIrregular
	}
	return e, nil
}

// keepOwner gives f the owner and group of old if they differ from its own.
func keepOwner(f *os.File, old entry) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Uid == old.uid && is.Gid == old.gid {
		return nil
	}
	if err := f.Chown(int(old.uid), int(old.gid)); err != nil {
		return fmt.Errorf("keeping its owner: %w", err)
	}
	return nil
}

func (p *place) remove() error {
	err := unix.Unlinkat(p.dir, p.base, 0)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		if unix.Unlinkat(p.dir, p.base, unix.AT_REMOVEDIR) == nil {
			return nil
		}
	}
	return p.failed("remove", err)
}

func (p *place) rename(to *place) error {
	return p.failed("rename", unix.Renameat(p.dir, p.base, to.dir, to.base))
}

func (p *place) link(to *place) error {
	return to.failed("link", linkat(p.dir, p.base, to.dir, to.base))
}

func (p *place) mkdir(mode fs.FileMode) error {
	return p.failed("mkdir", unix.Mkdirat(p.dir, p.base, uint32(mode.Perm())))
}

// sync makes a new name in the directory survive a crash.
func (p *place) sync() error {
	fd, err := unix.Openat(p.dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return p.failed("sync", err)
	}
	defer unix.Close(fd)
	return p.failed("sync", unix.Fsync(fd))
}

// openForAttributes opens a file or directory whose mode is to be changed.
func openForAttributes(path string) (*os.File, error) {
	p, err := locate(path, true)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.open(os.O_RDONLY, 0)
}

// Chtimes sets the modification time of a file, which is no link.
func Chtimes(path string, modified time.Time) error {
	p, err := locate(path, false)
	if err != nil {
		return err
	}
	defer p.close()
	ts := unix.NsecToTimespec(modified.UnixNano())
	return p.failed("chtimes", unix.UtimesNanoAt(p.dir, p.base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
}

// Chown gives a file or directory to somebody.
func Chown(path string, uid, gid int) error {
	f, err := openForAttributes(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chown(uid, gid)
}

// names tells how many names a file has.
func names(f *os.File) uint64 {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	return uint64(st.Nlink)
}

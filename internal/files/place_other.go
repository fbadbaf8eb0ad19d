//go:build !unix

package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// place is a path: here directories have no owners whose links could lead astray.
type place struct{ base, path string }

// locate follows links as the system does.
func locate(path string, follow bool) (*place, error) {
	if to, err := filepath.EvalSymlinks(path); err == nil && follow {
		return &place{to, path}, nil
	}
	return &place{path, path}, nil
}

func (p *place) close() {}

func (p *place) sibling(name string) *place { return &place{name, name} }

type entry struct{ mode fs.FileMode }

func (p *place) lstat() (entry, error) {
	info, err := os.Lstat(p.base)
	if err != nil {
		return entry{}, err
	}
	return entry{info.Mode()}, nil
}

func (p *place) open(flag int, mode fs.FileMode) (*os.File, error) {
	return os.OpenFile(p.base, flag, mode)
}

func (p *place) remove() error { return os.Remove(p.base) }

func (p *place) rename(to *place) error { return replace(p.base, to.base) }

func (p *place) link(to *place) error { return os.Link(p.base, to.base) }

func (p *place) mkdir(mode fs.FileMode) error { return os.Mkdir(p.base, mode) }

func (p *place) sync() error { return nil }

func keepOwner(*os.File, entry) error { return nil }

func openForAttributes(path string) (*os.File, error) { return os.Open(path) }

// Chtimes sets the modification time of a file.
func Chtimes(path string, modified time.Time) error {
	return os.Chtimes(path, time.Time{}, modified)
}

// Chown does nothing: files have no such owners here.
func Chown(string, int, int) error { return nil }

func names(*os.File) uint64 { return 1 }

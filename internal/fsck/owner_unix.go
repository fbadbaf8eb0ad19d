//go:build unix

package fsck

import (
	"io/fs"
	"os"
	"syscall"
)

// mayChange tells whether we may change the mode of a file.
func mayChange(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (os.Geteuid() == 0 || int(s.Uid) == os.Geteuid())
}

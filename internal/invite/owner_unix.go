//go:build unix

package invite

import (
	"os"
	"path/filepath"
	"syscall"
)

// handOver gives what root has just made to whom the directory around it belongs: a node that
// was started with -U reads invitations as that user. Root's own directories keep root's files. Where that
// does not work (a user that this namespace does not know, say) the files stay root's.
func handOver(path string) {
	if os.Geteuid() != 0 {
		return
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return
	}
	to, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || to.Uid == 0 {
		return
	}
	// Through a descriptor, since that user may have put something else there meanwhile.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && (info.IsDir() || info.Mode().IsRegular() && is.Nlink == 1) {
		_ = f.Chown(int(to.Uid), int(to.Gid))
	}
}

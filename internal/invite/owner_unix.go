//go:build unix

package invite

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// handOver gives what root has just made to whom the directory around it belongs: a node that
// was started with -U reads invitations as that user. Root's own directories keep root's files.
func handOver(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	to, ok := dir.Sys().(*syscall.Stat_t)
	if !ok || to.Uid == 0 {
		return nil
	}
	// Through a descriptor, since that user may have put something else there meanwhile.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok || is.Uid == to.Uid {
		return nil
	}
	if !info.IsDir() && (!info.Mode().IsRegular() || is.Nlink != 1) {
		return fmt.Errorf("%s is not the file that was made", path)
	}
	return f.Chown(int(to.Uid), int(to.Gid))
}

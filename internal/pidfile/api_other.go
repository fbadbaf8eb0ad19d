//go:build !windows

package pidfile

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"tincan/internal/files"
)

func (c *Claim) listenAPI(path string) (net.Listener, error) {
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := files.Remove(path); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{Control: privateSocket}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // Remove does it, where the process still sees the file
	if err := os.Chmod(path, 0o700); err != nil {
		l.Close()
		files.Remove(path)
		return nil, err
	}
	return l, nil
}

// Open lets the members of a group connect. What they may do there is the server's choice.
func (s *APISocket) Open(gid int) error {
	path := APISocketPath(s.claim.path)
	return errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o770))
}

// Remove closes the socket and removes its file. It has to be called before the claim is released.
func (s *APISocket) Remove() {
	s.Close()
	_ = s.claim.dir.Remove(filepath.Base(APISocketPath(s.claim.path)))
}

//go:build !windows

package pidfile

import (
	"context"
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
	return listenPrivate(path)
}

// Open lets the members of a group connect. What they may do there is the server's choice.
func (s *APISocket) Open(gid int) error { return letIn(APISocketPath(s.claim.path), gid) }

// Remove closes the socket and removes its file. It has to be called before the claim is released.
func (s *APISocket) Remove() {
	s.Close()
	_ = s.claim.dir.Remove(filepath.Base(APISocketPath(s.claim.path)))
}

// dialAPI connects to the socket.
func dialAPI(ctx context.Context, pidFile string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "unix", APISocketPath(pidFile))
}

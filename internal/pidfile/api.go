package pidfile

import (
	"context"
	"fmt"
	"net"
	"strings"
)

// APISocketPath returns the path of the socket of the HTTP API that belongs to pidFile.
func APISocketPath(pidFile string) string {
	return strings.TrimSuffix(pidFile, ".pid") + ".api.socket"
}

// APISocket is the socket of the HTTP API, in the file system beside the control socket; on Windows, a named pipe.
type APISocket struct {
	net.Listener
	claim *Claim
}

// ListenAPI opens the socket of the HTTP API, for the user of the process and root. A file of that name that a dead daemon has left is replaced:
// the claim says that no other one is alive.
func (c *Claim) ListenAPI() (*APISocket, error) {
	l, err := c.listenAPI(APISocketPath(c.path))
	if err != nil {
		return nil, fmt.Errorf("API socket: %w", err)
	}
	return &APISocket{l, c}, nil
}

// DialAPI connects to the socket of the HTTP API of the daemon that has a pid file.
func DialAPI(ctx context.Context, pidFile string) (net.Conn, error) { return dialAPI(ctx, pidFile) }

package pidfile

import (
	"context"
	"net"
)

// DialAPI connects to the socket of the HTTP API of the daemon that has a pid file.
func DialAPI(ctx context.Context, pidFile string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "unix", APISocketPath(pidFile))
}

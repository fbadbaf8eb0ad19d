package pidfile

import (
	"context"
	"net"
)

// DialAPI connects to the socket of the HTTP API of the daemon that has a pid file.
func DialAPI(ctx context.Context, pidFile string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "unix", APISocketPath(pidFile))
}

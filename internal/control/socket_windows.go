package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/windows"

	"tincan/internal/files"
)

// The control socket is one of TCP, and the cookie, which only those know who may read the
// pid file, keeps others out.

// checkSocketPath: there is no path.
func checkSocketPath(string) error { return nil }

// listen opens the socket, unless a daemon answers that knows no lock.
func (c *Claim) listen() error {
	if there, err := Dial(context.Background(), c.path); err == nil {
		there.Close()
		return running(c.path)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	c.listener = l
	return nil
}

// Open cannot let a group in: nobody tells who connects.
func (c *Claim) Open(int) error {
	return errors.New("control socket: this system does not identify clients, so ControlGroup cannot be used")
}

// reachable is what the pid file says: where the control socket is.
func (c *Claim) reachable(netip.AddrPort) netip.AddrPort {
	return c.listener.Addr().(*net.TCPAddr).AddrPort()
}

// removeSocket: it has no file.
func (c *Claim) removeSocket() error { return nil }

// removePidFile: no process has another root directory here.
func (c *Claim) removePidFile() error { return files.Remove(c.path) }

func removeDeadSocket(string) (ok bool) { return true }

// removeOpen closes the file and removes it: one that is open cannot be. If another daemon
// has opened it meanwhile it is that one's now.
func removeOpen(f *os.File, remove func() error) error {
	_ = f.Truncate(0) // whatever happens next, it names no process
	f.Close()
	if err := remove(); !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return err
	}
	return nil
}

// dialDaemon connects to the daemon that wrote the pid file.
func dialDaemon(ctx context.Context, _ string, p PidFile) (net.Conn, error) {
	ip, err := netip.ParseAddr(p.Listen.Host)
	if err != nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("the pid file names %s, which is not this machine", p.Listen.Host)
	}
	d := net.Dialer{Timeout: lineTimeout}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(p.Listen.Host, p.Listen.Port))
}

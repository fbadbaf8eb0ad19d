package pidfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/windows"

	"tincan/internal/files"
)

// The control socket is one of TCP, and the cookie, which only those know who may read the
// pid file, keeps others out.

// checkSocketPath: there is no path.
func checkSocketPath(string) error { return nil }

// listen opens the socket, unless a daemon answers that knows no lock.
func (c *Claim) listen() error {
	if f, err := Read(c.path); err == nil && answers(c.path, f) {
		return running(c.path)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	c.listener = l
	return nil
}

// answers tells whether the daemon that wrote f takes its cookie for a greeting: another program
// may have got its port by now.
func answers(path string, f File) bool {
	conn, err := Dial(context.Background(), path, f)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	if _, err := fmt.Fprintf(conn, "0 ^%s 0\n", f.Cookie); err != nil {
		return false
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxSize)).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "0 ")
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

// dialSocket connects to the daemon that wrote the pid file.
func dialSocket(ctx context.Context, _ string, p File) (net.Conn, error) {
	ip, err := netip.ParseAddr(p.Host)
	if err != nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("the pid file names %s, which is not this machine", p.Host)
	}
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(p.Host, p.Port))
}

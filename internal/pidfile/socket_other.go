//go:build !windows

package pidfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"tincan/internal/files"
	"tincan/internal/oserr"
)

func (c *Claim) listen() error {
	path := SocketPath(c.path)
	switch state, err := probeSocket(path); state {
	case socketAnswers:
		return running(c.path)
	case socketDead:
		if err := files.Remove(path); err != nil {
			return fmt.Errorf("remove the socket of a dead daemon: %w", err)
		}
	case socketUnclear:
		return fmt.Errorf("control socket: %w", err)
	}
	l, err := listenPrivate(path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	c.listener = l
	return nil
}

// listenPrivate listens on a socket for the user of the process and root. Closing it leaves the file, which [Claim.Release] and
// [APISocket.Remove] remove.
func listenPrivate(path string) (net.Listener, error) {
	lc := net.ListenConfig{Control: privateSocket}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o700); err != nil {
		l.Close()
		files.Remove(path)
		return nil, err
	}
	return l, nil
}

// longPath is the error for a control socket whose path is too long.
type longPath struct{ path string }

func (e *longPath) Error() string {
	return fmt.Sprintf("control socket %s: the path is longer than %d bytes", e.path, maxSocketPath)
}

// Hint is what the user can do about it.
func (e *longPath) Hint() string { return "choose a shorter place with --pidfile" }

// maxSocketPath is the longest path of a socket here, in bytes: 107 on Linux,
// 103 on macOS and the BSDs.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// checkSocketPath refuses what does not fit a socket address.
func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return &longPath{path}
	}
	return nil
}

type socketState uint8

const (
	socketAbsent  socketState = iota
	socketAnswers             // somebody accepts connections
	socketDead                // a socket that nobody listens on
	socketUnclear             // cannot be told, see the error
)

// probeSocket finds out whether a daemon listens on path.
func probeSocket(path string) (socketState, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return socketAbsent, nil
	}
	if err != nil {
		return socketUnclear, err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return socketUnclear, fmt.Errorf("%s exists and is not a socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return socketAnswers, nil
	case errors.Is(err, oserr.Refused):
		return socketDead, nil
	case errors.Is(err, fs.ErrNotExist):
		return socketAbsent, nil
	}
	return socketUnclear, err
}

// Open lets the members of a group connect to the socket. What they may do there is the
// server's choice.
func (c *Claim) Open(gid int) error {
	if !TellsUsers {
		return errors.New("control socket: this system does not identify clients, so ControlGroup cannot be used")
	}
	if err := letIn(SocketPath(c.path), gid); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	return nil
}

// letIn lets the members of a group connect to a socket.
func letIn(path string, gid int) error {
	if err := os.Chown(path, -1, gid); err != nil {
		return err
	}
	return os.Chmod(path, 0o770)
}

// reachable is what the pid file says: the first listening TCP socket.
func (c *Claim) reachable(listen netip.AddrPort) netip.AddrPort { return listen }

// removeSocket removes the file of the socket.
func (c *Claim) removeSocket() error { return c.dir.Remove(filepath.Base(SocketPath(c.path))) }

func (c *Claim) removePidFile() error { return c.dir.Remove(filepath.Base(c.path)) }

// removeDeadSocket removes the socket of a daemon that is gone. ok is false if it may not be.
func removeDeadSocket(pidFile string) (ok bool) {
	socket := SocketPath(pidFile)
	switch state, _ := probeSocket(socket); state {
	case socketDead:
		files.Remove(socket)
	case socketAbsent:
	default:
		return false
	}
	return true
}

// removeOpen removes a file that we have open, with the lock still held.
func removeOpen(_ *os.File, remove func() error) error { return remove() }

// dialSocket connects to the socket of the daemon behind pidFile.
func dialSocket(ctx context.Context, pidFile string, _ File) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "unix", SocketPath(pidFile))
}

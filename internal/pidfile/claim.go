package pidfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tincan/internal/files"
)

// RunningError says that another daemon already uses the pid file.
type RunningError struct {
	PidFile string
	PID     int // 0 if it is not known
	Tinc10  bool
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another daemon already uses %s", e.PidFile)
	}
	what := "a daemon"
	if e.Tinc10 {
		what = "tincd of tinc 1.0"
	}
	return fmt.Sprintf("%s already runs for this network (pid %d, %s)", what, e.PID, e.PidFile)
}

// Claim is a daemon's hold on its pid file and control socket. As long as it
// stands no other daemon can take the same place.
//
// Three things keep others out, because none is enough alone: a lock on the pid
// file itself, which ends with the process, however it dies; the socket, which a
// daemon that knows no locks (tincd of 1.1) answers on; and for tincd of 1.0, which
// has neither, the process number.
//
// The socket is one of the file system, beside the pid file. On Windows, where not every
// version has those, it is one of TCP on the loopback address, as with tinc, and the pid
// file says which.
type Claim struct {
	path     string
	file     *os.File // the pid file, locked
	dir      *os.Root // where it lies, also for a process that has another root directory by now
	listener net.Listener
	cookie   string
}

// NewClaim takes the place of the one daemon behind pidFile and listens on the
// socket beside it. If a daemon is there already the error is a *[RunningError]
// and nothing of that daemon has been touched. Files left behind by a dead
// daemon are replaced.
func NewClaim(pidFile string) (*Claim, error) {
	if err := checkSocketPath(SocketPath(pidFile)); err != nil {
		return nil, err
	}
	file, err := lockPidFile(pidFile)
	if err != nil {
		return nil, err
	}
	if p, err := Read(pidFile); errors.Is(err, ErrTinc10) && isTincd(p.PID) {
		file.Close()
		return nil, &RunningError{PidFile: pidFile, PID: p.PID, Tinc10: true}
	}
	c := &Claim{path: pidFile, file: file}
	if c.dir, err = os.OpenRoot(filepath.Dir(pidFile)); err != nil {
		file.Close()
		return nil, fmt.Errorf("pid file: %w", err)
	}
	if err := c.listen(); err != nil {
		if info, e := file.Stat(); e == nil && info.Size() == 0 && !errors.As(err, new(*RunningError)) {
			removeOpen(file, func() error { return files.Remove(pidFile) }) // nobody's but ours
		}
		file.Close()
		c.dir.Close()
		return nil, err
	}
	// An old content would name a dead process, and tinc's client deletes the
	// files of a dead process.
	if err := file.Truncate(0); err != nil {
		c.Release()
		return nil, fmt.Errorf("pid file: %w", err)
	}
	var secret [32]byte
	rand.Read(secret[:])
	c.cookie = strings.ToUpper(hex.EncodeToString(secret[:]))
	return c, nil
}

// isTincd tells whether the process runs and is a tincd. Where that cannot be seen it is not:
// a number alone is soon another process's.
func isTincd(pid int) bool {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return err == nil && strings.HasPrefix(string(name), "tincd")
}

// lockPidFile opens and locks the pid file without changing its content.
func lockPidFile(path string) (*os.File, error) {
	for range lockTries {
		// Never a link: what it leads to would be emptied, and would not be the file of this name.
		f, err := files.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("pid file: %w", err)
		}
		if err := lock(f); err != nil {
			f.Close()
			if errors.Is(err, errLocked) {
				return nil, running(path)
			}
			return nil, fmt.Errorf("lock pid file %s: %w", path, err)
		}
		// Between opening and locking a daemon that was just ending may have
		// removed the file: then the lock is on a file nobody else will see.
		if same(f, path) {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("pid file: %s is being replaced repeatedly", path)
}

// lockTries is how often a pid file is opened that was removed while we did so.
const lockTries = 100

// same tells whether path still leads to the open file f.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// stillOurs tells whether the name leads to our pid file.
func (c *Claim) stillOurs(name string) bool {
	a, err := c.file.Stat()
	if err != nil {
		return false
	}
	b, err := c.dir.Lstat(name)
	return err == nil && os.SameFile(a, b)
}

func running(path string) error {
	p, _ := Read(path)
	return &RunningError{PidFile: path, PID: p.PID}
}

// Listener is the control socket. It belongs to the claim; the server that it is given to closes it.
func (c *Claim) Listener() net.Listener { return c.listener }

// Cookie is the secret that a client has to show.
func (c *Claim) Cookie() string { return c.cookie }

// Publish writes the pid file, which tells clients that the daemon is ready.
// listen is the first listening TCP socket.
func (c *Claim) Publish(listen netip.AddrPort) error {
	listen = c.reachable(listen)
	host := listen.Addr().Unmap()
	switch host {
	case netip.IPv4Unspecified():
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		host = netip.IPv6Loopback()
	}
	text := File{
		PID:    os.Getpid(),
		Cookie: c.cookie,
		Host:   host.String(),
		Port:   strconv.Itoa(int(listen.Port())),
	}.text()
	// The file keeps its lock only as long as it is not replaced, so it is
	// written in place: one write of a short line that ends with LF, which a
	// reader sees whole or not at all; then a longer old content is cut off.
	if _, err := c.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	if err := c.file.Truncate(int64(len(text))); err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}

// Release removes pid file and socket, if they are still this daemon's, closes
// the socket and gives up the place. Connections that stand are not touched.
func (c *Claim) Release() error {
	var err error
	pid := filepath.Base(c.path)
	if c.stillOurs(pid) {
		err = c.removeSocket()
		if e := removeOpen(c.file, c.removePidFile); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = e
		}
		if errors.Is(err, fs.ErrPermission) {
			// We gave up the right to do so. An empty file names no process, at least.
			err = c.file.Truncate(0)
		}
	}
	c.listener.Close()
	c.file.Close()
	c.dir.Close()
	if err != nil {
		return fmt.Errorf("remove pid file and socket: %w", err)
	}
	return nil
}

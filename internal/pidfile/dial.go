package pidfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"tincan/internal/files"
	"tincan/internal/oserr"
)

// dialTimeout bounds how long a daemon may take to accept a connection.
const dialTimeout = 5 * time.Second

// ErrGone says that the daemon that wrote the pid file no longer exists.
var ErrGone = errors.New("the daemon is gone")

// Dial connects to the control socket of the daemon that wrote f at path.
//
// When the socket is dead and the process of f does not exist, the error is [ErrGone] and
// both files are removed, as tinc's client does; unlike it, never on the strength of the
// process number alone, which means nothing in another pid namespace.
func Dial(ctx context.Context, path string, f File) (net.Conn, error) {
	if err := checkSocketPath(SocketPath(path)); err != nil {
		return nil, err
	}
	conn, err := dialSocket(ctx, path, f)
	if err == nil {
		return conn, nil
	}
	nobody := errors.Is(err, oserr.Refused) || errors.Is(err, fs.ErrNotExist)
	if nobody && !alive(f.PID) {
		removeStale(path, f)
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil, err
}

// removeStale deletes the files of a daemon that is gone. It is called by a
// client that found no process with the number in the pid file, which proves
// nothing when the daemon lives in another pid namespace: so it takes the place
// of a daemon for a moment, and leaves everything alone if it cannot.
func removeStale(pidFile string, seen File) {
	f, err := files.Open(pidFile, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) != nil || !same(f, pidFile) {
		return
	}
	if now, err := Read(pidFile); err != nil || now != seen {
		return
	}
	if removeDeadSocket(pidFile) {
		removeOpen(f, func() error { return files.Remove(pidFile) })
	}
}

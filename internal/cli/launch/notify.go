package launch

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// line leads to the service manager. It is kept: below a new root directory (-R) the
// manager's socket could not be found.
var line struct {
	sync.Mutex
	path string
	c    *net.UnixConn
}

// callManager opens the line, as long as its path leads somewhere.
func callManager() {
	line.Lock()
	defer line.Unlock()
	dialManager(os.Getenv("NOTIFY_SOCKET"))
}

// dialManager reopens the line, with the lock held.
func dialManager(path string) (ok bool) {
	if line.c != nil {
		line.c.Close()
		line.c = nil
	}
	if path == "" {
		return false
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return false
	}
	line.path, line.c = path, c
	return true
}

// notify tells the service manager something (sd_notify). Nobody listening is
// no error.
func notify(state string) {
	line.Lock()
	defer line.Unlock()
	path := os.Getenv("NOTIFY_SOCKET")
	if line.c != nil && line.path == path {
		if _, err := line.c.Write([]byte(state)); err == nil {
			return
		}
	}
	if dialManager(path) {
		line.c.Write([]byte(state))
	}
}

// reloading tells the service manager that a reload begins, and returns what tells
// that it is over.
func reloading() (done func()) {
	notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
	return func() { notify("READY=1") }
}

// watchdog tells the service manager that the node lives, as often as it wants to
// hear, until alive says that it has ended. If alive does not come back nothing
// more is told, and the manager will act.
func watchdog(alive func() bool) {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if pid := os.Getenv("WATCHDOG_PID"); err != nil || us <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	t := time.NewTicker(time.Duration(us) * time.Microsecond / 2)
	defer t.Stop()
	for alive() {
		notify("WATCHDOG=1")
		<-t.C
	}
}

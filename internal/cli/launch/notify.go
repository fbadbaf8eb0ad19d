package launch

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells the service manager something (sd_notify). Nobody listening is
// no error.
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(state))
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

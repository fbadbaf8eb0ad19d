//go:build unix

package tincd

import (
	"strconv"
	"strings"
	"syscall"
)

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
	"INT": syscall.SIGINT, "ALRM": syscall.SIGALRM, "ABRT": syscall.SIGABRT,
}

// parseSignal reads a name, in any case, or a number; nothing means TERM.
func parseSignal(text string) (syscall.Signal, bool) {
	if text == "" {
		return syscall.SIGTERM, true
	}
	if sig, ok := signals[strings.ToUpper(text)]; ok {
		return sig, true
	}
	n, err := strconv.ParseUint(text, 10, 7)
	return syscall.Signal(n), err == nil && n > 0 && n < 65
}

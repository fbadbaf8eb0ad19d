//go:build unix

package tincd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/terminal"
)

// kill is tincd -k, as tinc 1.0 has it: it sends a signal to the running daemon
// and does not wait for what comes of it. The configuration is not read.
func (o options) kill(prog string, s terminal.Streams) int {
	sig, ok := parseSignal(o.signal)
	if !ok {
		fmt.Fprintf(s.Err, "Invalid argument `%s'; SIGNAL must be a number or one of HUP, TERM, KILL, USR1, USR2, WINCH, INT, ALRM and ABRT.\nTry `%s --help' for more information.\n", o.signal, prog)
		return 1
	}
	l, err := confdir.Place{Net: o.net, Conf: o.conf, PidFile: o.pidFile}.Layout()
	if err != nil {
		s.Report("", err)
		return 1
	}
	l = l.ForClient()
	pid, err := readPid(l.PidFile)
	if err != nil {
		fmt.Fprintf(s.Err, "No other tincd is running%s.\n", forNet(l.NetName))
		return 1
	}
	err = syscall.Kill(pid, sig)
	switch {
	case errors.Is(err, syscall.ESRCH) && !removeStale(l.PidFile):
		err = errors.New("its daemon is alive, but in another pid namespace; run this command there")
	case errors.Is(err, syscall.ESRCH):
		fmt.Fprintf(s.Err, "The tincd%s is no longer running. Removing stale lock file.\n", forNet(l.NetName))
		return 0
	}
	if err != nil {
		s.Report("", fmt.Errorf("sending a signal to the process %d of %s: %w", pid, l.PidFile, err))
		return 1
	}
	return 0
}

// readPid reads only the first word of a pid file: tinc 1.0 writes nothing else,
// and leaves the end of an older file after it.
func readPid(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	word, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	word, _, _ = strings.Cut(word, " ")
	pid, err := strconv.ParseInt(word, 10, 32)
	if err != nil || pid < 1 { // 0 and less would be groups of processes
		return 0, fmt.Errorf("%s does not begin with the number of a process", path)
	}
	return int(pid), nil
}

// removeStale removes the pid file of a process that is gone, unless somebody
// answers on the socket beside it.
func removeStale(pidFile string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if c, err := control.Dial(ctx, pidFile); err == nil {
		c.Close()
		return false
	}
	files.Remove(pidFile)
	return true
}

// Package tincd is the front end that tincan shows when it is called as tincd: the
// options, the exit status and the log of tinc's daemon.
package tincd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/version"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/terminal"
)

// Main runs tincd with its arguments (without the program's name) and returns
// the exit status. prog is the name by which it was called.
func Main(prog string, args []string, s terminal.Streams) int {
	o, err := parse(prog, args)
	switch {
	case err != nil:
		fmt.Fprintf(s.Err, "%v\nTry `%s --help' for more information.\n", err, prog)
		return 1
	case o.help:
		fmt.Fprintf(s.Out, help, prog)
		return 0
	case o.version:
		fmt.Fprint(s.Out, version.Tinc())
		return 0
	case o.sendSignal:
		return o.kill(prog, s)
	}
	if o.generateKeys {
		return o.generate(prog, s)
	}
	if err := o.run(s); err != nil {
		launch.PrintError(s, o.style(s), err)
		return frontend.Status(err)
	}
	return 0
}

// run starts the daemon.
func (o options) run(s terminal.Streams) error {
	l, err := o.layout(s)
	if err != nil {
		return err
	}
	overrides, err := config.ParseOverrides(o.overrides)
	if err != nil {
		return err
	}
	logFile := o.logFile
	if o.logToFile && logFile == "" {
		logFile = l.LogFile
	}
	if logFile != "" {
		if logFile, err = filepath.Abs(logFile); err != nil {
			return err
		}
	}
	if err := os.Chdir(l.ConfBase); err != nil {
		return fmt.Errorf("could not change to the configuration directory: %w", err)
	}
	daemon := launch.Options{
		Layout: l, Overrides: overrides, Debug: o.debug, Version: version.Text(),
		Style: o.style(s), LogFile: logFile, Syslog: o.syslog,
		User: o.user, Chroot: o.chroot, Lock: o.mlock,
	}
	if !o.foreground && !launch.Detached() && !launch.Activated() {
		if logFile != "" {
			// The second process has nobody left to tell.
			if f, err := files.OpenLinked(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
				fmt.Fprintf(s.Err, "Warning: opening the log file: %v; the daemon runs without a log\n", err)
			} else {
				f.Close()
			}
		}
		return detach(l, overrides, s)
	}
	return launch.Run(context.Background(), daemon, s)
}

// layout finds the files of the network.
func (o options) layout(s terminal.Streams) (confdir.Layout, error) {
	l, err := confdir.Place{Net: o.net, Conf: o.conf, PidFile: o.pidFile}.Layout()
	if errors.Is(err, confdir.ErrNetName) {
		return l, errors.New("Invalid character in netname!") //lint:ignore ST1005 tinc's sentence
	}
	if err != nil {
		return l, err
	}
	if l, err = l.Abs(); err != nil {
		return l, err
	}
	l, warnings := l.ForDaemon()
	if launch.Detached() {
		return l, nil // the first process has said it all
	}
	if unsafe, _ := confdir.CheckNetName(l.NetName); unsafe {
		fmt.Fprintln(s.Err, "Warning: unsafe character in netname!")
	}
	if o.conf != "" && l.NetName != "" {
		fmt.Fprintln(s.Err, "Both netname and configuration directory given, using the latter...")
	}
	for _, w := range warnings {
		fmt.Fprintln(s.Err, "Warning:", w)
	}
	if o.bypassSecurity {
		// Whoever really needs it sees at once why there are no connections.
		fmt.Fprintln(s.Err, "Warning: --bypass-security has no effect: tincan never speaks without authentication and encryption")
	}
	return l, nil
}

// detach puts the daemon into the background once it is clear that the
// configuration is good and that no other daemon is there.
func detach(l confdir.Layout, overrides []config.Override, s terminal.Streams) error {
	if _, _, err := confdir.Load(l, overrides); err != nil {
		return err
	}
	if err := notRunning(l); err != nil {
		return err
	}
	cmd, err := launch.Background()
	if err != nil {
		return err
	}
	return launch.PassOn(cmd)
}

// notRunning fails if a daemon answers.
func notRunning(l confdir.Layout) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, l.PidFile)
	if err != nil {
		return nil
	}
	defer c.Close()
	return &running{l.NetName, c.PID()}
}

// running says, in tinc's words, that there is a daemon already.
type running struct {
	net string
	pid int
}

func (r *running) Error() string {
	return fmt.Sprintf("A tincd is already running%s with pid %d.", forNet(r.net), r.pid)
}

// forNet names the network in tinc's sentences.
func forNet(net string) string {
	if net == "" {
		return ""
	}
	return fmt.Sprintf(" for net `%s'", net)
}

// style is the form of the log on standard error. Programs that start tincd as tinc 1.0
// in the foreground, with several separate -d, read bare lines.
func (o options) style(s terminal.Streams) launch.Style {
	switch os.Getenv("TINCAN_LOG_STYLE") {
	case "1.0":
		return launch.Tinc10
	case "1.1":
		return launch.Tinc11
	}
	if o.foreground && o.separateDebug > 1 && !s.ErrIsTerminal() {
		return launch.Tinc10
	}
	return launch.Tinc11
}

// level is what the value of -d means: a number; or one more for each further d of -ddd.
func level(value string) int {
	if strings.Trim(value, "d") == "" {
		return 1 + len(value)
	}
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' || n > 1000 {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

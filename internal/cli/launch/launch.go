// Package launch starts the daemon in the way a front end wants it: in the
// foreground or in the background, with its log where it belongs.
//
// A program that goes into the background here is a second process of the same
// program: it is started with the same arguments and an environment variable
// that tells it so. What a front end must do before that (read the configuration, say)
// it does in the first process; what needs the machine happens in the second.
package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"tincan/internal/api"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/mesh"
	"tincan/internal/terminal"
	"tincan/internal/ui"
)

// Options say what to start.
type Options struct {
	Layout    confdir.Layout // absolute paths
	Overrides []config.Override
	Debug     int
	Version   string

	Style   Style  // of standard error
	LogFile string // "" for standard error (foreground) or the system log (background)
	Syslog  bool   // the system log also in the foreground

	User   string // becomes this user; "" for no other
	Chroot bool   // sees only the directory of the network
	Lock   bool   // is never swapped out

	// Beside runs beside the node, from the moment when it works until ctx ends
	// with it, and logs where the node does. It may be nil.
	Beside func(ctx context.Context, log func(text string)) error
}

// detachedEnv tells the second process that it is the one in the background.
const detachedEnv = "TINCAN_DETACHED"

// Detached tells whether this process is the one in the background.
func Detached() bool { return os.Getenv(detachedEnv) != "" }

// Activated tells whether a service manager has handed sockets to this very
// process, which then must stay what it is.
func Activated() bool { return os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) }

// Background makes the command for the second process: this program with the
// same arguments, in a session of its own, without a terminal.
func Background() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), detachedEnv+"=1")
	ownSession(cmd)
	return cmd, nil
}

// PassOn starts cmd in the background and hands our own umbilical over to it,
// if we have one. It does not wait.
func PassOn(cmd *exec.Cmd) error {
	if u := takeUmbilical(); u != nil {
		defer u.cut()
		fd, err := inherit(cmd, u.f)
		if err != nil {
			return err
		}
		color := 0
		if u.color {
			color = 1
		}
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d %d", umbilicalEnv, fd, color))
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Run is the daemon's whole life. It ends when it is told to stop, by a signal
// (TERM, INT, QUIT), over the control socket, or by the end of ctx. HUP
// also reopens the log file.
func Run(ctx context.Context, o Options, s terminal.Streams) error {
	detached := Detached()
	os.Unsetenv(detachedEnv)
	u := takeUmbilical()
	defer u.cut()
	if !detached {
		u.cut() // whoever waits at its other end sees our standard error anyway
	}

	log, err := o.open(s, detached)
	if err != nil {
		// As tinc does: going on without a log is better than not going on.
		o.complain(s, u, err)
	}
	defer log.close()
	record := func(r control.LogRecord) {
		log.log(r)
		u.log(r)
	}

	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	asked := ctx.Done()
	go func() {
		for {
			select {
			case <-asked:
				stop() // a second signal ends us at once
				return
			case <-hangup:
				if err := log.reopen(); err != nil {
					record(control.LogRecord{Time: time.Now(), Priority: mesh.Error, Text: err.Error()})
				}
			}
		}
	}()

	// Whoever looks only into the log must find there why nothing runs.
	told := func(err error) error {
		if detached || o.LogFile != "" {
			for _, r := range records(err) {
				record(r)
			}
		}
		return err
	}
	collectLate()
	callManager()
	sockets, err := daemon.Inherited()
	if err != nil {
		return told(err)
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	beside.Go(func() { saveMemory(ctx) })
	err = daemon.Run(ctx, daemon.Options{
		Layout:    o.Layout,
		Overrides: o.Overrides,
		Debug:     o.Debug,
		Version:   o.Version,
		Log:       record,
		Listeners: sockets,
		Control:   true,
		API:       api.Local,
		UI:        ui.Members,
		Signals:   true,
		Scripts:   true,
		Ready: func(node *daemon.Daemon) {
			u.ready()
			notify("READY=1")
			if detached && os.Getenv("WATCHDOG_USEC") == "" {
				record(control.LogRecord{Time: time.Now(), Priority: mesh.Info, Text: "Watchdog is disabled"})
			}
			go watchdog(node.Alive)
			if o.Beside != nil {
				beside.Go(func() { o.runBeside(ctx, record) })
			}
		},
		Stopping:  func() { notify("STOPPING=1") },
		Reloading: reloading,
		Process:   &daemon.Process{User: o.User, Chroot: o.Chroot, Lock: o.Lock, LogFile: o.LogFile},
	})
	if errors.Is(err, daemon.ErrExpelled) {
		err = removed{err}
	}
	if err != nil {
		return told(err)
	}
	return nil
}

// StatusRemoved is the exit status of a node that was removed from its network. Service managers must not start it again.
const StatusRemoved = 3

// removed is the error of a node that was removed.
type removed struct{ error }

func (r removed) Unwrap() error { return r.error }
func (removed) ExitStatus() int { return StatusRemoved }

// Hint says how such a machine comes back.
func (removed) Hint() string {
	return "to belong to the network again it needs a new key and a new invitation: join under another network name (-n), or in another directory"
}

// runBeside runs Beside with a log of its own.
func (o Options) runBeside(ctx context.Context, record func(control.LogRecord)) {
	say := func(p mesh.Priority, text string) {
		record(control.LogRecord{Time: time.Now(), Priority: p, Text: text})
	}
	if err := o.Beside(ctx, func(text string) { say(mesh.Notice, text) }); err != nil && ctx.Err() == nil {
		say(mesh.Error, err.Error())
	}
}

// open opens the log.
func (o Options) open(s terminal.Streams, detached bool) (sink, error) {
	root := ""
	if o.Chroot {
		root = o.Layout.ConfBase
	}
	switch {
	case o.LogFile != "":
		return openFile(o.LogFile, o.Layout.Ident(), root)
	case detached || o.Syslog:
		log, err := openSyslog(o.Layout.Ident())
		if err != nil && detached {
			// Containers have no system log. Without any log nobody could find out anything.
			return openFile(o.Layout.LogFile, o.Layout.Ident(), root)
		}
		return log, err
	}
	if f, ok := s.Err.(*os.File); ok && toJournal(f) {
		return &stderrSink{w: s.Err, style: journal}, nil
	}
	return &stderrSink{w: s.Err, style: o.Style, color: s.Color()}, nil
}

// complain says what is wrong with the log where it can still be seen.
func (o Options) complain(s terminal.Streams, u *umbilical, err error) {
	r := control.LogRecord{Time: time.Now(), Priority: mesh.Warning, Text: err.Error()}
	u.log(r)
	if o.LogFile != "" {
		(&stderrSink{w: s.Err, style: o.Style, color: s.Color()}).log(r)
	}
}

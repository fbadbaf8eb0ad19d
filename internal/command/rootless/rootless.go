// Package rootless runs a node in this process, without root, whose network is not that of this machine: programs, or sockets of
// this process, reach the VPN by a network namespace (package userns).
package rootless

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/terminal"
	"tincan/internal/userns"
)

// Options say which node to run.
type Options struct {
	Layout    confdir.Layout // absolute paths
	Overrides []config.Override
	Debug     int
	Version   string
	Log       func(control.LogRecord)
	API       func(*daemon.Inside) http.Handler
	// Wait is how long to wait at most until other nodes can be reached.
	Wait time.Duration
}

// running is a node in this process, with the network that it is attached to. Whoever has started it closes that.
type running struct {
	node   *daemon.Daemon
	inside attachment
	stop   context.CancelFunc
	ended  chan error // what daemon.Run has returned
}

// start runs the node until the context ends or stop is called, attached to the network that enter makes. It returns when the node works.
func start(ctx context.Context, o Options, enter func(daemon.Attachment) (attachment, error)) (*running, error) {
	overrides, err := o.unprivilegedPort()
	if err != nil {
		return nil, err
	}
	r := &running{ended: make(chan error, 1)}
	ctx, r.stop = context.WithCancel(ctx)
	ready := make(chan *daemon.Daemon, 1)
	attach := func(a daemon.Attachment) (device.Device, error) {
		inside, err := enter(a)
		r.inside = inside
		return inside.device, err
	}
	go func() {
		r.ended <- daemon.Run(ctx, daemon.Options{
			Layout: o.Layout, Overrides: overrides, Debug: o.Debug, Version: o.Version, Log: o.Log, Control: true, API: o.API,
			Attach: attach, Ready: func(d *daemon.Daemon) { ready <- d },
		})
	}()
	select {
	case r.node = <-ready:
		return r, nil
	case err := <-r.ended:
		r.stop()
		r.inside.close()
		if err == nil {
			err = context.Canceled
		}
		return nil, err
	}
}

// end stops the node and waits for that.
func (r *running) end() error {
	r.stop()
	return <-r.ended
}

// unprivilegedPort adds Port = 0 to the overrides if only root may listen at the port of the configuration. The node is then reached by
// those only with whom it connects itself.
func (o Options) unprivilegedPort() ([]config.Override, error) {
	n, _, err := confdir.Load(o.Layout, o.Overrides)
	if err != nil {
		return o.Overrides, nil // the node will say why
	}
	port, err := strconv.Atoi(n.Settings.Port)
	if err != nil || os.Geteuid() <= 0 || port == 0 || port >= firstFreePort() {
		return o.Overrides, nil
	}
	o.Log(control.LogRecord{Time: time.Now(), Priority: mesh.Info, Text: "only root may listen at port " + n.Settings.Port + ": this node takes a free one"})
	free, err := config.ParseOverride("Port=0", len(o.Overrides)+1)
	return append(o.Overrides, free), err
}

// others waits until other nodes can be reached and no more are coming, or for at most o.Wait. It reports whether there are any; also if
// no others are known, for whom it does not wait.
func (o Options) others(ctx context.Context, r *running) bool {
	const look = 50 * time.Millisecond
	end := time.Now().Add(o.Wait)
	before := -1
	for ; ; time.Sleep(look) {
		known, reachable := 0, 0
		for _, n := range r.node.Nodes() {
			switch {
			case n.Self:
			case n.Reachable:
				reachable++
				known++
			default:
				known++
			}
		}
		switch {
		case reachable > 0 && reachable == before, known == 0 && !o.connects():
			return true
		case time.Now().After(end), ctx.Err() != nil:
			return false
		}
		before = reachable
	}
}

// connects tells whether the directory has a host file of another node.
func (o Options) connects() bool {
	files, _ := os.ReadDir(o.Layout.Hosts())
	return len(files) > 1
}

// noOthers is the warning if nobody can be reached.
func (o Options) noOthers() {
	o.Log(control.LogRecord{Time: time.Now(), Priority: mesh.Warning, Text: "no other node can be reached yet (waited " + o.Wait.String() + "); going on nevertheless"})
}

// Exec runs a program in a network namespace whose only way out is the VPN, and returns its exit status: 128 and the number of the signal
// that has ended it, 127 if there is no such program, 126 if it cannot be started. Signals that come here are passed on to it.
func Exec(ctx context.Context, o Options, command []string, s terminal.Streams) (status int, err error) {
	signals := catch()
	defer signals.release()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go signals.before(stop)

	var space *userns.Namespace
	r, err := start(ctx, o, func(a daemon.Attachment) (attachment, error) {
		var err error
		space, err = userns.Start(userns.Config{Interface: a.Interface, Addresses: a.Addresses, Domain: a.Domain, Command: command}, s.In, s.Out, s.Err)
		if err != nil {
			return attachment{}, orProxy(err)
		}
		return inNamespace(space), nil
	})
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return signals.status(), nil
		}
		return 1, err
	}
	defer space.Close()
	// The node is there until the program has ended.
	served, endServing := context.WithCancel(context.Background())
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		packets, streams := space.Queries()
		daemon.DirectoryOf(r.node).Serve(served, packets, streams)
	}()
	defer func() { endServing(); <-serving }()
	if !o.others(ctx, r) {
		if ctx.Err() != nil {
			return signals.status(), r.end()
		}
		o.noOthers()
	}
	signals.passTo(space)
	if err := space.Exec(); err != nil {
		return 1, errors.Join(err, r.end())
	}
	select {
	case <-space.Ended():
		return space.Status(), r.end()
	case err := <-r.ended:
		space.Signal(terminate)
		if err == nil {
			err = errors.New("the node has ended")
		}
		<-space.Ended()
		return max(1, space.Status()), err
	}
}

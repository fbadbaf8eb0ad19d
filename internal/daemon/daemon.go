// Package daemon is a running node: it puts the parts together, keeps them
// going and takes them apart again.
//
// It decides nothing about the mesh: it feeds the brain (package mesh) with
// events and carries out its effects.
package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/dataplane"
	"tincan/internal/device"
	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/udp"
)

// Options say which network to run and how.
type Options struct {
	Layout    config.Layout // absolute paths
	Overrides []config.Override
	Debug     int    // tinc's debug level; 0: what LogLevel says
	Version   string // shown to those who ask
	Log       func(control.LogRecord)
	Ready     func() // called once the node works; may be nil
	// Listeners are sockets that were handed over (socket activation); nil: open our own.
	Listeners []net.Listener
}

// Hinted is an error that knows what the user can do.
type Hinted struct {
	Err error
	Tip string
}

func (e *Hinted) Error() string { return e.Err.Error() }

// Hint is one sentence of advice.
func (e *Hinted) Hint() string { return e.Tip }

// Unwrap returns the error without the advice.
func (e *Hinted) Unwrap() error { return e.Err }

// Sizes of the queues towards the brain. When the first is full the readers of
// meta connections wait; when the second is full reports of the data plane are
// dropped and come again.
const (
	eventQueue  = 1024
	reportQueue = 1024
	// batch is how many events are taken in before the effects are carried out.
	batch = 256
)

// Daemon is one running node.
type Daemon struct {
	opts    Options
	current atomic.Pointer[config.Network] // as loaded last
	key     *keys.PrivateKey
	log     *logger
	claim   *control.Claim
	dev     device.Device
	socks   []udp.Socket // to be closed here; nil once the plane has them
	paths   []udp.Socket // the same, for asking about routes
	tcp     []net.Listener
	plane   *dataplane.Plane
	conns   *metaconn.Table
	brain   *mesh.Mesh
	script  *script.Runner
	face    *face // the interface, as the kernel sees it
	invite  *invite.Server
	pcap    pcap
	disk    *disk

	events  chan mesh.Event
	reports chan mesh.Event
	calls   chan func()
	stop    context.CancelFunc
	started time.Time
	done    chan struct{} // closed when the brain has ended

	subnets atomic.Pointer[[]mesh.Owned] // latest published
}

// Run runs a node until ctx ends or it is told to stop, and leaves the machine as
// it was. The error says why it could not start, or why it had to end.
func Run(ctx context.Context, opts Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &Daemon{
		opts: opts, stop: stop, started: time.Now(), done: make(chan struct{}),
		events: make(chan mesh.Event, eventQueue), reports: make(chan mesh.Event, reportQueue),
		calls: make(chan func()),
	}
	d.log = newLogger(opts.Log, opts.Debug)
	if err := d.load(); err != nil {
		return err
	}
	d.log.printf(0, mesh.Notice, "tincan %s starting, debug level %d", opts.Version, d.log.level())
	// A client that asked us to stop takes the end of its connection for our
	// end: so the control socket is served until everything else is gone.
	var serving sync.WaitGroup
	controlCtx, endControl := context.WithCancel(context.Background())
	defer func() { endControl(); serving.Wait() }()
	defer d.close()
	if err := d.open(); err != nil {
		return err
	}
	return d.run(ctx, func() {
		server := control.NewServer(d.claim.Cookie(), &backend{d})
		serving.Go(func() { server.Serve(controlCtx, d.claim.Listener()) })
	})
}

// network is the configuration in use. It is replaced by a reload.
func (d *Daemon) network() *config.Network { return d.current.Load() }

// load reads the configuration and the key.
func (d *Daemon) load() error {
	n, warnings, err := config.Load(d.opts.Layout, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	if err != nil {
		return err
	}
	d.current.Store(n)
	if d.opts.Debug == 0 {
		d.log.setLevel(n.Settings.LogLevel)
	}
	key, warnings, err := n.PrivateKey()
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	if errors.Is(err, os.ErrNotExist) {
		return &Hinted{err, "make a key with: tincan tinc generate-ed25519-keys (with the same -n or -c)"}
	}
	if err != nil {
		return err
	}
	if n.Own.Key != nil && *n.Own.Key != key.Public() {
		d.log.printf(0, mesh.Error, "the public key in %s does not belong to the private key %s: others will refuse this node", d.opts.Layout.Host(n.Name), n.Settings.PrivateKeyFile)
	}
	d.key = key
	return nil
}

// open takes what the node needs from the machine. What was taken before an
// error is given back by close.
func (d *Daemon) open() error {
	claim, err := control.NewClaim(d.opts.Layout.PidFile)
	var running *control.RunningError
	if errors.As(err, &running) {
		return &Hinted{err, "see it with: tincan status; end it with: tincan down (with the same -n or -c)"}
	}
	if err != nil {
		return err
	}
	d.claim = claim
	for _, dir := range []string{d.opts.Layout.Hosts(), d.opts.Layout.Cache()} {
		if err := config.MakeDir(dir, 0o755); err != nil {
			d.log.printf(0, mesh.Warning, "%v", err)
		}
	}
	if d.dev, err = d.openDevice(); err != nil {
		return err
	}
	if err := d.listen(); err != nil {
		return err
	}
	if err := claim.Publish(d.tcpAddr()); err != nil {
		return err
	}
	s := d.network().Settings
	d.script = script.NewRunner(d.scriptConfig(s), func(level int, text string) {
		p := mesh.Info
		if level == script.LevelError {
			p = mesh.Error
		}
		d.log.printf(level, p, "%s", text)
	})
	d.disk = newDisk(d.opts.Layout, d.log)
	d.plane = dataplane.New(dataplane.Config{
		Self: d.network().Name, Device: d.dev, Sockets: d.socks,
		Event: d.report,
		Meta: func(id mesh.ConnID) dataplane.Meta {
			if w := d.conns.Meta(id); w != nil {
				return w
			}
			return nil
		},
		Options:   planeOptions(s),
		LocalAddr: localAddrTowards,
	})
	d.conns = metaconn.New(metaconn.Config{
		Self: d.network().Name, Key: d.key, Rand: rand.Reader,
		Event: d.event, Data: d.plane,
		Invitation: d.serveInvitation,
		LoadHost:   d.loadHost,
		MaxOutput:  s.MaxOutputBufferSize, MaxBurst: s.MaxConnectionBurst,
		Mark: s.FWMark, BindToDevice: s.BindToInterface, Family: family(s.AddressFamily), Bind: d.bindAddrs(),
	})
	d.invite = d.invitations()
	d.face = newFace(d.dev.Name(), d.log)
	return nil
}

// run starts the goroutines, and ends them in the opposite order. serve begins to
// answer the control socket.
func (d *Daemon) run(ctx context.Context, serve func()) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, 1)
	fail := func(what string, err error) {
		select {
		case failed <- fmt.Errorf("%s: %w", what, err):
		default:
		}
	}

	// Scripts run until the very end: the last of them is tinc-down.
	scriptCtx, endScripts := context.WithCancel(context.Background())
	scriptsDone := make(chan struct{})
	go func() {
		defer close(scriptsDone)
		_ = d.script.Run(scriptCtx)
	}()
	defer func() { endScripts(); <-scriptsDone }()

	if err := d.interfaceUp(ctx); err != nil {
		return err
	}
	defer d.interfaceDown()

	// the data plane ends after the brain, which may still send
	planeCtx, endPlane := context.WithCancel(context.Background())
	planeDone := make(chan struct{})
	go func() {
		defer close(planeDone)
		if err := d.plane.Run(planeCtx); err != nil {
			fail("packet path", err)
		}
	}()
	d.dev, d.socks = nil, nil // the plane closes them
	defer func() { endPlane(); <-planeDone }()

	var seed [32]byte
	rand.Read(seed[:])
	d.brain = mesh.New(d.meshConfig(d.network()), mesh.Injected{
		Rand: mathrand.New(mathrand.NewChaCha8(seed)), Secrets: rand.Reader, RouteMTU: d.routeMTU,
	}, time.Now())

	d.disk.start()
	defer d.disk.close()

	brainCtx, endBrain := context.WithCancel(context.Background())
	defer endBrain()
	go func() {
		defer close(d.done)
		d.think(brainCtx)
	}()

	for _, l := range d.tcp {
		wg.Go(func() {
			if err := d.conns.Serve(ctx, l); err != nil && ctx.Err() == nil {
				fail("meta connections", err)
			}
		})
	}
	serve()
	unhook := d.hookSignals()
	defer unhook()

	d.log.printf(0, mesh.Notice, "Ready")
	if d.opts.Ready != nil {
		d.opts.Ready()
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	d.log.printf(0, mesh.Notice, "stopping")
	d.stop()
	d.shutdownBrain()
	endBrain()
	<-d.done
	d.conns.Close()
	return err
}

// close gives back what open took.
func (d *Daemon) close() {
	for _, l := range d.tcp {
		l.Close()
	}
	for _, s := range d.socks {
		s.Close()
	}
	if d.dev != nil {
		d.dev.Close()
	}
	if d.claim != nil {
		if err := d.claim.Release(); err != nil {
			d.log.printf(0, mesh.Warning, "%v", err)
		}
	}
	d.log.printf(0, mesh.Notice, "terminated")
}

// ---------------------------------------------------------------- the brain's goroutine

// event queues an event for the brain. It waits while the queue is full, which
// slows down the connection that it came from and nothing else.
func (d *Daemon) event(e mesh.Event) {
	select {
	case d.events <- e:
	case <-d.done:
	}
}

// report queues a report of the data plane, or drops it.
func (d *Daemon) report(e mesh.Event) bool {
	select {
	case d.reports <- e:
		return true
	default:
		return false
	}
}

// ask runs fn on the brain's goroutine and waits for it. It reports whether fn ran.
func (d *Daemon) ask(fn func()) bool {
	ran := make(chan struct{})
	select {
	case d.calls <- func() { fn(); close(ran) }:
		<-ran
		return true
	case <-d.done:
		return false
	}
}

// think is the only goroutine that touches the brain.
func (d *Daemon) think(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-d.events:
			d.brain.Handle(time.Now(), e)
		case e := <-d.reports:
			d.brain.Handle(time.Now(), e)
		case fn := <-d.calls:
			fn()
		case <-timer.C:
		}
		d.takeWaiting()
		now := time.Now()
		if at := d.brain.Deadline(); !at.IsZero() && !at.After(now) {
			d.brain.Tick(now)
		}
		for _, e := range d.brain.Flush(now) {
			d.do(e)
		}
		wait := time.Hour
		if at := d.brain.Deadline(); !at.IsZero() {
			wait = max(time.Until(at), 0)
		}
		timer.Reset(wait)
	}
}

// takeWaiting takes in what else is queued, so that the effects of all of it are
// worked out once.
func (d *Daemon) takeWaiting() {
	for range batch {
		select {
		case e := <-d.events:
			d.brain.Handle(time.Now(), e)
		case e := <-d.reports:
			d.brain.Handle(time.Now(), e)
		default:
			return
		}
	}
}

// shutdownBrain lets the brain say good-bye.
func (d *Daemon) shutdownBrain() {
	d.ask(func() {
		d.brain.Handle(time.Now(), mesh.Shutdown{})
		for _, e := range d.brain.Flush(time.Now()) {
			d.do(e)
		}
	})
}

// do carries out one effect of the brain. Nothing here may block.
func (d *Daemon) do(e mesh.Effect) {
	switch e := e.(type) {
	case mesh.Dial, mesh.SendLine, mesh.Secure, mesh.Send, mesh.CloseConn, mesh.Attach, mesh.HandOver:
		d.conns.Do(e)
	case mesh.SendProbe:
		d.plane.SendProbe(e)
	case mesh.TunnelledData:
		d.plane.Tunnelled(e)
	case mesh.PublishPeers:
		d.plane.PublishPeers(e.Peers)
	case mesh.PublishRoutes:
		d.plane.PublishRoutes(e.Routes)
		d.subnets.Store(&e.Routes.Subnets)
	case mesh.NodeUp:
		d.script.NodeUp(d.env(e.Node, e.Addr))
	case mesh.NodeDown:
		d.script.NodeDown(d.env(e.Node, e.Addr))
	case mesh.SubnetUp:
		d.subnetUp(e)
	case mesh.SubnetDown:
		d.subnetDown(e)
	case mesh.SaveKey:
		d.disk.saveKey(e.Node, e.Key)
	case mesh.SaveAddresses:
		d.disk.saveAddresses(e.Node, e.Addrs)
	case mesh.Log:
		d.log.printf(e.Level, e.Priority, "%s", e.Text)
	default:
		panic(fmt.Sprintf("daemon: effect %T is not carried out", e))
	}
}

// loadHost reads the host file of a peer that knocks, so that a file that was put
// there since the start counts.
func (d *Daemon) loadHost(name node.Name) {
	h, warnings, err := config.LoadHost(d.opts.Layout, name, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(1, mesh.Warning, "%s", w)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.printf(0, mesh.Warning, "%v", err)
	}
	d.event(mesh.HostLoaded{Node: name, Known: err == nil, Host: meshHost(h)})
}

// localAddrTowards is the address that the kernel would use towards another.
func localAddrTowards(to netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

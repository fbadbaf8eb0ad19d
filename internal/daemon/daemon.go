// Package daemon is a running node: it puts the parts together, keeps them
// going and takes them apart again.
//
// It decides nothing about the mesh: it feeds the protocol core (package mesh) with
// events and carries out its effects.
package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/dataplane"
	"tincan/internal/device"
	"tincan/internal/events"
	"tincan/internal/invite"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
	"tincan/internal/netif"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/portmap"
	"tincan/internal/process"
	"tincan/internal/script"
)

// Options say which network to run and how. Unless they ask for it the node takes nothing
// from the process that it runs in, so that several can run side by side in one.
type Options struct {
	Layout    confdir.Layout // absolute paths
	Overrides []config.Override
	Debug     int    // tinc's debug level; 0: what LogLevel says
	Version   string // shown to those who ask
	// Log gets the messages, one at a time. It may take its time: if it is too
	// slow messages are lost, and nothing else. It may be nil.
	Log func(control.LogRecord)
	// Ready is called once the node works; it may be nil.
	Ready func(*Daemon)
	// Stopping is called when the node begins to stop, whoever wants that; it may be nil.
	Stopping func()
	// Reloading is called when a reload begins, and what it returns when it ends; it may be nil.
	Reloading func() (done func())
	// Device carries the packets, in place of the interface that the configuration asks for: each
	// Read returns one and each Write takes one, an Ethernet frame unless Mode is router. It
	// is closed in any case. Nil: as the configuration says.
	Device io.ReadWriteCloser
	// Attach makes a device for what the configuration says about the interface, in place of one of this machine. What it returns is
	// closed by the node. Names of nodes are known then, whatever Names says; see [Directory]. Nil: as the
	// configuration says.
	Attach func(Attachment) (device.Device, error)
	// Control takes Layout.PidFile, and serves the control socket beside it.
	Control bool
	// API makes what answers HTTP requests at the API's socket, which is beside the control socket; nil: there is none. Users of
	// ControlGroup may connect there, too: [Inside.ReaderOnly].
	API func(*Inside) http.Handler
	// UI makes what answers HTTP requests of other members at the addresses of this node in the VPN, if the configuration asks for
	// that; nil: nothing does.
	UI func(*Inside) http.Handler
	// Signals acts on HUP, ALRM, USR1, USR2 and WINCH as tincd does, and keeps PIPE from ending the process.
	Signals bool
	// Scripts runs the scripts of the directory.
	Scripts bool
	// Process says what becomes of this process; nil if it is not the node's alone.
	Process *Process
	// Listeners are TCP sockets that were handed over (socket activation, see
	// [Inherited]); nil: open our own. They are closed in any case.
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

// Daemon is one running node.
type Daemon struct {
	opts     Options
	current  atomic.Pointer[confdir.Network] // as loaded last
	id       confdir.Identity
	log      *logger
	claim    *pidfile.Claim     // nil: no pid file and no control socket
	api      *pidfile.APISocket // nil: there is none
	signals  signals
	dev      device.Device
	found    bool // its interface was there before
	socks    sockets
	carriers carrierListeners
	plane    *dataplane.Plane
	conns    *metaconn.Table
	core     *core
	script   *script.Runner
	netif    *netif.Interface // the interface, as the kernel sees it
	where    *whereabouts
	invite   atomic.Pointer[invite.Server]
	pcap     pcap
	graph    *graphExporter

	made         []string                      // directories that were not there
	confined     *confinement                  // nil: the process is left as it is
	state        atomic.Pointer[process.State] // nil: as it was started
	null         *os.File                      // standard input of scripts; nil: they find it themselves
	persister    *persister
	seen         *seen
	places       *places
	distribution *distribution                     // of host files
	membership   membership                        // the roster
	rules        policyRules                       // its policy
	devices      devices                           // its devices that have WireGuard
	ports        *portmap.Client                   // nil: no port of the router is asked for
	mapped       atomic.Pointer[[]portmap.Mapping] // what it gave us
	standby      *standby                          // nil: the interface is always up

	echoes    echoes
	events    *events.Log
	pathWatch *pathWatch
	meshView  *meshView
	teller    *teller
	conflicts *conflicts // about our addresses
	naming    *naming    // of nodes, in DNS
	exit      *exitNode  // for others
	outside   *outside   // by exit nodes
	stop      context.CancelFunc
	failed    chan error // why the node has to end; room for one
	started   time.Time
	closed    bool // close was called

	reloading sync.Mutex
}

// Run runs a node until ctx ends or it is told to stop, and leaves the machine as
// it was. The error says why it could not start, or why it had to end.
func Run(ctx context.Context, opts Options) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d := &Daemon{
		opts: opts, stop: stop, failed: make(chan error, 1), started: time.Now(),
	}
	d.core = newCore(d.apply)
	d.events = newEvents(d.started)
	d.pathWatch = newPathWatch(d.core.firstHops, d.happened)
	d.meshView = newMeshView(d)
	d.membership.d = d
	if opts.Device != nil {
		d.opts.Device = &closedOnce{ReadWriteCloser: opts.Device}
		defer d.opts.Device.Close()
	}
	d.log = newLogger(opts.Log, opts.Debug)
	d.socks.log, d.socks.tcp, d.socks.handedOver = d.log, opts.Listeners, opts.Listeners != nil
	defer d.log.close()
	if opts.Signals {
		// Whatever their default actions are, from here on signals wait until they are heard.
		d.signals = catchSignals()
		defer d.signals.release()
	}

	// A client that asked us to stop takes the end of its connection for our
	// end: so the control socket is served until everything else is gone.
	var serving sync.WaitGroup
	controlCtx, endControl := context.WithCancel(context.Background())
	defer func() { endControl(); serving.Wait() }()
	defer d.close()
	if err := d.load(); err != nil {
		return err
	}
	if err := d.membership.load(d.network()); err != nil {
		return err
	}
	if d.membership.wasExpelled() {
		return ErrExpelled
	}
	if err := d.prepareProcess(); err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	err := d.run(ctx, func() {
		if d.claim != nil {
			server := control.NewServer(d.claim.Cookie(), &backend{d})
			server.Readers = d.network().Settings.ControlGroup != ""
			serving.Go(func() { server.Serve(controlCtx, d.claim.Listener()) })
			if d.api != nil {
				serving.Go(func() { d.serveAPI(controlCtx) })
			}
		}
		if opts.Signals {
			serving.Go(func() { d.signals.serve(controlCtx, d) })
		}
	})
	d.close()
	d.log.printf(0, mesh.Notice, "terminated")
	return err
}

// network is the configuration in use. It is replaced by a reload.
func (d *Daemon) network() *confdir.Network { return d.current.Load() }

// load reads the configuration and the keys.
func (d *Daemon) load() error {
	n, warnings, err := confdir.Load(d.opts.Layout, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	if err != nil {
		return adviseFiles(d.opts.Layout, err)
	}
	if err := checkSandbox(n.Settings); err != nil {
		return err
	}
	n.Settings.Apart = d.opts.Attach != nil
	d.current.Store(n)
	d.log.names.on.Store(n.Settings.Hostnames)
	if d.opts.Debug == 0 {
		d.log.setLevel(n.Settings.LogLevel)
	}
	id, warnings, err := n.Identity()
	for _, w := range warnings {
		d.log.printf(0, mesh.Warning, "%s", w)
	}
	if err != nil {
		return adviseKey(err)
	}
	if id.Key != nil && n.Own.Key != nil && *n.Own.Key != id.Key.Public() {
		d.log.printf(0, mesh.Error, "the public key in %s does not belong to the private key %s: others will refuse this node", d.opts.Layout.Host(n.Name), n.Settings.PrivateKeyFile)
	}
	if id.RSAKey != nil && n.Own.RSAKey != nil && !n.Own.RSAKey.Equal(id.RSAKey.Public()) {
		d.log.printf(0, mesh.Error, "the RSA public key in %s does not belong to the private key %s: nodes of tinc 1.0 will refuse this node", d.opts.Layout.Host(n.Name), n.Settings.RSAPrivateKeyFile)
	}
	d.id = id
	return nil
}

// open takes what the node needs from the machine. What was taken before an
// error is given back by close.
func (d *Daemon) open() error {
	if d.opts.Control {
		if err := d.takeControl(); err != nil {
			return err
		}
	}
	d.log.printf(0, mesh.Notice, "tincan %s starting, debug level %d", d.opts.Version, d.log.level())
	if err := invite.Recover(d.opts.Layout.ConfBase); err != nil {
		d.log.printf(0, mesh.Warning, "invitations that were in use when the last daemon ended remain locked for two minutes: %v", err)
	}
	for _, dir := range []string{d.opts.Layout.Hosts(), d.opts.Layout.Cache()} {
		d.makeDir(dir, 0o755)
	}
	d.membership.takeBack()
	var err error
	if d.dev, err = d.openDevice(); err != nil {
		return err
	}
	if err := d.devices.open(d); err != nil {
		return err
	}
	share := d.confined == nil || d.confined.account == nil // else another user than the one who opens them dials
	if err := d.socks.listen(d.network().Settings, share); err != nil {
		return err
	}
	if err := d.carriers.open(d.network().Settings, d.log); err != nil {
		return err
	}
	if d.claim != nil {
		if err := d.claim.Publish(d.socks.addr()); err != nil {
			return adviseClaim(err)
		}
	}
	s := d.network().Settings
	d.script = script.NewRunner(d.scriptConfig(s), func(level int, text string) {
		p := mesh.Info
		if level == script.LevelError {
			p = mesh.Error
		}
		d.log.printf(level, p, "%s", text)
	})
	d.persister = newPersister(d.opts.Layout, d.log)
	d.seen = newSeen(&d.opts.Layout)
	d.plane = dataplane.New(dataplane.Config{
		Self: d.network().Name, Device: d.dev, Sockets: d.socks.udp, Door: d.devices.device(),
		Event: func(e mesh.Event) bool {
			if t, ok := e.(mesh.Traffic); ok {
				d.outside.sent(t.Node)
			}
			return d.core.report(e)
		},
		Meta: func(id mesh.ConnID) dataplane.Meta {
			if w := d.conns.Meta(id); w != nil {
				return w
			}
			return nil
		},
		Options:     planeOptions(s),
		Compression: s.Compression,
		Mode:        s.Mode, Ethernet: device.CarriesFrames(d.dev), MAC: hardwareAddr(interfaceHere(d)),
		LocalAddr: netwatch.Towards, SocketFailed: d.socketFailed, Workers: workers(s.Workers), Mask: ownMask(d.id.Key),
	})
	d.conns = metaconn.New(metaconn.Config{
		Self: d.network().Name, NetName: d.opts.Layout.NetName, Proxy: s.Proxy, Key: d.id.Key, RSAKey: d.id.RSAKey, Suite: s.Suite, Rand: rand.Reader,
		Event: d.core.event, Data: d.plane,
		ProxySays: func(node, address, line string) {
			d.log.printf(1, mesh.Info, "the proxy to %s at %s: %s", node, address, line)
		},
		Invitation:  d.serveInvitation,
		LoadHost:    d.loadHost,
		UserTimeout: s.PingTimeout,
		MaxOutput:   s.MaxOutputBufferSize, MaxBurst: s.MaxConnectionBurst,
		Known: knownAddresses(d.opts.Layout, d.network()), Refused: d.refused, MayDialName: d.mayDialName,
		Mark: s.Mark(), Resolver: outerResolver(s), BindToDevice: s.BindToInterface, Family: family(s.AddressFamily), Bind: bindAddrs(s),
	})
	d.invite.Store(d.invitations(s))
	d.netif = netif.New(interfaceHere(d), netif.Log{Printf: d.log.printf, Failed: d.log.failed}, d.underlay)
	own := ""
	if d.hasInterface() {
		own = d.netif.Name()
	}
	d.where = newWhereabouts(own, s.Mark())
	d.places = newPlaces(&d.opts.Layout, func(dev string) bool { return dev == own })
	d.distribution = d.newDistribution()
	d.ports = d.newPorts()
	if s.DeviceStandby {
		d.standby = newStandby()
	}
	d.graph = newGraphExporter(d)
	d.teller = newTeller(d)
	d.naming = newNaming(d)
	d.exit, d.outside = newExitNode(d), newOutside(d)
	d.conflicts = &conflicts{claims: newClaims(), core: d.core, log: d.log, network: d.network, reload: d.reload}
	return nil
}

// takeControl takes the pid file and opens the control socket.
func (d *Daemon) takeControl() (err error) {
	if d.claim, err = pidfile.NewClaim(d.opts.Layout.PidFile); err != nil {
		return adviseClaim(err)
	}
	d.openAPI()
	return d.openToGroup()
}

// openToGroup opens the control socket to the group of ControlGroup.
func (d *Daemon) openToGroup() error {
	name := d.network().Settings.ControlGroup
	if name == "" {
		return nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return &Hinted{fmt.Errorf("ControlGroup = %.60s: there is no such group", name), "make it with: groupadd " + name}
	}
	gid, err := strconv.Atoi(group.Gid)
	if err == nil {
		err = d.claim.Open(gid)
	}
	if err == nil && d.api != nil {
		err = d.api.Open(gid)
	}
	if err != nil {
		return fmt.Errorf("ControlGroup = %.60s: %w", name, err)
	}
	return nil
}

// run starts the goroutines, and ends them in the opposite order. serve begins to
// answer the control socket and signals.
//
//	up:   tinc-up, packets, protocol core (subnet-up), connections, control, Ready
//	down: connections, protocol core (host-down, subnet-down), tinc-down, packets
func (d *Daemon) run(ctx context.Context, serve func()) error {
	fail := func(what string, err error) { d.fail(fmt.Errorf("%s: %w", what, err)) }

	// Scripts run until the very end: the last of them is tinc-down.
	defer inBackground(func(ctx context.Context) { _ = d.script.Run(ctx) })()
	defer d.netif.Release()
	if d.standby == nil {
		if err := d.interfaceUp(ctx); err != nil {
			return err
		}
	}
	// The packet path ends after tinc-down: it takes the interface with it.
	defer inBackground(func(ctx context.Context) {
		if err := d.plane.Run(ctx); err != nil {
			fail("packet path", err)
		}
	})()
	d.dev, d.socks.udp = nil, nil // the plane closes them
	if d.standby == nil {
		defer d.interfaceDown()
	} else {
		defer inBackground(d.standBy)()
	}

	var seed [32]byte
	rand.Read(seed[:])
	costs := sync.OnceValue(measureCosts)
	go costs() // the first handshake needs them
	cfg := d.meshConfig(d.network())
	cfg.Worked = d.places.worked()
	d.core.mesh = mesh.New(cfg, mesh.Deps{
		Rand: mathrand.New(mathrand.NewChaCha8(seed)), Secrets: rand.Reader, RouteMTU: d.socks.routeMTU,
		Heard: d.conns.Heard, Locate: d.where.locate, Costs: costs,
	}, time.Now())
	d.core.flush(time.Now()) // our own subnets come up before anything else happens
	if d.confined.strict() {
		// As in tinc the first scripts have all rights, and nothing that others send
		// is looked at before those are gone.
		_ = d.script.Wait(ctx)
	}
	d.naming.begin(ctx)
	defer d.exit.end()
	defer d.outside.end()
	for _, step := range []func() error{d.exit.begin, d.outside.begin, d.confine} {
		if err := step(); err != nil {
			close(d.core.done)
			d.conns.Close()
			return err
		}
	}
	defer inBackground(d.netif.Run)()
	defer inBackground(d.exit.run)()
	defer inBackground(d.persister.run)()
	defer inBackground(d.seen.run)()
	defer inBackground(d.places.run)()
	defer inBackground(d.distribution.run)()
	defer inBackground(d.membership.run)()
	defer inBackground(d.graph.run)()
	defer inBackground(d.serveMetrics)()
	defer inBackground(memberPage{d}.run)()
	defer inBackground(d.naming.run)()
	defer d.mapPorts(ctx)()
	endCore := inBackground(d.core.run)
	defer inBackground(d.outside.run)()
	defer inBackground(d.pathWatch.run)()
	defer inBackground(d.meshView.answer)()
	defer inBackground(d.teller.run)()
	defer inBackground(d.meshView.look)()
	if d.opts.API != nil || d.opts.UI != nil { // else nobody can ask for it
		defer inBackground(d.meshView.remember)()
	}
	defer inBackground(func(ctx context.Context) { d.conflicts.run(ctx, d.opts.Layout) })()
	defer inBackground(d.watchClocks)()
	defer inBackground(d.watchNetwork)()
	var accepting sync.WaitGroup
	for _, l := range d.socks.tcp {
		accepting.Go(func() {
			if err := d.conns.Serve(ctx, l); err != nil && ctx.Err() == nil {
				fail("meta connections", err)
			}
		})
	}
	defer inBackground(func(ctx context.Context) { d.carriers.serve(ctx, d.conns) })()
	serve()

	var err error
	if d.script.Wait(ctx) == nil { // for subnet-up of our own subnets
		d.log.printf(0, mesh.Notice, "Ready")
		d.happened(events.Event{Event: events.Started, Text: "the node works"})
		d.log.flush()
		if d.opts.Ready != nil {
			d.opts.Ready(d)
		}
		select {
		case <-ctx.Done():
		case err = <-d.failed:
		}
	}
	d.log.printf(0, mesh.Notice, "stopping")
	d.happened(events.Event{Event: events.Stopping, Text: "the node ends"})
	if d.opts.Stopping != nil {
		d.opts.Stopping()
	}
	if err == nil {
		d.outside.letGo()
	}
	d.stop()
	d.core.shutdown()
	endCore()
	d.conns.Close()
	accepting.Wait()
	return err
}

// fail ends the node with an error; the first one counts.
func (d *Daemon) fail(err error) {
	select {
	case d.failed <- err:
	default:
	}
}

// inBackground runs f on a goroutine and returns what ends it and waits for it.
func inBackground(f func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	return func() { cancel(); <-ended }
}

// close gives back what open took. It may be called again.
func (d *Daemon) close() {
	if d.closed {
		return
	}
	d.closed = true
	for _, l := range d.socks.tcp {
		l.Close()
	}
	for _, s := range d.socks.udp {
		s.Close()
	}
	d.carriers.close()
	if d.dev != nil {
		d.dev.Close()
	}
	d.devices.close()
	if d.api != nil {
		d.api.Remove()
	}
	if d.claim != nil {
		if err := d.claim.Release(); err != nil {
			d.log.printf(0, mesh.Warning, "%v", err)
		}
	}
	if d.null != nil {
		d.null.Close()
	}
}

// loadHost reads the host file of a peer that knocks, so that a file that was put
// there since the start counts.
func (d *Daemon) loadHost(name node.Name) {
	if name != d.network().Name {
		d.core.event(d.readHost(name))
	}
}

func (d *Daemon) readHost(name node.Name) mesh.HostLoaded {
	h, warnings, err := confdir.LoadHost(d.opts.Layout, name, d.opts.Overrides)
	for _, w := range warnings {
		d.log.printf(1, mesh.Warning, "%s", w)
	}
	if known, ok := d.network().Hosts[name]; ok && errors.Is(err, fs.ErrPermission) {
		h, err = known, nil // we were allowed to read it once
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.printf(0, mesh.Warning, "%v", err)
	}
	mh := meshHost(h)
	mh.Told = d.told(name)
	return mesh.HostLoaded{Node: name, Known: err == nil, Host: mh}
}

package tincan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/mesh"
	"tincan/internal/netstack"
	"tincan/internal/node"
	"tincan/packaging"
)

// Options say which node to run and what it may take from the process. Only Dir is required.
type Options struct {
	// Dir is the directory of the node, with tinc.conf, its keys and the host files. The node keeps there
	// what it learns of others: keys and addresses.
	Dir string

	// Settings are lines as in tinc.conf, such as "Port = 0". They take precedence over those of the files.
	Settings []string

	// Device carries the packets of the VPN. Read returns one packet that goes into the VPN, and Write is
	// given one that came out of it: an IP packet, or an Ethernet frame with Mode = switch or hub. A buffer
	// for Read has 65535 bytes, and neither call may keep its buffer. Read and Write are called from
	// one goroutine each.
	//
	// If Write takes its time up to 256 packets wait for it, and more are lost. An error of Write costs that
	// packet. The node ends with an error after io.EOF from Read, or when other errors of Read do not stop.
	//
	// Run closes the device in any case, and before it returns. Close has to end a Read and a Write that wait.
	//
	// Nil: the network interface of the configuration, which gets its addresses and routes. That takes privileges. See
	// also Sockets.
	Device io.ReadWriteCloser

	// Sockets gives the node a TCP/IP stack of its own in this process, in place of a device: then there are [Node.Dial],
	// [Node.Listen] and [Node.ListenPacket]. It takes no privileges, and works on every system. Device must be nil, and the
	// configuration must have the address of the node (Ifconfig), as directories of [Init] and [Join] do.
	Sockets bool

	// Log gets the messages of the node, one at a time. A slow one loses messages, and does not slow the
	// node. The setting LogLevel, 0 to 5, says how much is logged. Nil: nothing is.
	Log *slog.Logger

	// Ready is called once, when the node works and others can connect to it. The node runs meanwhile, but cannot
	// end before Ready returns. It may be nil.
	Ready func(*Node)

	// PidFile is the path of a pid file, for "tincan --pidfile". The control socket is made next to it, with
	// the ending .socket in place of .pid. "": neither of them is made.
	PidFile string

	// Scripts runs the scripts of the directory (tinc-up, host-up and the others), as the command does.
	Scripts bool
}

// Node is a node that runs. Its methods may be called from any goroutine.
type Node struct {
	d       *daemon.Daemon
	stack   *netstack.Stack // nil without Options.Sockets
	started time.Time
	stop    func()
	ended   chan struct{} // closed when the node has ended, with err
	err     error
}

// Peer is another node of the network.
type Peer struct {
	Name      string         // of the node
	Reachable bool           // directly or through others
	Addr      netip.AddrPort // where it is outside of the VPN; the zero value if that is not known
	RTT       time.Duration  // round trip by UDP; 0 if it has not been measured
}

// ErrRunning says that this process already runs a node with that directory.
var ErrRunning = errors.New("this process already runs a node with that directory")

// running has the directories of the nodes that run in this process.
var running sync.Map

// Start runs a node in the background, and returns when it works. It runs until ctx ends, or [Node.Close] is called, and otherwise as [Run]
// says. The error says why it could not start.
func Start(ctx context.Context, o Options) (*Node, error) {
	ready, ended := make(chan *Node, 1), make(chan error, 1)
	then := o.Ready
	o.Ready = func(n *Node) {
		if then != nil {
			then(n)
		}
		ready <- n
	}
	go func() { ended <- Run(ctx, o) }()
	select {
	case n := <-ready:
		return n, nil
	case err := <-ended:
		if err == nil {
			err = cmp.Or(context.Cause(ctx), errStopped)
		}
		return nil, err
	}
}

var errStopped = errors.New("the node was stopped while it started")

// Close ends the node and waits until nothing of it is left. It returns what [Run] does. It must not be called by Options.Ready.
func (n *Node) Close() error {
	n.stop()
	return n.Wait()
}

// Wait waits until the node has ended, and returns what [Run] does: nil if that was wanted.
func (n *Node) Wait() error {
	<-n.ended
	return n.err
}

// Run runs a node until ctx ends or somebody stops it through its control socket; the error is nil
// then. Otherwise it says why the node could not start or had to end. Nothing of the node is left
// when Run returns: no goroutine, no socket and no interface.
//
// It is an error if tinc.conf has Sandbox or ProcessPriority, which would change the whole process, or if
// this process already runs a node with the same directory ([ErrRunning]).
func Run(ctx context.Context, o Options) error {
	n := &Node{ended: make(chan struct{})}
	defer close(n.ended)
	ctx, n.stop = context.WithCancel(ctx)
	defer n.stop()
	n.err = n.run(ctx, o)
	return n.err
}

func (n *Node) run(ctx context.Context, o Options) error {
	started := false
	defer func() {
		if !started && o.Device != nil {
			o.Device.Close()
		}
	}()
	if o.Sockets && o.Device != nil {
		return errors.New("a node has either a device or sockets of its own: Options.Device and Options.Sockets are both set")
	}
	l, err := layout(o.Dir, o.PidFile)
	if err != nil {
		return err
	}
	settings, err := config.ParseOverrides(o.Settings)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if _, taken := running.LoadOrStore(l.ConfBase, true); taken {
		return fmt.Errorf("%w: %s", ErrRunning, l.ConfBase)
	}
	defer running.Delete(l.ConfBase)
	d := daemon.Options{
		Layout: l, Overrides: settings, Version: packaging.Version(),
		Device: o.Device, Log: logTo(o.Log), Control: o.PidFile != "", Scripts: o.Scripts,
	}
	if o.Sockets {
		d.Attach = n.sockets
	}
	d.Ready = func(d *daemon.Daemon) {
		n.d, n.started = d, time.Now()
		if o.Ready != nil {
			o.Ready(n)
		}
	}
	started = true
	return daemon.Run(ctx, d)
}

// layout says where the files of a node lie.
func layout(dir, pidFile string) (confdir.Layout, error) {
	if dir == "" {
		return confdir.Layout{}, errors.New("the directory of the node is missing")
	}
	l, err := confdir.Place{Conf: dir, PidFile: pidFile}.Layout()
	if err != nil {
		return l, err
	}
	return l.Abs()
}

// logTo makes the log of a node write to log, which may be nil.
func logTo(log *slog.Logger) func(control.LogRecord) {
	if log == nil {
		return nil
	}
	return func(r control.LogRecord) {
		ctx, level := context.Background(), levels[r.Priority]
		if h := log.Handler(); h.Enabled(ctx, level) {
			_ = h.Handle(ctx, slog.NewRecord(r.Time, level, r.Text, 0)) // there is nobody else to tell
		}
	}
}

var levels = map[mesh.Priority]slog.Level{
	mesh.Error: slog.LevelError, mesh.Warning: slog.LevelWarn, mesh.Notice: slog.LevelInfo, mesh.Info: slog.LevelInfo, mesh.Debug: slog.LevelDebug,
}

// Addr is the first address that the node listens at, with TCP and UDP alike. It tells the port with Port = 0.
func (n *Node) Addr() netip.AddrPort { return n.d.Addr() }

// Peers lists the other nodes that are known, in the order of their names. It is empty when the node has ended.
func (n *Node) Peers() []Peer {
	var list []Peer
	for _, i := range n.d.Nodes() {
		if !i.Self {
			list = append(list, Peer{Name: string(i.Name), Reachable: i.Reachable, Addr: i.Addr, RTT: i.RTT})
		}
	}
	return list
}

// Reload reads the files of the directory again. After an error the node goes on with what it had.
func (n *Node) Reload() error { return n.d.Reload() }

// Invite makes an invitation for a new node called name, and returns its URL, for [Join] or "tincan join". The URL
// works once, and for a week unless the setting InvitationExpire differs. It is a secret: whoever has it can join.
//
// address is where the newcomer reaches this node: a host name or IP address, perhaps followed by a space and
// a port. If it is "" the configuration must have an Address. It is an error if there is a node called name.
//
// It is for open networks: in a signed one the URL is of no use, and "tincan invite" makes one that is.
func (n *Node) Invite(ctx context.Context, name, address string) (url string, err error) {
	who, err := node.ParseName(name)
	if err != nil {
		return "", err
	}
	inv, err := n.d.Invite(ctx, who, address)
	return inv.URL, err
}

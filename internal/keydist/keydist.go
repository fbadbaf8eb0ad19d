// Package keydist spreads host files: whoever joins at one node is known to all.
//
// Every node shows its own host file to the VPN, and fetches those of the nodes
// that it learns of. Inside a running tincan node the mesh says who is there
// and by which key (see [Engine]); a host file counts only with its node's signature. Beside a
// tincd of tinc 1.0 the same thing runs as tinc-boot's monitor: the scripts of
// tincd say who is there, and the keys that are known already are the proof.
//
// A key that is known is never replaced. See [Store] for what happens instead.
//
// The HTTP interface, its port and the discovery of the program's second
// generation are those of tinc-boot; what they let everybody in the VPN do is
// not. Reading is open to the VPN, orders are taken from the own address only.
package keydist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Ports in the VPN.
const (
	Port          = 1655  // monitor
	DiscoveryPort = 18655 // second generation
)

// Defaults of tinc-boot's monitor.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultInterval = 10 * time.Second
	DefaultReindex  = time.Minute
)

// Limits.
const (
	maxPeers      = 10_000 // nodes that are watched, and host files in the directory
	maxFetches    = 32     // at a time
	maxAddresses  = 4      // of one node that are tried
	fetchTimeout  = 5 * time.Second
	firstPatience = 700 * time.Millisecond
	longestPause  = 10 * time.Minute
	refreshAfter  = 24 * time.Hour // a file that was confirmed so long ago is fetched again
	manyPeers     = 200            // with more, what was confirmed lately is not fetched again at each start
	spread        = 100 * time.Millisecond
	doubtAfter    = 3 // failed attempts after which the others are asked about a node's key
)

// Engine is the running mesh. Its methods may be called by several goroutines.
type Engine interface {
	// Owner is the reachable node that packets for an address are sent to.
	Owner(netip.Addr) (node.Name, bool)
	// Announced lists the nodes that announce exactly this subnet.
	Announced(netip.Prefix) []node.Name
	// Key is the key by which the engine knows a node, nil if it knows none. vouched tells whether
	// somebody who may let others in vouches for it, so that the node may have a host file.
	Key(node.Name) (key *keys.PublicKey, vouched bool)
}

// Config says what a [Monitor] does. Its functions may be called by several goroutines.
type Config struct {
	Store *Store
	Self  node.Name
	Port  uint16 // 0: the usual one

	// Addresses are the own addresses in the VPN, as they are now.
	Addresses func() ([]netip.Addr, error)
	// AddressesTouched says that they may have changed. Nil: they are looked at each second.
	AddressesTouched <-chan struct{}
	// Device is the name of the VPN interface. Fetches go through it only.
	Device string
	// Engine is nil beside an external tincd.
	Engine Engine

	Timeout  time.Duration // of one attempt to fetch
	Interval time.Duration // between attempts; 0: growing pauses
	Reindex  time.Duration // between scans

	// Sign signs the own host file: it returns the line that tinc's "sign" would put in front of data. Nil:
	// this node has no key to sign with.
	Sign func(data []byte) string

	// Program is what this program calls itself, as "tincan/1.0": others show it to their users.
	Program string

	Orders    bool // take orders over HTTP from the own address
	Index     bool // keep a ConnectTo line for each node with an address
	Discovery bool // speak the second generation too
	ServeOnly bool // fetch nothing

	// Vouched is called when another node has let somebody in. It may be nil.
	Vouched func(name node.Name, key keys.PublicKey, by node.Name)
	// Stored is called after the host file of a node was written. It may be nil.
	Stored func(node.Name)
	// Log gets messages with tinc's debug levels.
	Log func(level int, text string)
}

// ErrKilled is what Run returns after an order to end.
var ErrKilled = errors.New("ended by an order over HTTP")

// Monitor spreads host files. Its methods are safe for concurrent use.
type Monitor struct {
	cfg   Config
	slots chan struct{} // one for each fetch under way
	scan  chan struct{} // asks for a scan

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before
	peers   map[node.Name]*peer
	order   []*peer // as they were met
	wg      sync.WaitGroup
	killed  chan struct{}
	hearers map[chan event]bool
	own     []netip.Addr // addresses that we listen at
	vouches []vouch
}

// peer is a node that is watched.
type peer struct {
	name    node.Name
	subnet  string       // announced first, as it was written
	addrs   []netip.Addr // where its host file may be
	program string       // what it calls its program, "" if it does not say
	fetched bool
	public  bool
	fresh   chan struct{} // has an element when addrs grew
	stop    context.CancelFunc
}

// New makes a monitor. [Monitor.Run] runs it; what happens before is kept.
func New(cfg Config) *Monitor {
	if cfg.Port == 0 {
		cfg.Port = Port
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = fetchTimeout
	}
	if cfg.Reindex == 0 {
		cfg.Reindex = DefaultReindex
	}
	m := &Monitor{
		cfg: cfg, slots: make(chan struct{}, maxFetches), scan: make(chan struct{}, 1),
		peers: map[node.Name]*peer{}, killed: make(chan struct{}), hearers: map[chan event]bool{},
	}
	return m
}

func (m *Monitor) logf(level int, format string, a ...any) {
	if m.cfg.Log != nil {
		m.cfg.Log(level, fmt.Sprintf(format, a...))
	}
}

// Run listens, fetches and scans until ctx ends or an order ends it, and waits
// for everything that it started.
func (m *Monitor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	m.mu.Lock()
	m.ctx = ctx
	for _, p := range m.order {
		m.begin(p)
	}
	m.mu.Unlock()
	defer m.cfg.Store.Flush()
	defer func() {
		m.mu.Lock()
		m.ctx = nil
		m.mu.Unlock()
		cancel()
		m.wg.Wait()
	}()
	m.resumeVouching()
	m.serve(ctx)
	tick := time.NewTicker(m.cfg.Reindex)
	defer tick.Stop()
	m.scanSoon()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.killed:
			return ErrKilled
		case <-tick.C:
			m.refresh()
		case <-m.scan:
		}
		m.reindex()
		m.cfg.Store.Flush()
	}
}

// Kill ends Run.
func (m *Monitor) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.killed:
	default:
		close(m.killed)
	}
}

func (m *Monitor) scanSoon() {
	select {
	case m.scan <- struct{}{}:
	default:
	}
}

// Watch: name has a subnet. Its host file will be fetched if that is a single address.
func (m *Monitor) Watch(name node.Name, s subnet.Subnet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[name]
	if p == nil {
		if len(m.order) >= maxPeers {
			return
		}
		p = &peer{name: name, subnet: s.String(), fresh: make(chan struct{}, 1)}
		if prefix := s.Prefix(); prefix.IsValid() { // with the length, as tincd writes it
			p.subnet = prefix.String()
		}
		m.peers[name] = p
		m.order = append(m.order, p)
		m.tell(event{"Connected", p.view()})
		m.begin(p)
	}
	prefix := s.Prefix()
	if !prefix.IsValid() || !prefix.IsSingleIP() || len(p.addrs) >= maxAddresses || slices.Contains(p.addrs, prefix.Addr()) {
		return
	}
	p.addrs = append(p.addrs, prefix.Addr())
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

// Unwatch: name does not have the subnet any more.
func (m *Monitor) Unwatch(name node.Name, s subnet.Subnet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.peers[name]; p != nil {
		p.addrs = slices.DeleteFunc(slices.Clone(p.addrs), func(a netip.Addr) bool { return a == s.Prefix().Addr() })
	}
}

// Forget stops what goes on about name, and forgets it. Its host file stays.
func (m *Monitor) Forget(name node.Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.peers[name]
	if p == nil {
		return
	}
	delete(m.peers, name)
	m.order = slices.DeleteFunc(m.order, func(o *peer) bool { return o == p })
	if p.stop != nil {
		p.stop()
	}
	m.tell(event{"Disconnected", p.view()})
}

// begin starts to pursue the host file of p. The lock is held.
func (m *Monitor) begin(p *peer) {
	if m.ctx == nil {
		return
	}
	if p.stop != nil {
		p.stop()
	}
	ctx, stop := context.WithCancel(m.ctx)
	p.stop = stop
	if p.name == m.cfg.Self {
		// tincd announces the own subnet to its scripts as well. Nobody fetches
		// from himself: the file could be read while it is being written.
		p.fetched = true
		if own, err := m.cfg.Store.Read(p.name); err == nil {
			p.public = hostfile.Public(own)
		}
		return
	}
	if !m.cfg.ServeOnly {
		m.wg.Go(func() { m.pursue(ctx, p) })
	}
	if m.cfg.Discovery {
		m.wg.Go(func() { m.discover(ctx, p) })
	}
}

// refresh fetches again what was confirmed long ago.
func (m *Monitor) refresh() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.order {
		if m.cfg.Engine != nil && p.fetched && p.name != m.cfg.Self && !m.cfg.Store.confirmed(p.name, refreshAfter) {
			p.fetched = false
			m.begin(p)
		}
	}
}

// places returns where the host file of p may be.
func (m *Monitor) places(p *peer) []netip.Addr {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(p.addrs)
}

// reindex keeps the ConnectTo lines.
func (m *Monitor) reindex() {
	if !m.cfg.Index {
		return
	}
	added, err := m.cfg.Store.Index()
	if err != nil {
		m.logf(0, "looking through the host files: %v", err)
	}
	for _, name := range added {
		m.logf(0, "%s can be dialled: ConnectTo = %s added to tinc.conf", name, name)
	}
}

package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"time"

	"tincan/internal/control"
	"tincan/internal/members"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// backend answers the control socket. Everything about the mesh is asked on the protocol core's goroutine.
type backend struct{ d *Daemon }

func (b *backend) Self() control.SelfInfo {
	d := b.d
	return control.SelfInfo{
		Name: d.network().Name, NetName: d.opts.Layout.NetName, Version: d.opts.Version,
		PID: os.Getpid(), Interface: d.netif.Name(), Started: d.started,
		Process: d.state.Load(), Parallel: b.parallel(),
	}
}

func (b *backend) parallel() *control.Parallel {
	workers, sealed, opened := b.d.plane.Parallel()
	if workers == 0 {
		return nil
	}
	return &control.Parallel{Workers: workers, Sealed: sealed, Opened: opened}
}

func (b *backend) Nodes() []control.NodeInfo {
	var out []control.NodeInfo
	for n := range b.nodes() {
		out = append(out, b.node(n))
	}
	return out
}

// atATime is how many nodes the protocol core tells of at a time: others have something to ask, too, and
// the memory for all of them would be a lot.
const atATime = 256

// nodes are all nodes in the order of their names. Those that come or go meanwhile may be missing.
func (b *backend) nodes() iter.Seq[mesh.NodeInfo] {
	return func(yield func(mesh.NodeInfo) bool) {
		var last node.Name
		for {
			var list []mesh.NodeInfo
			b.d.core.call(func(m *mesh.Mesh) { list = m.NodesAfter(last, atATime) })
			for _, n := range list {
				if !yield(n) {
					return
				}
				last = n.Name
			}
			if len(list) < atATime {
				return
			}
		}
	}
}

// EachNode and Links are what the control socket asks (control.NodeByNode).
func (b *backend) EachNode(f func(*control.NodeInfo, []string)) {
	for n := range b.nodes() {
		var subnets []string
		for _, s := range n.Subnets {
			subnets = append(subnets, s.String())
		}
		c := b.node(n)
		f(&c, subnets)
	}
}

func (b *backend) Links() (n int) {
	b.d.core.call(func(m *mesh.Mesh) { n = m.Links() })
	return n
}

// Totals and RosterTotals are what the control socket asks (control.Counter).
func (b *backend) Totals() control.Totals {
	var t mesh.Totals
	b.d.core.call(func(m *mesh.Mesh) { t = m.Totals() })
	return control.Totals{HandshakesBegun: t.HandshakesBegun, HandshakesMade: t.HandshakesMade, Failovers: control.HistogramOf(&t.Failovers)}
}

func (b *backend) RosterTotals() *control.RosterTotals {
	s := b.d.membership.current()
	if s == nil {
		return nil
	}
	t := control.RosterTotals(members.Count(s.State(), time.Now()))
	return &t
}

func (b *backend) node(n mesh.NodeInfo) control.NodeInfo {
	if n.Self {
		n.HasAddr = len(b.d.network().Own.Addresses) > 0
	}
	if n.Since.IsZero() && !n.Self {
		n.Since = b.d.seen.at(n.Name)
	}
	c := describe(n)
	if n.Self {
		c.Address = control.Address{Host: control.Myself, Port: strconv.Itoa(int(b.d.socks.port(b.d.network().Settings)))}
	}
	if !n.Self {
		c.Outside = b.outside(n.Name)
	}
	c.Counters = b.counters(n.Name)
	if n.Self {
		c.Program = b.d.program()
	} else {
		c.Program = b.d.distribution.programOf(n.Name)
	}
	return c
}

// describe puts what the protocol core knows of a node into the form of the control protocol.
func describe(n mesh.NodeInfo) control.NodeInfo {
	c := control.NodeInfo{
		Name: n.Name, ID: n.ID, Address: control.AddressOf(n.Addr), Options: n.Options,
		NextHop: n.NextHop, Via: n.Via, Distance: n.Distance,
		MTU: n.MTU, MinMTU: n.MinMTU, MaxMTU: n.MaxMTU, Changed: n.Since, RTT: -1,
		Cipher: n.Suite.Cipher, Digest: n.Suite.Digest, MACLen: n.Suite.MACLen, Compression: n.Suite.Compression,
		Loss: n.Loss, Problem: n.Problem, WrongKey: n.WrongKey, Removed: n.Removed,
	}
	if n.Protection.Cipher != 0 {
		c.Encryption, c.PostQuantum = n.Protection.Cipher.String(), n.Protection.PostQuantum
	}
	if n.Connection.Cipher != 0 {
		c.Connection, c.ConnectionPostQuantum = n.Connection.Cipher.String(), n.Connection.PostQuantum
	}
	c.Weakness, c.Silent, c.Claimed = n.Weakness, n.Silent, n.Claimed
	if n.Probes != (mesh.ProbeCounts{}) {
		c.Probes = &control.Probes{RTT: control.HistogramOf(&n.Probes.RTT), Lost: n.Probes.Lost}
	}
	hop := control.FirstHop(n.FirstHop)
	c.FirstHop = &hop
	c.Carrier, c.ConnectionBy = n.Carrier.String(), n.Link.String()
	if n.RTT > 0 {
		c.RTT = n.RTT
	}
	for _, f := range []struct {
		on  bool
		bit control.NodeStatus
	}{
		{n.ValidKey, control.ValidKey}, {n.Waiting, control.WaitingForKey},
		{n.Reachable, control.Visited | control.Reachable}, {n.Indirect, control.Indirect},
		{n.Reachable && n.Options.Minor() >= 2, control.SPTPS},
		{n.Confirmed, control.UDPConfirmed}, {n.HasAddr, control.HasAddress},
	} {
		if f.on {
			c.Status |= f.bit
		}
	}
	return c
}

func (b *backend) counters(name node.Name) control.Counters {
	c := b.d.plane.Counters(name)
	if name == b.d.network().Name {
		c = b.d.plane.SelfCounters()
	}
	return control.Counters{InPackets: c.InPackets, InBytes: c.InBytes, OutPackets: c.OutPackets, OutBytes: c.OutBytes}
}

func (b *backend) Edges() []control.EdgeInfo {
	var out []control.EdgeInfo
	b.d.core.call(func(m *mesh.Mesh) {
		for _, e := range m.Edges() {
			out = append(out, control.EdgeInfo{
				From: e.From, To: e.To, Options: e.Options, Weight: e.Weight,
				Address: words(e.Addr), Local: words(e.Local),
			})
		}
	})
	return out
}

// words keeps the two words of an address as they came.
func words(a wire.Address) control.Address {
	if a.IsUnspec() {
		return control.Address{}
	}
	host, port := a.Words()
	return control.Address{Host: host, Port: port}
}

func (b *backend) Subnets() []control.SubnetInfo {
	var list []mesh.Owned
	b.d.core.call(func(m *mesh.Mesh) { list = m.Subnets() })
	slices.SortFunc(list, func(x, y mesh.Owned) int {
		return cmp.Or(subnet.Compare(x.Subnet, y.Subnet), cmp.Compare(x.Owner, y.Owner))
	})
	out := make([]control.SubnetInfo, 0, len(list))
	for _, s := range list {
		out = append(out, control.SubnetInfo{Subnet: s.Subnet, Owner: s.Owner})
	}
	return out
}

func (b *backend) Connections() []control.ConnInfo {
	var list []mesh.ConnInfo
	b.d.core.call(func(m *mesh.Mesh) { list = m.Conns() })
	out := make([]control.ConnInfo, 0, len(list))
	for _, c := range list {
		i := control.ConnInfo{Name: string(c.Node), Address: control.AddressOf(c.Remote), Options: c.Options, Socket: b.d.conns.Socket(c.Conn)}
		for _, f := range []struct {
			on  bool
			bit control.ConnStatus
		}{{c.Pinged, control.ConnPinged}, {c.Dialling, control.ConnConnecting}, {c.Tree, control.ConnTree}} {
			if f.on {
				i.Status |= f.bit
			}
		}
		out = append(out, i)
	}
	return out
}

func (b *backend) Traffic() []control.TrafficInfo {
	var out []control.TrafficInfo
	for n := range b.nodes() {
		out = append(out, control.TrafficInfo{Name: n.Name, Counters: b.counters(n.Name)})
	}
	return out
}

func (b *backend) Stop()         { b.d.stop() }
func (b *backend) Reload() error { return b.d.reload() }
func (b *backend) Retry()        { b.tell(mesh.Retry{}) }
func (b *backend) Purge()        { b.tell(mesh.Purge{}) }

func (b *backend) tell(e mesh.Event) {
	b.d.core.call(func(m *mesh.Mesh) { m.Handle(now(), e) })
}

func (b *backend) SetDebug(level int) int {
	if level < 0 {
		return b.d.log.level()
	}
	return b.d.log.setLevel(level)
}

func (b *backend) Disconnect(name node.Name) (found bool) {
	b.d.core.call(func(m *mesh.Mesh) {
		for _, c := range m.Conns() {
			found = found || c.Active && c.Node == name
		}
		m.Handle(now(), mesh.Disconnect{Node: name})
	})
	return found
}

func (b *backend) Connect(name node.Name) error {
	if name == b.d.network().Name {
		return errors.New("that is this node itself")
	}
	host := b.d.readHost(name) // it may be newer than what was loaded
	if !host.Known {
		return fmt.Errorf("there is no host file for %s that can be used", name)
	}
	if !b.d.core.call(func(m *mesh.Mesh) {
		m.Handle(now(), host)
		m.Handle(now(), mesh.ConnectNow{Node: name})
	}) {
		return errStopping
	}
	return nil
}

func (b *backend) SubscribeLog(level int, sink func(control.LogRecord)) (cancel func()) {
	return b.d.log.subscribe(level, sink)
}

func (b *backend) SubscribePcap(snaplen int, sink func([]byte)) (cancel func()) {
	return b.d.pcap.subscribe(b.d.plane.SetTap, snaplen, sink)
}

package sim

import (
	"slices"
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Trace says how a packet travelled.
type Trace struct {
	Arrived bool
	Hops    []node.Name // every node that touched it, sender first
	UDP     bool        // each hop was by UDP
}

// Send lets from send an IP packet of size bytes to another node, and calls done
// when it arrives. It is lost in silence otherwise.
func (w *World) Send(from, to *Host, size int, done func(Trace)) {
	if !from.Up {
		return
	}
	from.event(mesh.Traffic{Node: to.Name})
	w.emit(from, to, size, false, Trace{UDP: true, Hops: []node.Name{from.Name}}, done)
}

// emit sends a packet that is in clear at a node: its own, or one of a node of tinc 1.0. It came
// there by TCP or not.
func (w *World) emit(at, to *Host, size int, byTCP bool, r Trace, done func(Trace)) {
	st, ok := at.peers[to.Name]
	switch {
	case !ok || !st.Reachable || len(r.Hops) > 16:
	case st.Legacy != nil:
		w.emitOld(at, to, size, byTCP, r, done)
	default:
		switch forward.Frame(size+ethernetLen, at.cfg.TCPOnly, at.forwardPeer(to.Name), at.forwardPeer(st.Relay)) {
		case forward.StepPacket:
			w.byPacket(at, to, st.Conn, r, done)
		case forward.StepRecord:
			record := st.Tunnel.Seal(nil, append(make([]byte, 1, size+1), make([]byte, size)...))
			w.forward(at, at, to, record, r, done)
		}
	}
}

// Sizes in bytes.
const (
	ethernetLen    = 14
	recordOverhead = 21 // record number 4, type 1, tag 16
)

// byPacket brings a packet for a neighbour over the meta connection with it (PACKET).
func (w *World) byPacket(at, to *Host, conn mesh.ConnID, r Trace, done func(Trace)) {
	l := at.links[conn]
	if l == nil || l.closed {
		return
	}
	l.carried, l.other.carried = w.Now, w.Now
	l.packet(func() {
		if to.peers[at.Name].SealedOnly {
			return
		}
		r.Hops = append(slices.Clip(r.Hops), to.Name)
		r.UDP = false
		to.event(mesh.CameIndirectly{Node: at.Name, Hop: at.Name, TCP: true})
		r.Arrived = true
		done(r)
	})
}

// forward is one hop of tinc 1.1's rule for sending a record.
func (w *World) forward(at, from, to *Host, record []byte, r Trace, done func(Trace)) {
	way, ok := at.route(to, len(record)-recordOverhead, at == from)
	if !ok || len(r.Hops) > 16 || way.loops(r) {
		return
	}
	w.carry(way, at, from, to, record, &r, func(hop *Host, udp bool) {
		if hop != to {
			w.forward(hop, from, to, record, r, done)
			return
		}
		if plain, ok := to.open(from, record); !ok || plain[0] == wire.TypeEcho {
			return
		}
		w.arrived(way, at, from, to)
		r.Arrived = true
		done(r)
	})
}

// arrived tells the protocol core of to that it got a record of from from the I/O layer of at, by x.
func (w *World) arrived(x hop, at, from, to *Host) {
	if x.udp {
		to.heardAgain(at, x.relay.Mask != nil)
	}
	if x.udp && at == from {
		to.heardFrom(from)
	} else {
		to.event(mesh.CameIndirectly{Node: from.Name, Hop: at.Name, TCP: !x.udp})
	}
}

// hop is the next step of a record: by UDP to relay, or over conn.
type hop struct {
	relay mesh.PeerState
	udp   bool
	conn  mesh.ConnID
	next  node.Name
}

// loops tells whether a record that went along r would go back to where it came from.
func (x hop) loops(r Trace) bool {
	n := len(r.Hops)
	return n > 1 && (x.next == r.Hops[n-2] || x.next == r.Hops[0])
}

// route is the data plane's choice for a record of that size: ours, or one to pass on.
func (h *Host) route(to *Host, size int, ours bool) (hop, bool) {
	st, ok := h.peers[to.Name]
	if !ok || !st.Reachable {
		return hop{}, false
	}
	x := hop{conn: st.Conn, next: st.NextHop, udp: true}
	switch forward.Record(size, ours, h.cfg.TCPOnly, h.forwardPeer(st.Relay), h.forwardPeer(st.Via), h.forwardPeer(st.NextHop)) {
	case forward.HopMeta:
		x.udp = false
		return x, true
	case forward.HopRelay:
		x.next = st.Relay
	case forward.HopVia:
		x.next = st.Via
	}
	x.relay = h.peers[x.next]
	return x, true
}

// forwardPeer is what the host's data plane knows of a node, nil if it knows none.
func (h *Host) forwardPeer(n node.Name) *forward.Peer {
	st, ok := h.peers[n]
	if !ok {
		return nil
	}
	f := st.Forward()
	return &f
}

// carry brings a record one step further; there is what happens then.
func (w *World) carry(x hop, at, from, to *Host, record []byte, r *Trace, there func(hop *Host, udp bool)) {
	arrive := func(hop *Host, udp bool) {
		if st := hop.peers[at.Name]; udp && hop != to && (!st.Confirmed || st.Addr != at.outside()) {
			return // only from confirmed addresses are packets passed on
		}
		if hop != to && !hop.peers[from.Name].Known {
			return // nor are packets of nodes that are not known, or no members
		}
		r.Hops = append(slices.Clip(r.Hops), hop.Name)
		r.UDP = r.UDP && udp
		if hop != to {
			hop.event(mesh.Relayed{From: from.Name, To: to.Name})
		}
		there(hop, udp)
	}
	if x.udp {
		at.sentTo(x.relay.Node, len(record)-recordOverhead+ethernetLen)
		at.datagram(x.relay.Addr, x.relay.Mask != nil, len(record)+wire.IDsLen, func(hop *Host) {
			if hop.Name == x.relay.Node {
				arrive(hop, true)
			}
		})
		return
	}
	if l := at.links[x.conn]; l != nil && !l.closed {
		l.carried, l.other.carried = w.Now, w.Now
		l.packet(func() { arrive(l.other.host, false) })
	}
}

// Ping sends a packet there and one back and reports both traces.
func (w *World) Ping(a, b *Host, done func(there, back Trace)) {
	w.Send(a, b, 64, func(there Trace) {
		w.Send(b, a, 64, func(back Trace) { done(there, back) })
	})
}

// Reaches pings once a second until an answer comes, for at most d of virtual time.
func (w *World) Reaches(a, b *Host, d time.Duration) (there, back Trace, took time.Duration, ok bool) {
	var repeat func()
	repeat = func() {
		if ok {
			return
		}
		w.Ping(a, b, func(t, r Trace) {
			if !ok {
				there, back, ok = t, r, true
			}
		})
		w.After(time.Second, repeat)
	}
	repeat()
	took, _ = w.Until(d, func() bool { return ok })
	ok = there.Arrived
	return there, back, took, ok
}

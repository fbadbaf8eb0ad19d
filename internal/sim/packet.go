package sim

import (
	"slices"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Road says how a packet travelled.
type Road struct {
	Arrived bool
	Hops    []node.Name // every node that touched it, sender first
	UDP     bool        // each hop was by UDP
}

// Send lets from send an IP packet of size bytes to another node, and calls done
// when it arrives. It is lost in silence otherwise.
func (w *World) Send(from, to *Host, size int, done func(Road)) {
	if !from.Up {
		return
	}
	from.event(mesh.Traffic{Node: to.Name})
	w.emit(from, to, size, false, Road{UDP: true, Hops: []node.Name{from.Name}}, done)
}

// emit sends a packet that is in clear at a node: its own, or one of a node of tinc 1.0. It came
// there by TCP or not.
func (w *World) emit(at, to *Host, size int, byTCP bool, r Road, done func(Road)) {
	st, ok := at.peers[to.Name]
	switch {
	case !ok || !st.Reachable || len(r.Hops) > 16:
	case st.Legacy != nil:
		w.emitOld(at, to, size, byTCP, r, done)
	case st.Tunnel != nil:
		record := st.Tunnel.Seal(nil, append(make([]byte, 1, size+1), make([]byte, size)...))
		w.forward(at, at, to, record, r, done)
	}
}

// forward is one hop of tinc 1.1's rule for sending a record.
func (w *World) forward(at, from, to *Host, record []byte, r Road, done func(Road)) {
	st, ok := at.peers[to.Name]
	if !ok || !st.Reachable || len(r.Hops) > 16 {
		return
	}
	size := len(record) - 21 + 14
	relay := at.peers[st.Via]
	if size > relay.MinMTU {
		relay = at.peers[st.NextHop]
	}
	arrive := func(hop *Host, udp bool) {
		if st := hop.peers[at.Name]; udp && hop != to && (!st.Confirmed || st.Addr != at.outside()) {
			return // only from confirmed addresses are packets passed on
		}
		r.Hops = append(slices.Clip(r.Hops), hop.Name)
		r.UDP = r.UDP && udp
		if hop != to {
			hop.event(mesh.Relayed{From: from.Name, To: to.Name})
			w.forward(hop, from, to, record, r, done)
			return
		}
		if _, ok := to.open(from, record); !ok {
			return
		}
		if udp && at == from {
			to.heardFrom(from)
		}
		if !udp || at != from {
			to.event(mesh.CameIndirectly{Node: from.Name, Hop: at.Name, TCP: !udp})
		}
		r.Arrived = true
		done(r)
	}
	relays := relay.Node == to.Name || wire.Options(relay.Options).Minor() >= 4
	if relays && relay.Confirmed && size <= relay.MinMTU && wire.Options(st.Options)&wire.TCPOnly == 0 {
		at.datagram(relay.Addr, len(record)+wire.IDsLen, func(hop *Host) {
			if hop.Name == relay.Node {
				arrive(hop, true)
			}
		})
		return
	}
	if l := at.links[st.Conn]; l != nil && !l.closed {
		l.deliver(func() { arrive(l.other.host, false) })
	}
}

// Ping sends a packet there and one back and reports both roads.
func (w *World) Ping(a, b *Host, done func(there, back Road)) {
	w.Send(a, b, 64, func(there Road) {
		w.Send(b, a, 64, func(back Road) { done(there, back) })
	})
}

// Reaches pings once a second until an answer comes, for at most d of virtual time.
func (w *World) Reaches(a, b *Host, d time.Duration) (there, back Road, took time.Duration, ok bool) {
	var repeat func()
	repeat = func() {
		if ok {
			return
		}
		w.Ping(a, b, func(t, r Road) {
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

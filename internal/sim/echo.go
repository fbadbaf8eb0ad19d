package sim

import (
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// sendEcho carries an echo through the real session, over the path that the protocol core has named.
func (h *Host) sendEcho(e mesh.SendEcho) {
	w, to := h.w, h.w.hosts[e.Node]
	st, ok := h.peers[e.Node]
	if !ok || to == nil || st.Tunnel == nil {
		return
	}
	record := st.Tunnel.Seal(nil, append([]byte{wire.TypeEcho}, e.Data...))
	x, ok := h.route(to, len(e.Data), true)
	switch e.Path {
	case mesh.EchoTCP:
		x.udp = false
	case mesh.EchoUDP:
		x.relay = st
		if e.Via != "" {
			x.relay = h.peers[e.Via]
		}
		x.udp, ok = true, x.relay.Confirmed
	}
	if ok {
		w.echo(x, h, h, to, record, Trace{UDP: true, Hops: []node.Name{h.Name}})
	}
}

// sendRecord carries a record through the real session, as a packet of its size.
func (h *Host) sendRecord(e mesh.SendRecord) {
	to, st := h.w.hosts[e.Node], h.peers[e.Node]
	if to == nil || st.Tunnel == nil {
		return
	}
	record := st.Tunnel.Seal(nil, append([]byte{e.Type}, e.Data...))
	if x, ok := h.route(to, len(e.Data), true); ok {
		h.w.echo(x, h, h, to, record, Trace{UDP: true, Hops: []node.Name{h.Name}})
	}
}

// echo takes a record of from, an echo or one about the roster, one step further.
func (w *World) echo(x hop, at, from, to *Host, record []byte, r Trace) {
	w.carry(x, at, from, to, record, &r, func(hop *Host, udp bool) {
		if hop != to {
			if next, ok := hop.route(to, len(record)-recordOverhead, false); ok && len(r.Hops) <= 16 && !next.loops(r) {
				w.echo(next, hop, from, to, record, r)
			}
			return
		}
		if plain, ok := to.open(from, record); ok {
			w.arrived(x, at, from, to)
			if plain[0] == wire.TypeRoster {
				to.event(mesh.RosterIn{Node: from.Name, Data: plain[1:]})
				return
			}
			to.event(mesh.EchoIn{Node: from.Name, Hop: at.Name, TCP: !udp, Direct: udp && at == from, Data: plain[1:]})
		}
	})
}

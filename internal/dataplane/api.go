package dataplane

import (
	"errors"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// SendProbe seals a record of type 4 for a node, or for a legacy node the probe as
// a frame, and sends it directly to the address that is named, whatever the node's own is.
func (p *Plane) SendProbe(probe mesh.SendProbe) {
	to, s := p.known(probe.Node)
	switch {
	case s == nil:
		p.drop(UnknownNode)
		return
	case !s.open():
		p.drop(NoSession)
		return
	case len(probe.Data) > maxData:
		p.drop(OverLong)
		return
	}
	sock := p.socketFor(probe.Addr, probe.Sock)
	if sock < 0 {
		p.drop(NoSocket)
		return
	}
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	if s.Legacy != nil {
		if !c.wrapLegacy(s, probe.Data) {
			return
		}
	} else if !c.wrap(s, wire.TypeProbe, probe.Data, node.ID{}) {
		return
	}
	c.run[0] = udp.Run{To: probe.Addr, Buf: c.blob, Size: len(c.blob), TTL: probe.TTL}
	err := p.cfg.Sockets[sock].Send(c.run[:])
	var long *udp.TooLong
	switch {
	case errors.As(err, &long): // what the probe was to find out
		p.cfg.Event(tooLong(to, long))
	case err != nil:
		p.drop(SendFailed)
	}
}

// SendEcho seals a record of type 8 for a node and sends it the way that is said. What
// cannot go that way is dropped.
func (p *Plane) SendEcho(e mesh.SendEcho) {
	to, s := p.known(e.Node)
	switch {
	case s == nil:
		p.drop(UnknownNode)
		return
	case s.Tunnel == nil:
		p.drop(NoSession)
		return
	case len(e.Data) > maxData:
		p.drop(OverLong)
		return
	}
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	switch e.Path {
	case mesh.EchoAsPackets:
		c.sendRecord(to, s, wire.TypeEcho, e.Data, 0)
	case mesh.EchoTCP:
		if c.wrap(s, wire.TypeEcho, e.Data, to.id) {
			c.byMeta(to, s, p.self, c.blob)
		}
	case mesh.EchoUDP:
		relay, rs, id := to, s, node.ID{}
		if e.Via != "" && e.Via != e.Node {
			relay, rs = p.known(e.Via)
			id = to.id
		}
		if rs == nil || !rs.Confirmed || rs.tcpOnly() || p.options.Load().TCPOnly {
			p.drop(NoPath)
			return
		}
		way := path{relay: relay, addr: rs.Addr, sock: p.socketFor(rs.Addr, rs.Sock)}
		if way.sock < 0 {
			p.drop(NoSocket)
		} else if c.wrap(s, wire.TypeEcho, e.Data, id) {
			c.send(way, c.blob)
		}
	}
}

// FromMeta takes an SPTPS_PACKET that came on the connection of hop: destination
// id 6 | source id 6 | record. blob is not kept.
func (p *Plane) FromMeta(hop node.Name, blob []byte) {
	if len(blob) < minDatagram {
		p.drop(ShortDatagram)
		return
	}
	dir := p.dir.Load()
	from := dir.byID[node.ID(blob[6:])]
	if from == nil {
		p.drop(UnknownNode)
		return
	}
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	if dst := node.ID(blob); dst == p.selfID {
		c.fromRecord(from, dir.byName[hop], blob[idsLen:])
	} else if to := dir.byID[dst]; to != nil {
		c.pass(to, from, dir.byName[hop], blob)
	} else {
		p.drop(UnknownNode)
	}
}

// FrameFromMeta takes a PACKET that came on the connection of hop: a frame with
// its Ethernet header, which is not kept.
func (p *Plane) FrameFromMeta(hop node.Name, frame []byte) {
	from, s := p.known(hop)
	if s == nil {
		p.drop(UnknownNode)
		return
	}
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	c.byTCP = !s.tcpOnly()
	p.cameIndirectly(from, from, true, c.now)
	c.fromFrame(from, frame)
}

// Tunnelled takes a record that came inside a REQ_KEY request.
func (p *Plane) Tunnelled(t mesh.TunnelledData) {
	from, s := p.known(t.From)
	if s == nil {
		p.drop(UnknownNode)
		return
	}
	if len(t.Record) < recordOverhead {
		p.drop(ShortDatagram)
		return
	}
	hop := p.dir.Load().byName[t.Hop]
	c := p.slowPath()
	defer p.slowPaths.Put(c)
	if t.To == p.cfg.Self {
		c.fromRecord(from, hop, t.Record)
		return
	}
	to, _ := p.known(t.To)
	switch {
	case to == nil:
		p.drop(UnknownNode)
	case p.options.Load().Forwarding != route.Internal:
		p.drop(ForwardingOff)
	default:
		blob := wire.AppendIDs(make([]byte, 0, idsLen+len(t.Record)), to.id, from.id)
		c.pass(to, from, hop, append(blob, t.Record...))
	}
}

// known finds a peer and its state; both nil if it is not known.
func (p *Plane) known(name node.Name) (*peer, *state) {
	pr := p.dir.Load().byName[name]
	if pr == nil {
		return nil, nil
	}
	s := pr.state.Load()
	if s == nil {
		return nil, nil
	}
	return pr, s
}

// undecodable counts and reports a record of from that could not be opened.
func (p *Plane) undecodable(from *peer, now time.Duration, why Reason) {
	p.drop(why)
	p.unopened(from, now, int(from.bad.Add(1)))
}

// cameIndirectly reports a good record for us that hop handed on. hop is nil
// if it is not known.
func (p *Plane) cameIndirectly(from, hop *peer, tcp bool, now time.Duration) {
	if hop == nil || from.indirect.quiet(now, newsEvery) {
		return
	}
	p.event(&from.indirect, now, newsEvery, func() mesh.Event {
		return mesh.CameIndirectly{Node: from.name, Hop: hop.name, TCP: tcp}
	})
}

// echoIn reports an echo from a node that hop handed to us; nil if that is not known. It
// is dropped when the protocol core is busy, as the network might have. e.Data is kept.
func (p *Plane) echoIn(from, hop *peer, e mesh.EchoIn) {
	e.Node = from.name
	if hop != nil {
		e.Hop = hop.name
	}
	p.cfg.Event(e)
}

// relayedOne reports that something of from was passed on to to.
func (p *Plane) relayedOne(from, to *peer, now time.Duration) {
	p.event(p.relayed.of(from.id, to.id), now, newsEvery, func() mesh.Event {
		return mesh.Relayed{From: from.name, To: to.name}
	})
}

package dataplane

import (
	"encoding/binary"
	"time"

	"tincan/internal/b64"
	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/forward"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/wire"
)

// slowPath carries single packets: whatever leaves a fast path, and everything that comes from
// elsewhere than the device and the sockets. It belongs to one goroutine; now must be set before use.
type slowPath struct {
	p       *Plane
	out     *txBatch // where datagrams go
	now     time.Duration
	src     *peer  // where the packet on the slow path came from
	byTCP   bool   // it came as PACKET, which is how legacy nodes pass it on
	frame   []byte // the packet on the slow path, with an Ethernet header
	side    []byte // a copy with the room that the device needs in front of a packet
	plain   []byte // type and data of a record
	packing []byte // data as it was before or is after compression
	blob    []byte // ids and record
}

func newSlowPath(p *Plane) *slowPath { return &slowPath{p: p, src: p.self} }

// send sends a datagram.
func (c *slowPath) send(way path, datagram []byte) {
	c.out.put(way, datagram)
}

// slow is the slow path: whatever can happen to a packet happens here, to one packet
// at a time. ip came from src, Plane.self for our own device; it is not changed.
func (c *slowPath) slow(src *peer, ip []byte) {
	typ, ok := packet.EtherTypeOf(ip)
	if !ok {
		c.p.drop(Malformed)
		return
	}
	c.frame = append(append(c.frame[:0], make([]byte, ethernetLen)...), ip...)
	binary.BigEndian.PutUint16(c.frame[ethernetLen-2:], typ)
	c.route(src)
}

// route decides on c.frame, which came from src, and carries that out.
func (c *slowPath) route(src *peer) {
	c.src = src
	if tap := c.p.tap.Load(); tap != nil {
		(*tap)(c.frame)
	}

	c.p.routing.Lock()
	defer c.p.routing.Unlock()
	w := &c.p.world
	w.p, w.dir, w.routes = c.p, c.p.dir.Load(), c.p.routes.Load()
	d := c.p.currentRouter().Route(w, c.p.start.Add(c.now), src.name, c.frame)
	if d.Reason != route.Delivered {
		c.p.unrouted[d.Reason].add(c.p, 1)
	}
	if d.Reason == route.NotDirect && !c.p.tellNotDirect(w, c.frame, c.now) {
		return
	}
	for _, out := range d.Outputs {
		if out.To == c.p.cfg.Self {
			if src != c.p.self && !c.p.bridging && !c.p.trueSource(src, w.routes, c.frame[ethernetLen:], c.now) {
				c.p.dropFalse(src)
				continue
			}
			c.toDevice(out.Frame)
		} else if to := w.dir.byName[out.To]; to != nil {
			c.sendTo(to, out.Frame)
		} else {
			c.p.drop(UnknownNode)
		}
	}
}

// sendTo sends a framed packet to a node (8.8 of the tinc 1.1 protocol).
func (c *slowPath) sendTo(to *peer, frame []byte) {
	s := to.state.Load()
	if s == nil || !s.Reachable {
		c.p.drop(Unreachable)
		return
	}
	if s.PassOnly && c.src == c.p.self {
		c.p.drop(NoSession)
		return
	}
	if s.Legacy != nil {
		c.toLegacy(to, s, frame)
		return
	}
	c.p.traffic(to, c.now)
	step := forward.Frame(len(frame), c.p.options.Load().TCPOnly, &s.fwd, s.relay.forward())
	switch {
	case c.p.bridging && len(frame) > maxData:
		c.p.drop(OverLong)
	case step == forward.StepPacket:
		c.byPacket(to, s, frame)
	case step == forward.StepWait:
		_, givenUp := c.p.held.add(pendingPacket{peer: to, since: c.now, data: frame})
		c.p.dropN(Overheld, givenUp)
		if to.state.Load().open() { // it has come meanwhile
			c.p.announce()
		}
	default:
		typ, data := byte(wire.TypeIP), frame[ethernetLen:]
		if c.p.bridging {
			typ, data = wire.TypeFrame, frame
		}
		c.seal(to, s, typ, data, c.p.options.Load().tosOfFrame(frame))
	}
}

// seal sends a packet or frame of ours as a record, packed if the node asks for that.
func (c *slowPath) seal(to *peer, s *state, typ byte, data []byte, tos uint8) {
	size := len(data)
	if s.Compression != compress.None {
		typ, data = c.pack(s.Compression, typ, data)
	}
	if c.sendRecord(to, s, typ, data, tos) {
		to.counters.out(1, size)
	}
}

// sendRecord sends data as a record of ours, by UDP or else over the meta connection (8.4). The
// result is false if it could not be sealed.
func (c *slowPath) sendRecord(to *peer, s *state, typ byte, data []byte, tos uint8) bool {
	way, ok := c.p.udpPath(to, s, true, len(data), c.p.options.Load().TCPOnly)
	toID := to.id
	if ok && way.direct {
		toID = node.ID{}
	}
	if !c.wrap(s, typ, data, toID) {
		return false
	}
	if !ok {
		c.byMeta(to, s, c.p.self, c.blob)
		return true
	}
	sent := len(data)
	if typ&wire.TypeFrame == 0 {
		sent += ethernetLen
	}
	c.p.sentTo(way.relay, c.now, sent)
	way.tos = tos
	c.send(way, c.blob)
	return true
}

// pack compresses the data of a record if that makes it shorter.
func (c *slowPath) pack(level int, typ byte, data []byte) (byte, []byte) {
	packed, err := compress.Compress(level, c.packing[:0], data)
	if err != nil {
		return typ, data
	}
	if c.packing = packed; len(packed) >= len(data) {
		return typ, data
	}
	return typ | wire.TypeCompressed, packed
}

// wrap makes c.blob the ids and the sealed record.
func (c *slowPath) wrap(s *state, typ byte, data []byte, to node.ID) bool {
	c.plain = append(append(c.plain[:0], typ), data...)
	c.blob = wire.AppendIDs(c.blob[:0], to, c.p.selfID)
	c.blob = s.Tunnel.Seal(c.blob, c.plain)
	if len(c.blob) == idsLen { // all record numbers are used up
		c.p.drop(NoSession)
		return false
	}
	return true
}

// byMeta sends ids and record, blob, to the next hop of to.
func (c *slowPath) byMeta(to *peer, s *state, from *peer, blob []byte) {
	m := c.meta(s)
	if m == nil {
		c.p.drop(NoMeta)
		return
	}
	hop := s
	if s.next != nil && s.next != to {
		hop = s.next.state.Load()
	}
	sent := false
	if hop != nil && hop.minor() >= minorSPTPSP {
		sent = m.TrySPTPS(blob)
	} else {
		sent = m.TryRequest(wire.Text(wire.ReqKey{
			From: from.name, To: to.name, Sub: wire.SubData, Data: b64.Encode(blob[idsLen:]),
		}))
	}
	if !sent {
		c.p.drop(MetaFull)
	}
}

// byPacket sends a frame over the meta connection of an adjacent node.
func (c *slowPath) byPacket(to *peer, s *state, frame []byte) {
	m := c.meta(s)
	if m == nil {
		c.p.drop(NoMeta)
		return
	}
	to.counters.out(1, len(frame)-ethernetLen)
	if !m.TryPacket(frame) {
		c.p.drop(MetaFull)
	}
}

func (c *slowPath) meta(s *state) Meta {
	if s.Conn == 0 || c.p.cfg.Meta == nil {
		return nil
	}
	return c.p.cfg.Meta(s.Conn)
}

// toDevice writes a frame to the device, or the packet in it.
func (c *slowPath) toDevice(frame []byte) {
	what, ok := c.p.forDevice(frame)
	if !ok {
		c.p.drop(UnexpectedType)
		return
	}
	c.side = append(append(c.side[:0], make([]byte, inBase)...), what...)
	c.p.overwriteMACs(c.side[inBase:])
	c.p.self.counters.out(1, len(what))
	c.p.write(c.side, inBase, device.Offload{})
}

// unusual takes the data of a record from a node that is neither an IP packet nor a probe.
func (c *slowPath) unusual(from *peer, typ byte, data []byte) {
	switch {
	case typ == wire.TypeFrame:
		c.fromFrame(from, data)
	case typ&^wire.TypeFrame == wire.TypeCompressed:
		c.unpack(from, typ, data)
	default:
		c.p.drop(UnexpectedType)
	}
}

// unpack takes the data of a compressed record. What it holds is known by the level that we announced.
func (c *slowPath) unpack(from *peer, typ byte, data []byte) {
	level := c.p.cfg.Compression
	if level == compress.None {
		c.p.drop(Compressed)
		return
	}
	plain, err := compress.Decompress(level, c.packing[:0], data, maxFrame)
	if err != nil {
		c.p.drop(Malformed)
		return
	}
	c.packing = plain
	if typ&wire.TypeFrame != 0 {
		c.fromFrame(from, plain)
		return
	}
	if c.p.bridging {
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(plain))
	c.slow(from, plain)
}

// fromFrame routes the packet inside of a frame from a node.
func (c *slowPath) fromFrame(from *peer, frame []byte) {
	if len(frame) > maxFrame {
		c.p.drop(OverLong)
		return
	}
	if len(frame) <= ethernetLen {
		c.p.drop(Malformed)
		return
	}
	if c.p.bridging {
		c.bridge(from, frame)
		return
	}
	// EtherType 0 is a probe that has lost its way; what else does not match
	// its IP version has no business in router mode.
	ip := frame[ethernetLen:]
	if typ, ok := packet.EtherTypeOf(ip); !ok || binary.BigEndian.Uint16(frame[ethernetLen-2:]) != typ {
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(ip))
	c.slow(from, ip)
}

// pass sends ids and record of another node on to to.
func (c *slowPath) pass(to, from, hop *peer, blob []byte) {
	s := to.state.Load()
	if s == nil || !s.Reachable {
		c.p.drop(Unreachable)
		return
	}
	way, ok := c.p.udpPath(to, s, false, len(blob)-minDatagram, c.p.options.Load().TCPOnly)
	switch {
	case hop != nil && (way.relay == hop || !ok && s.next == hop), hop != from && c.p.loops.again(blob):
		c.p.drop(Loop)
		return
	case ok:
		c.p.sentTo(way.relay, c.now, len(blob)-minDatagram+ethernetLen)
		c.send(way, blob)
	default:
		c.byMeta(to, s, from, blob)
	}
	c.p.relayedOne(from, to, c.now)
}

package dataplane

import (
	"encoding/binary"
	"time"

	"tincan/internal/b64"
	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/forward"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/wire"
)

// slowPath handles single packets: those that leave a fast path, and all that do not come
// from the device or a socket. It belongs to one goroutine; now must be set before use.
type slowPath struct {
	p           *Plane
	out         *txBatch // where datagrams go
	now         time.Duration
	src         *peer  // where the packet on the slow path came from
	byTCP       bool   // it came as PACKET, as legacy nodes forward it
	broadcast   bool   // the packet that is being routed is for all nodes, or for whoever has its address
	frame       []byte // the packet on the slow path, with an Ethernet header
	scratch     []byte // a copy with the headroom that the device needs
	plain       []byte // type and data of a record
	compressBuf []byte // data as it was before or is after compression
	blob        []byte // ids and record
	checker     *flow.Checker
}

func newSlowPath(p *Plane) *slowPath {
	return &slowPath{p: p, src: p.self, checker: p.filter.NewChecker()}
}

// send sends a datagram.
func (c *slowPath) send(path udpPath, datagram []byte) {
	c.out.put(path, datagram)
}

// routeIP routes one IP packet from src, Plane.self for our own device. The packet is not changed.
func (c *slowPath) routeIP(src *peer, ip []byte) {
	if c.framed(ip) {
		c.route(src)
	}
}

// framed makes c.frame a copy of an IP packet, with an Ethernet header. If it is none it is counted.
func (c *slowPath) framed(ip []byte) bool {
	typ, ok := packet.EtherTypeOf(ip)
	if !ok {
		c.p.drop(Malformed)
		return false
	}
	c.frame = append(append(c.frame[:0], make([]byte, ethernetLen)...), ip...)
	binary.BigEndian.PutUint16(c.frame[ethernetLen-2:], typ)
	return true
}

// route routes c.frame, which came from src, and delivers the result.
func (c *slowPath) route(src *peer) {
	c.src = src
	if tap := c.p.tap.Load(); tap != nil {
		(*tap)(c.frame)
	}

	c.p.routing.Lock()
	defer c.p.routing.Unlock()
	w := &c.p.view
	w.p, w.dir, w.routes, w.inbound = c.p, c.p.dir.Load(), c.p.routes.Load(), src != c.p.self
	w.query = w.inbound && w.routes.exit != ExitOff && isQuery(c.frame[ethernetLen:])
	d := c.p.currentRouter().Route(w, c.p.start.Add(c.now), src.name, c.frame)
	if d.Reason != route.Delivered {
		c.p.unrouted[d.Reason].add(c.p, 1)
	}
	if d.Reason == route.NotDirect && !c.p.reportNotDirect(w, c.frame, c.now) {
		return
	}
	if src == c.p.self && !c.mayLeave(&d) {
		return
	}
	c.broadcast = d.Broadcast
	for _, out := range d.Outputs {
		if out.To == c.p.cfg.Self {
			if src != c.p.self && !c.p.bridging && !c.p.validSource(src, w.routes, c.frame[ethernetLen:], c.now) {
				c.p.dropInvalidSource(src)
				continue
			}
			if src != c.p.self && !c.mayEnter(src, out.Frame, d.Broadcast) {
				continue
			}
			c.toDevice(out.Frame)
		} else if to := w.dir.byName[out.To]; to != nil {
			c.sendTo(to, out.Frame)
		} else {
			c.p.drop(UnknownNode)
		}
	}
	c.broadcast = false
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
	c.traffic(to, s)
	step := forward.Frame(len(frame), c.p.options.Load().TCPOnly, &s.fwd, s.relay.forward())
	switch {
	case c.p.bridging && len(frame) > maxData:
		c.p.drop(OverLong)
	case step == forward.StepPacket:
		c.sendPacketRequest(to, s, frame)
	case step == forward.StepWait:
		_, expired := c.p.pending.add(pendingPacket{peer: to, since: c.now, data: frame})
		c.p.dropN(SessionTimeout, expired)
		if to.state.Load().open() { // the session was published meanwhile
			c.p.inbox.notify()
		}
	default:
		typ, data := byte(wire.TypeIP), frame[ethernetLen:]
		if c.p.bridging {
			typ, data = wire.TypeFrame, frame
		}
		c.seal(to, s, typ, data, c.p.options.Load().tosOfFrame(frame))
	}
}

// traffic reports that there is traffic for a node. Broadcasts do not count towards a neighbour: an operating system sends
// some at all times, and with a neighbour there is a session and a path anyway.
func (c *slowPath) traffic(to *peer, s *state) {
	if !c.broadcast || !s.Adjacent {
		c.p.traffic(to, c.now)
	}
}

// sentTo notes that a frame of that many bytes goes directly to a peer. Nobody answers a broadcast, so it says nothing
// about a peer that is silent.
func (c *slowPath) sentTo(to *peer, frame int) {
	if !c.broadcast {
		c.p.sentTo(to, c.now, frame)
	}
}

// seal sends a packet or frame of this node as a record, compressed if the destination asks for that.
func (c *slowPath) seal(to *peer, s *state, typ byte, data []byte, tos uint8) {
	size := len(data)
	if s.Compression != compress.None {
		typ, data = c.compress(s.Compression, typ, data)
	}
	if c.sendRecord(to, s, typ, data, tos) {
		to.counters.out(1, size)
	}
}

// sendRecord sends data as a record of this node, by UDP or else over the meta connection (8.4). The
// result is false if it could not be sealed.
func (c *slowPath) sendRecord(to *peer, s *state, typ byte, data []byte, tos uint8) bool {
	path, ok := c.p.pathTo(to, s, true, len(data), c.p.options.Load().TCPOnly)
	toID := to.id
	if ok && path.direct {
		toID = node.ID{}
	}
	if !c.wrap(s, typ, data, toID) {
		return false
	}
	if !ok {
		c.sendByMeta(to, s, c.p.self, c.blob)
		return true
	}
	sent := len(data)
	if typ&wire.TypeFrame == 0 {
		sent += ethernetLen
	}
	c.sentTo(path.relay, sent)
	path.tos = tos
	c.send(path, c.blob)
	return true
}

// compress compresses the data of a record if that makes it shorter.
func (c *slowPath) compress(level int, typ byte, data []byte) (byte, []byte) {
	packed, err := compress.Compress(level, c.compressBuf[:0], data)
	if err != nil {
		return typ, data
	}
	if c.compressBuf = packed; len(packed) >= len(data) {
		return typ, data
	}
	return typ | wire.TypeCompressed, packed
}

// wrap makes c.blob the ids and the sealed record.
func (c *slowPath) wrap(s *state, typ byte, data []byte, to node.ID) bool {
	c.plain = s.pad(append(append(c.plain[:0], typ), data...))
	c.blob = wire.AppendIDs(c.blob[:0], to, c.p.selfID)
	c.blob = s.Tunnel.Seal(c.blob, c.plain)
	if len(c.blob) == idsLen { // all record numbers are used up
		c.p.drop(NoSession)
		return false
	}
	return true
}

// sendByMeta sends ids and record, blob, to the next hop of to.
func (c *slowPath) sendByMeta(to *peer, s *state, from *peer, blob []byte) {
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

// sendPacketRequest sends a frame over the meta connection of an adjacent node.
func (c *slowPath) sendPacketRequest(to *peer, s *state, frame []byte) {
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
	c.scratch = append(append(c.scratch[:0], make([]byte, inBase)...), what...)
	c.p.overwriteMACs(c.scratch[inBase:])
	c.p.self.counters.out(1, len(what))
	c.p.write(c.scratch, inBase, device.Offload{})
}

// unusual handles the data of a record that is neither an IP packet nor a probe.
func (c *slowPath) unusual(from *peer, typ byte, data []byte) {
	switch {
	case typ == wire.TypeFrame:
		c.fromFrame(from, data)
	case typ&^wire.TypeFrame == wire.TypeCompressed:
		c.decompress(from, typ, data)
	default:
		c.p.drop(UnexpectedType)
	}
}

// decompress handles the data of a compressed record. The algorithm is that of the level that we announced.
func (c *slowPath) decompress(from *peer, typ byte, data []byte) {
	level := c.p.cfg.Compression
	if level == compress.None {
		c.p.drop(Compressed)
		return
	}
	plain, err := compress.Decompress(level, c.compressBuf[:0], data, maxFrame)
	if err != nil {
		c.p.drop(Malformed)
		return
	}
	c.compressBuf = plain
	if typ&wire.TypeFrame != 0 {
		c.fromFrame(from, plain)
		return
	}
	if c.p.bridging {
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(plain))
	c.routeIP(from, plain)
}

// fromFrame routes the packet inside a frame from a node.
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
	// EtherType 0 is a misdirected probe; a type that does not match
	// the IP version is not routed in router mode.
	ip := frame[ethernetLen:]
	if typ, ok := packet.EtherTypeOf(ip); !ok || binary.BigEndian.Uint16(frame[ethernetLen-2:]) != typ {
		c.p.drop(UnexpectedType)
		return
	}
	from.counters.in(1, len(ip))
	c.routeIP(from, ip)
}

// relay forwards ids and record of another node to to.
func (c *slowPath) relay(to, from, hop *peer, blob []byte) {
	s := to.state.Load()
	if s == nil || !s.Reachable {
		c.p.drop(Unreachable)
		return
	}
	path, ok := c.p.pathTo(to, s, false, len(blob)-minDatagram, c.p.options.Load().TCPOnly)
	switch {
	case hop != nil && (path.relay == hop || !ok && s.next == hop), hop != from && c.p.loops.seen(blob):
		c.p.drop(Loop)
		return
	case ok:
		c.p.sentTo(path.relay, c.now, len(blob)-minDatagram+ethernetLen)
		c.send(path, blob)
	default:
		c.sendByMeta(to, s, from, blob)
	}
	c.p.reportRelayed(from, to, c.now)
}

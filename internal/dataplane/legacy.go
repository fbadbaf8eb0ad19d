package dataplane

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"tincan/internal/forward"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/packet"
	"tincan/internal/wire"
)

// Nodes of tinc 1.0 have no end-to-end sessions. A frame for one of them is
// sealed for the next node on its path that can open it, which may be one that uses
// SPTPS, and is routed again there. Likewise this node opens what legacy nodes send and
// seals it again for its destination.

const (
	// maxLegacy is room for the longest datagram of a legacy node: a frame, sequence
	// number, padding, message code, and what compression may add.
	maxLegacy   = legacy.MaxFrame + 512
	searchEvery = time.Second // among all legacy nodes
)

// speaksLegacy reports whether s is the state of a node that uses the protocol of tinc 1.0.
func (s *state) speaksLegacy() bool { return s != nil && s.Legacy != nil }

// legacyNodes finds the sender of a datagram without ids.
type legacyNodes struct {
	byAddr map[netip.AddrPort]*peer // whether confirmed or not
	byIP   map[netip.Addr][]*peer
	all    []*peer
}

// with returns l with another node; l may be nil.
func (l *legacyNodes) with(pr *peer, s *state) *legacyNodes {
	if l == nil {
		l = &legacyNodes{byAddr: make(map[netip.AddrPort]*peer), byIP: make(map[netip.Addr][]*peer)}
	}
	l.all = append(l.all, pr)
	if s.Addr.IsValid() {
		if l.byAddr[s.Addr] == nil || s.Confirmed { // two nodes behind one NAT may claim it
			l.byAddr[s.Addr] = pr
		}
		l.byIP[s.Addr.Addr()] = append(l.byIP[s.Addr.Addr()], pr)
	}
	return l
}

// ethernetHeader writes the header that tinc 1.0 puts before the IP packet frame[14:].
func ethernetHeader(frame []byte) {
	clear(frame[:ethernetLen-2])
	typ := uint16(packet.TypeIPv4)
	if frame[ethernetLen]>>4 == 6 {
		typ = packet.TypeIPv6
	}
	binary.BigEndian.PutUint16(frame[ethernetLen-2:], typ)
}

// legacyFrameOf is the length of the shortest frame that makes a datagram of size bytes.
func legacyFrameOf(l *legacy.Link, size int) int {
	n := size
	for n > 0 && l.SealedLen(n-1) >= size {
		n--
	}
	return n
}

// ---------------------------------------------------------------- out

// legacyPath is the path by UDP of a frame of size bytes to a legacy node, if there is one.
func (p *Plane) legacyPath(to *peer, s *state, size int, tcpOnly bool) (path udpPath, ok bool) {
	if forward.Legacy(size, tcpOnly, s.LegacyForward()) != forward.LegacyDatagram {
		return udpPath{}, false
	}
	return p.legacyDirect(to, s)
}

func (p *Plane) legacyDirect(to *peer, s *state) (path udpPath, ok bool) {
	path = udpPath{relay: to, addr: s.Addr, sock: p.socketFor(s.Addr, s.Sock), direct: true}
	return path, path.sock >= 0
}

// sealLegacy seals b.plain, or all segments of b.segmenter, for a legacy node.
func (b *burst) sealLegacy() {
	packets, bytes := 0, 0
	for b.nextPlain() {
		if !b.out.room(maxLegacy) {
			b.out.flush()
		}
		start := len(b.out.buf)
		if out, err := b.legacy.Seal(b.out.buf, b.plain); err != nil { // the key has just been removed
			b.p.drop(NoSession)
		} else {
			b.out.buf = out
			b.out.bySocket[b.path.sock].add(&b.path, out, start)
			packets++
			bytes += len(b.plain) - ethernetLen
		}
		b.plain = nil
	}
	b.to.counters.out(packets, bytes)
}

// toLegacy sends a frame to a legacy node (section 9 of the tinc 1.0 protocol).
func (c *slowPath) toLegacy(to *peer, s *state, frame []byte) {
	hop, tcpOnly := s.via, c.p.options.Load().TCPOnly
	if c.byTCP {
		hop, tcpOnly = s.next, true
	}
	for {
		var h *state
		if hop != nil {
			h = hop.state.Load()
		}
		switch {
		case h == nil || !h.Reachable:
			c.p.drop(Unreachable)
			return
		case hop == c.src && to != c.src: // which the router cannot know
			c.p.drop(Loop)
			return
		}
		step := forward.Legacy(len(frame), tcpOnly, h.LegacyForward())
		if step == forward.LegacySession {
			c.sendTo(hop, frame)
			return
		}
		c.traffic(hop, h)
		switch step {
		case forward.LegacyDatagram:
			if path, ok := c.p.legacyDirect(hop, h); ok {
				if c.wrapLegacy(h, frame) {
					hop.counters.out(1, len(frame)-ethernetLen)
					c.sentTo(hop, len(frame))
					path.tos = c.p.options.Load().tosOfFrame(frame)
					c.send(path, c.blob)
				}
				return
			}
		case forward.LegacyNext:
			hop = h.next
			continue
		}
		if h.next == c.src && to != c.src {
			c.p.drop(Loop)
			return
		}
		c.sendPacketRequest(hop, h, frame)
		return
	}
}

// wrapLegacy makes c.blob the datagram with a frame.
func (c *slowPath) wrapLegacy(s *state, frame []byte) (ok bool) {
	blob, err := s.Legacy.Seal(c.blob[:0], frame)
	if err != nil {
		c.p.drop(NoSession)
		return false
	}
	c.blob = blob
	return true
}

// ---------------------------------------------------------------- in

// legacyDatagram handles a datagram without our ids if a legacy node has sent it.
func (r *receiver) legacyDatagram(addr netip.AddrPort, d []byte) bool {
	from := r.dir.legacy.byAddr[addr]
	if from == nil && r.found != nil && r.foundAt == addr {
		from = r.found
	}
	if from != nil {
		s := from.state.Load()
		if !s.speaksLegacy() {
			return false
		}
		err := r.openLegacy(from, s, addr, d)
		if err == nil {
			return true
		}
		if !errors.Is(err, legacy.ErrBadPacket) && !errors.Is(err, legacy.ErrNoKey) {
			r.p.undecodable(from, r.now, Undecodable)
			return true
		}
	} else if r.hopOf(addr) != nil { // a relay that uses SPTPS
		return false
	}
	other := r.search(addr, d, from)
	switch {
	case other != nil:
		r.found, r.foundAt = other, addr
		if err := r.openLegacy(other, other.state.Load(), addr, d); err != nil {
			r.p.undecodable(other, r.now, Undecodable)
		}
		return true
	case from != nil:
		r.p.undecodable(from, r.now, Undecodable)
		return true
	}
	return false
}

// search finds the legacy node other than not that has sent d, by its message code.
// Once a second all of them are tried, else those that have the same IP address.
func (r *receiver) search(addr netip.AddrPort, d []byte, not *peer) *peer {
	nodes := r.dir.legacy.byIP[addr.Addr()]
	if _, ok := r.p.searched.try(r.now, searchEvery); ok {
		nodes = r.dir.legacy.all
	}
	for _, pr := range nodes {
		if s := pr.state.Load(); pr != not && s.speaksLegacy() && s.Legacy.Check(d) {
			return pr
		}
	}
	return nil
}

// openLegacy handles a datagram that a legacy node has sent, unless it cannot be opened.
func (r *receiver) openLegacy(from *peer, s *state, addr netip.AddrPort, d []byte) error {
	if len(d) > maxLegacy {
		r.p.drop(OverLong)
		return nil
	}
	if s.SealedOnly {
		r.p.drop(WeakKeys)
		return nil
	}
	at := r.reserve()
	start := at - ethernetLen
	if r.p.bridging {
		start = at
	}
	out, err := s.Legacy.Open(r.buf[:start], d)
	if err != nil {
		r.restore(at)
		return err
	}
	if from.openFailures.Load() != 0 {
		from.openFailures.Store(0)
	}
	if addr == s.Addr {
		if frame := out[start:]; len(frame) <= ethernetLen || binary.BigEndian.Uint16(frame[ethernetLen-2:]) != 0 || frame[0] != wire.ProbeRequest {
			r.p.heardFrom(from, false)
		}
	} else {
		sock := r.sock
		r.p.event(&from.heard, r.now, heardEvery, func() mesh.Event {
			return mesh.HeardFrom{Node: from.name, Addr: addr, Sock: sock}
		})
	}

	frame := out[start:]
	if len(frame) <= ethernetLen {
		r.restore(at)
		r.p.drop(Malformed)
		return nil
	}
	typ := binary.BigEndian.Uint16(frame[ethernetLen-2:])
	if typ != 0 && r.p.bridging {
		r.from, r.state = from, s
		r.deliverFrame(at, len(frame))
		return nil
	}
	if want, ok := packet.EtherTypeOf(frame[ethernetLen:]); typ != 0 && ok && want == typ {
		r.from, r.state = from, s
		r.deliver(at, len(frame)-ethernetLen)
		return nil
	}
	if typ != 0 {
		r.restore(at)
		r.p.drop(UnexpectedType)
		return nil
	}
	data := append([]byte(nil), frame...)
	r.restore(at)
	r.p.cfg.Event(mesh.ProbeIn{Node: from.name, Addr: addr, Sock: r.sock, Direct: true, Data: data})
	return nil
}

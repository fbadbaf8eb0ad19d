package dataplane

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/forward"
	"tincan/internal/legacy"
	"tincan/internal/packet"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

const inHead = 16 // room before a packet that was read: for its type byte or Ethernet header, aligned

// transmitter is the fast path out. It belongs to one goroutine; its buffers live
// as long.
type transmitter struct {
	p    *Plane
	in   []byte
	out  txBatch
	now  time.Duration
	slow *slowPath

	ethernet bool // the device gives frames
	learner  learner
	l2       int         // length of the Ethernet header when frames are sealed, else 0
	l2hdr    [maxL2]byte // that header
	toMAC    struct {    // the last owner of a MAC address
		routes *routes
		mac    [6]byte
		owner  *peer
	}

	cached struct { // the last route
		routes *routes
		dst    netip.Addr
		owner  *peer
	}

	// What is being sealed: to whom, which way, and what.
	to      *peer
	tunnel  *sptps.Tunnel
	legacy  *legacy.Link // instead of tunnel
	way     path
	ids     [idsLen]byte
	cut     packet.Segmenter
	cutting bool                // cut has more
	plain   []byte              // what to seal next, nil if none: type (legacy: Ethernet header) and packet
	seal    func(*sptps.Sealer) // t.sealSegments, made once
}

func newTransmitter(p *Plane) *transmitter {
	t := &transmitter{
		p:    p,
		in:   make([]byte, inHead+device.MaxPacket),
		out:  newTxBatch(p, outSize),
		slow: newSlowPath(p),
	}
	t.slow.out = &t.out
	t.ethernet = p.cfg.Ethernet
	t.seal = t.sealSegments
	return t
}

func (t *transmitter) run(ctx context.Context) error {
	var tired retryLimit
	dev, buf := t.p.cfg.Device, t.in[inHead:]
	for {
		n, off, err := dev.Read(buf)
		if err != nil {
			if tired.exhausted(ctx, err) {
				return err
			}
			continue
		}
		tired = retryLimit{}
		t.now = t.p.now()
		for err == nil {
			t.packet(n, off)
			n, off, err = dev.TryRead(buf)
		}
		t.out.flush()
		if err != device.ErrAgain && tired.exhausted(ctx, err) {
			return err
		}
	}
}

// packet sends the packet or super-packet of n bytes that was read into t.in.
func (t *transmitter) packet(n int, off device.Offload) {
	if n <= 0 || n > device.MaxPacket {
		return
	}
	if t.p.opened.Load() { // what waited for a session goes before what has not
		t.slow.now = t.now
		t.slow.release()
	}
	p := t.in[inHead : inHead+n]
	t.p.self.counters.in(1, n)
	if t.ethernet {
		t.fromEthernet(p, off)
		return
	}
	if off.GSO != device.GSONone {
		t.super(p, off)
		return
	}
	if off.NeedsCsum && !completeChecksum(p, off) {
		t.p.drop(Malformed)
		return
	}
	if !t.fast(p, len(p)) {
		t.divert(p)
		return
	}
	t.wrap(0, n)
	t.sealAll()
}

// super sends a super-packet.
func (t *transmitter) super(p []byte, off device.Offload) {
	transport, proto, hdrLen := superHeaders(p, off)
	if !t.cut.Start(p, hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	if t.fast(p, min(len(p), hdrLen+int(off.GSOSize))) {
		t.cutting = true
		t.sealAll()
		return
	}
	for from, to, ok := t.cut.Next(); ok; from, to, ok = t.cut.Next() {
		t.divert(p[from:to])
	}
}

// divert sends one packet by the slow path, after what is sealed already.
func (t *transmitter) divert(p []byte) {
	t.slow.now = t.now
	t.slow.slow(t.p.self, p)
}

// superHeaders finds the transport header of a super-packet and the length of all
// headers. What the kernel says about the latter may include payload.
func superHeaders(p []byte, off device.Offload) (transport int, proto uint8, hdrLen int) {
	transport = int(off.CsumStart)
	if !off.NeedsCsum {
		h, _ := packet.Parse(p)
		transport = h.Transport
	}
	proto = packet.ProtoTCP
	if off.GSO == device.GSOUDP {
		return transport, packet.ProtoUDP, transport + packet.UDPLen
	}
	if transport+packet.TCPLen > len(p) {
		return transport, proto, 0
	}
	return transport, proto, transport + int(p[transport+12]>>4)*4
}

// completeChecksum fills in a transport checksum of which only the pseudo-header is summed up.
func completeChecksum(p []byte, off device.Offload) bool {
	start, at := int(off.CsumStart), int(off.CsumStart)+int(off.CsumOffset)
	if start >= len(p) || at+2 > len(p) {
		return false
	}
	sum := ^packet.Checksum(p[start:], 0)
	if sum == 0 && off.CsumOffset == packet.UDPSumOffset {
		sum = 0xffff // zero means "no checksum" in UDP
	}
	binary.BigEndian.PutUint16(p[at:], sum)
	return true
}

// fast tells whether p, of which the largest segment has size bytes, can take the fast path,
// and if so sets t.to, t.tunnel or t.legacy, t.way and t.ids for it.
func (t *transmitter) fast(p []byte, size int) bool {
	dst, ok := packet.Dst(p)
	if !ok || t.p.bridging || carriesMSS(p) || t.p.tap.Load() != nil {
		return false
	}
	r := t.p.routes.Load()
	if r != t.cached.routes || dst != t.cached.dst {
		owner, reachable := r.lookup(dst)
		if !reachable || owner == t.p.self || owner == t.p.everyone {
			owner = nil
		}
		t.cached.routes, t.cached.dst, t.cached.owner = r, dst, owner
	}
	least := leastMTU4
	if p[0]>>4 == 6 {
		least = leastMTU6
	}
	t.l2 = 0
	return t.towards(t.cached.owner, p, size, size+ethernetLen, least)
}

// towards is the rest of fast once the owner of the destination is known. p is the IP packet, nil if
// it is another; the data of the largest record has size bytes, in a frame of frame bytes,
// which passes if it is not above least.
func (t *transmitter) towards(to *peer, p []byte, size, frame, least int) bool {
	if to == nil {
		return false
	}
	s := to.state.Load()
	if s == nil || !s.Reachable || s.via == nil {
		return false
	}
	o := t.p.options.Load()
	if s.Legacy != nil { // protected hop by hop: it is as if the packet were for the first
		if s.PassOnly {
			return false
		}
		if s.via != to && o.DirectOnly {
			return false
		}
		if to != s.via {
			to = s.via
			if s = to.state.Load(); s == nil || !s.Reachable || s.via == nil {
				return false
			}
		}
	}
	if !s.open() {
		return false
	}
	v := s
	switch {
	case s.relay != nil:
		if v = s.relay.state.Load(); v == nil || o.DirectOnly || !v.fwd.TakesUDP(frame) {
			return false
		}
	case s.via != to:
		if v = s.via.state.Load(); v == nil || o.DirectOnly {
			return false
		}
	}
	if frame > max(v.MTU, least) {
		return false
	}
	if o.DirectOnly {
		if above := s.relayAbove(o.TCPOnly); above > 0 && frame > above {
			return false
		}
	}
	if s.Legacy == nil && forward.Frame(frame, o.TCPOnly, &s.fwd, s.relay.forward()) != forward.StepRecord {
		return false
	}
	var ok bool
	if t.legacy = s.Legacy; t.legacy != nil {
		t.way, ok = t.p.legacyPath(to, s, frame, o.TCPOnly)
		t.to = to
		t.way.tos = o.tos(p)
		t.p.traffic(to, t.now)
		if ok {
			t.p.sentTo(to, t.now, frame)
		}
		return ok
	}
	if s.Compression != compress.None {
		return false
	}
	if t.way, ok = t.p.udpPath(to, s, true, size, o.TCPOnly); !ok {
		return false
	}
	t.to, t.tunnel = to, s.Tunnel
	t.way.tos = o.tos(p)
	if t.way.direct {
		clear(t.ids[:6])
	} else {
		copy(t.ids[:], to.id[:])
	}
	copy(t.ids[6:], t.p.selfID[:])
	t.p.traffic(to, t.now)
	t.p.sentTo(t.way.relay, t.now, frame)
	return true
}

// carriesMSS tells whether p may have an MSS option to clamp: TCP with SYN, or inside of IPv4 in IPv4.
func carriesMSS(p []byte) bool {
	const protoAt4, protoAt6 = 9, 6
	var tcp []byte
	switch {
	case len(p) < packet.IPv4Len:
		return false
	case p[0]>>4 == 6:
		if len(p) < packet.IPv6Len || p[protoAt6] != packet.ProtoTCP {
			return false
		}
		tcp = p[packet.IPv6Len:]
	default:
		if p[protoAt4] == packet.ProtoIPIP {
			return true // rare: the slow path looks inside
		}
		hdr := int(p[0]&15) * 4
		if p[protoAt4] != packet.ProtoTCP || hdr >= len(p) {
			return false
		}
		tcp = p[hdr:]
	}
	return len(tcp) >= packet.TCPLen && tcp[13]&packet.FlagSYN != 0
}

// wrap makes t.plain the packet t.in[inHead+from:inHead+to]. It writes over what lies in
// front: the tail of the one before, which is sealed.
func (t *transmitter) wrap(from, to int) {
	if t.l2 > 0 {
		t.wrapFrame(from, to)
		return
	}
	if t.legacy != nil {
		t.plain = t.in[inHead+from-ethernetLen : inHead+to]
		ethernetHeader(t.plain)
		return
	}
	t.plain = t.in[inHead+from-1 : inHead+to]
	t.plain[0] = wire.TypeIP
}

// sealAll seals t.plain, or all segments of t.cut, sending whenever out is full.
func (t *transmitter) sealAll() {
	if t.legacy != nil {
		t.sealLegacy()
		return
	}
	for {
		t.tunnel.SealN(t.seal)
		if t.plain == nil {
			return
		}
		t.out.flush()
	}
}

// sealSegments seals until there is no more or no more room.
func (t *transmitter) sealSegments(s *sptps.Sealer) {
	packets, bytes := 0, 0
	for t.nextPlain() {
		if !t.out.room(idsLen + recordOverhead + len(t.plain)) {
			break
		}
		out := t.out.buf
		start := len(out)
		out = append(out, t.ids[:]...)
		out = s.Seal(out, t.plain)
		if len(out) == start+idsLen { // all record numbers are used up
			t.p.drop(NoSession)
		} else {
			t.out.buf = out
			t.out.runs[t.way.sock].add(&t.way, out, start)
			packets++
			bytes += len(t.plain) - 1
		}
		t.plain = nil
	}
	t.to.counters.out(packets, bytes)
}

// nextPlain makes t.plain the next plain text to seal, unless there is one.
func (t *transmitter) nextPlain() bool {
	if t.plain == nil && t.cutting {
		from, to, ok := t.cut.Next()
		if t.cutting = ok; ok {
			t.wrap(from, to)
		}
	}
	return t.plain != nil
}

package dataplane

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/forward"
	"tincan/internal/legacy"
	"tincan/internal/packet"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

const inHead = 16 // room before a packet that was read: for its type byte or Ethernet header, aligned

// transmitter is the outbound fast path. It belongs to one goroutine, as do its buffers.
type transmitter struct {
	p    *Plane
	in   []byte
	out  txBatch
	now  time.Duration
	slow *slowPath

	ethernet bool // the device delivers frames
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

	// What is being sealed: the destination, the path, and the data.
	to         *peer
	tunnel     *sptps.Tunnel
	legacy     *legacy.Link // instead of tunnel
	path       udpPath
	ids        [idsLen]byte
	segmenter  packet.Segmenter
	segmenting bool                // segmenter has more
	plain      []byte              // what to seal next, nil if none: type (legacy: Ethernet header) and packet
	seal       func(*sptps.Sealer) // t.sealSegments, made once
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
	var retries retryLimit
	dev, buf := t.p.cfg.Device, t.in[inHead:]
	for {
		n, off, err := dev.Read(buf)
		if err != nil {
			if retries.exhausted(ctx, err) {
				return err
			}
			continue
		}
		retries = retryLimit{}
		t.now = t.p.now()
		for err == nil {
			t.packet(n, off)
			n, off, err = dev.TryRead(buf)
		}
		t.out.flush()
		if err != device.ErrAgain && retries.exhausted(ctx, err) {
			return err
		}
	}
}

// packet sends the packet or super-packet of n bytes that was read into t.in.
func (t *transmitter) packet(n int, off device.Offload) {
	if n <= 0 || n > device.MaxPacket {
		return
	}
	if t.p.opened.Load() { // pending packets first: keeps the order
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
		t.toSlowPath(p)
		return
	}
	t.wrap(0, n)
	t.sealAll()
}

// super sends a super-packet.
func (t *transmitter) super(p []byte, off device.Offload) {
	transport, proto, hdrLen := superHeaders(p, off)
	if !t.segmenter.Start(p, hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	if t.fast(p, min(len(p), hdrLen+int(off.GSOSize))) {
		t.segmenting = true
		t.sealAll()
		return
	}
	for from, to, ok := t.segmenter.Next(); ok; from, to, ok = t.segmenter.Next() {
		t.toSlowPath(p[from:to])
	}
}

// toSlowPath sends one packet by the slow path, after what has been sealed already.
func (t *transmitter) toSlowPath(p []byte) {
	t.slow.now = t.now
	t.slow.routeIP(t.p.self, p)
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

// fast reports whether p, of which the largest segment has size bytes, can take the fast path,
// and if so sets t.to, t.tunnel or t.legacy, t.path and t.ids for it.
func (t *transmitter) fast(p []byte, size int) bool {
	dst, ok := packet.Dst(p)
	if !ok || t.p.bridging || carriesMSS(p) || t.p.tap.Load() != nil {
		return false
	}
	r := t.p.routes.Load()
	if r != t.cached.routes || dst != t.cached.dst {
		owner, reachable := r.lookup(dst)
		if !reachable || owner == t.p.self || owner == t.p.broadcast {
			owner = nil
		}
		t.cached.routes, t.cached.dst, t.cached.owner = r, dst, owner
	}
	minimum := minMTU4
	if p[0]>>4 == 6 {
		minimum = minMTU6
	}
	if to := t.cached.owner; to != nil && t.slow.checker.Check(flow.Out, &to.flows, p, t.now) != flow.Pass {
		return false // it is answered on the slow path
	}
	t.l2 = 0
	return t.fastTo(t.cached.owner, p, size, size+ethernetLen, minimum)
}

// fastTo is the rest of fast once the owner of the destination is known. p is the IP packet, nil if
// it is another; the data of the largest record has size bytes, in a frame of frame bytes,
// which passes if it is not above minimum.
func (t *transmitter) fastTo(to *peer, p []byte, size, frame, minimum int) bool {
	if to == nil {
		return false
	}
	s := to.state.Load()
	if s == nil || !s.Reachable || s.via == nil {
		return false
	}
	o := t.p.options.Load()
	if s.Legacy != nil { // encrypted hop by hop: treat the packet as one for the first hop
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
	if frame > max(v.MTU, minimum) {
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
		t.path, ok = t.p.legacyPath(to, s, frame, o.TCPOnly)
		t.to = to
		t.path.tos = o.tos(p)
		t.p.traffic(to, t.now)
		if ok {
			t.p.sentTo(to, t.now, frame)
		}
		return ok
	}
	if s.Compression != compress.None {
		return false
	}
	if t.path, ok = t.p.pathTo(to, s, true, size, o.TCPOnly); !ok {
		return false
	}
	t.to, t.tunnel = to, s.Tunnel
	t.path.tos = o.tos(p)
	if t.path.direct {
		clear(t.ids[:6])
	} else {
		copy(t.ids[:], to.id[:])
	}
	copy(t.ids[6:], t.p.selfID[:])
	t.p.traffic(to, t.now)
	t.p.sentTo(t.path.relay, t.now, frame)
	return true
}

// carriesMSS reports whether p may have an MSS option to clamp: TCP with SYN, or inside of IPv4 in IPv4.
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
			return true // rare: the slow path parses the inner packet
		}
		hdr := int(p[0]&15) * 4
		if p[protoAt4] != packet.ProtoTCP || hdr >= len(p) {
			return false
		}
		tcp = p[hdr:]
	}
	return len(tcp) >= packet.TCPLen && tcp[13]&packet.FlagSYN != 0
}

// wrap makes t.plain the packet t.in[inHead+from:inHead+to]. It overwrites the bytes before
// it: the tail of the previous packet, which has been sealed.
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

// sealAll seals t.plain, or all segments of t.segmenter, sending whenever out is full.
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

// sealSegments seals until nothing is left or out is full.
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
			t.out.bySocket[t.path.sock].add(&t.path, out, start)
			packets++
			bytes += len(t.plain) - 1
		}
		t.plain = nil
	}
	t.to.counters.out(packets, bytes)
}

// nextPlain makes t.plain the next plain text to seal, unless there is one.
func (t *transmitter) nextPlain() bool {
	if t.plain == nil && t.segmenting {
		from, to, ok := t.segmenter.Next()
		if t.segmenting = ok; ok {
			t.wrap(from, to)
		}
	}
	return t.plain != nil
}

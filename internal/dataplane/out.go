package dataplane

import (
	"context"
	"net/netip"
	"time"

	"tincan/internal/compress"
	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/forward"
	"tincan/internal/packet"
	"tincan/internal/wire"
)

// transmitter is the outbound fast path. It belongs to one goroutine, as do its buffers.
type transmitter struct {
	*burst
	line *sendLine // nil: this goroutine seals and sends by itself
	load load
	now  time.Duration
	pad  int // how long small records are padded, the same for those that are read in a row: so they leave as one run
	slow *slowPath
	dev  device.Device

	fromDoor bool          // dev is the door
	arriving *flow.Checker // of what goes from the interface to the door, or back
	ethernet bool          // the device delivers frames
	learner  learner
	toMAC    struct { // the last owner of a MAC address
		routes *routes
		mac    [6]byte
		owner  *peer
	}

	cached struct { // the last route
		routes *routes
		dst    netip.Addr
		owner  *peer
	}
}

func newTransmitter(p *Plane) *transmitter { return newTransmitterOf(p, p.cfg.Device) }

// newTransmitterOf returns one for what is read from dev: the virtual interface, or the door.
func newTransmitterOf(p *Plane, dev device.Device) *transmitter {
	t := &transmitter{slow: newSlowPath(p), dev: dev, ethernet: p.cfg.Ethernet, fromDoor: p.cfg.Door != nil && dev == p.cfg.Door, arriving: p.filter.NewChecker()}
	t.use(newBurst(p))
	return t
}

// use makes b what the transmitter works on.
func (t *transmitter) use(b *burst) {
	t.burst = b
	t.slow.out = &b.out
}

func (t *transmitter) run(ctx context.Context) error {
	var retries retryLimit
	dev := t.dev
	defer t.alone()
	for {
		n, off, err := dev.Read(t.in[inHead:])
		if err != nil {
			if retries.exhausted(ctx, err) {
				return err
			}
			continue
		}
		retries = retryLimit{}
		t.now, t.pad = t.p.now(), randomPadding()
		for count := 1; err == nil; count++ {
			if !t.fromDoor {
				t.adapt(n, count)
			}
			t.packet(n, off)
			n, off, err = dev.TryRead(t.in[inHead:])
		}
		t.flush()
		if err != device.ErrAgain && retries.exhausted(ctx, err) {
			return err
		}
	}
}

// flush sends what has been sealed.
func (t *transmitter) flush() {
	if t.line != nil {
		t.submit()
		return
	}
	t.out.flush()
}

// packet sends the packet or super-packet of n bytes that was read into t.in.
func (t *transmitter) packet(n int, off device.Offload) {
	if n <= 0 || n > device.MaxPacket {
		return
	}
	if t.p.opened.Load() { // pending packets first: keeps the order
		t.slowly().release()
	}
	p := t.in[inHead : inHead+n]
	t.p.self.counters.in(1, n)
	if t.ethernet {
		t.fromEthernet(p, off)
		return
	}
	if t.p.cfg.Door != nil && t.local(p, off) {
		return
	}
	if off.GSO != device.GSONone {
		t.super(p, off)
		return
	}
	if off.NeedsCsum && !packet.CompleteSum(p, int(off.CsumStart), int(off.CsumOffset)) {
		t.p.drop(Malformed)
		return
	}
	if !t.fast(p, len(p)) {
		t.toSlowPath(p)
		return
	}
	t.wrap(0, n)
	t.plain = wire.Pad(t.plain, t.padding)
	t.sealAll()
}

// super sends a super-packet.
func (t *transmitter) super(p []byte, off device.Offload) {
	transport, proto, hdrLen := off.Headers(p)
	if !t.segmenter.Start(p, hdrLen, transport, int(off.GSOSize), proto) {
		t.p.drop(Malformed)
		return
	}
	if t.fast(p, min(len(p), hdrLen+int(off.GSOSize))) {
		t.segmenting, t.padding = true, 0
		t.sealAll()
		return
	}
	for from, to, ok := t.segmenter.Next(); ok; from, to, ok = t.segmenter.Next() {
		t.toSlowPath(p[from:to])
	}
}

// toSlowPath sends one packet by the slow path, after what has been sealed already.
func (t *transmitter) toSlowPath(p []byte) {
	t.slowly().routeIP(t.p.self, p)
}

// slowly is the slow path, after everything that was read before has been sent or lies in t.out.
func (t *transmitter) slowly() *slowPath {
	if t.line != nil {
		t.line.drain()
	}
	t.slow.now = t.now
	return t.slow
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
		owner, reachable := r.outbound(dst)
		if !reachable || owner == t.p.self || owner == t.p.broadcast {
			owner = nil
		}
		t.cached.routes, t.cached.dst, t.cached.owner = r, dst, owner
	}
	minimum := minMTU4
	if p[0]>>4 == 6 {
		minimum = minMTU6
	}
	if to := t.cached.owner; to != nil && t.slow.checker.Check(flow.Out, t.p.Devices.flowsOf(to, dst, t.p.options.Load()), p, t.now) != flow.Pass {
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
	t.padding = 0
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
	if s.Pad && size < padBelow {
		t.padding = t.pad
	}
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

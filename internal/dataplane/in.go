package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

const (
	inBase     = 64          // where the super-packet begins: after the device's headroom and a type byte
	headroom   = ethernetLen // room before a packet that is opened: for a type byte, or a legacy frame's header
	maxHeaders = 160         // room for the headers of a packet that may be coalesced
)

// receiver is the inbound fast path of one socket. It belongs to one goroutine, as do its buffers.
type receiver struct {
	p       *Plane
	sock    int
	now     time.Duration
	dir     *directory
	options *Options
	routes  *routes
	slow    *slowPath
	out     txBatch    // datagrams from the slow path: relayed after a change, and answers
	relays  []gsoBatch // by socket: datagrams that are relayed unchanged

	// The super-packet being coalesced is at buf[inBase:], after the l2 bytes of its Ethernet
	// header if frames are carried; coalescer has its length.
	// The next datagram is opened so that its payload would follow it directly: its headers, and
	// the bytes before them, overwrite the end of the super-packet, of which saved is a copy.
	buf       []byte
	coalescer packet.Coalescer
	segmenter packet.Segmenter // of super-packets that the device refuses
	limits    segmentLimits
	flowOf    *peer // whose flow it is
	hdrLen    int   // headers of the packets of that flow, l2 included
	l2        int
	l2hdr     [ethernetLen]byte // the Ethernet header of that flow
	saved     [headroom + maxHeaders]byte
	swap      [maxHeaders]byte
	batched   batched

	// With much traffic, see parallel.go. batch then runs on another goroutine, which all of the above and below belongs to.
	keeper udp.Keeper   // nil: not by this socket
	line   *receiveLine // nil: this goroutine opens by itself
	load   load
	opened *[maxRuns]openedRun // what workers have opened of the batch, nil: nothing
	record *openedRecord       // and of the datagram, nil: nothing

	unmasker unmasker
	masked   bool // the datagram was hidden

	from     *peer // the last source
	state    *state
	hop      *peer          // who has the address hopAt
	hopAt    netip.AddrPort // zero: hop is not known yet
	found    *peer          // the legacy node that was last found by a search, at foundAt
	foundAt  netip.AddrPort
	dstLocal bool // the last destination is local, see forUs
	dst      netip.Addr
	src      netip.Addr // the last valid source address, one of srcOwner's
	srcOwner *peer
	localMAC [6]byte // the same for frames
}

// batched counts what the receiver has seen since the last flush.
type batched struct {
	from                                    *peer
	packets, bytes, outPackets, outputBytes int
}

func newReceiver(p *Plane, sock int) *receiver {
	r := &receiver{
		p:      p,
		sock:   sock,
		buf:    make([]byte, inBase+device.MaxPacket+maxLegacy),
		slow:   newSlowPath(p),
		out:    newTxBatch(p, outSize),
		relays: make([]gsoBatch, len(p.cfg.Sockets)),
		limits: deviceLimits(p.cfg.Device),
	}
	r.slow.out = &r.out
	r.keeper, _ = p.cfg.Sockets[sock].(udp.Keeper)
	return r
}

func (r *receiver) run(ctx context.Context) error {
	var retries retryLimit
	defer r.alone()
	for {
		batch, err := r.p.cfg.Sockets[r.sock].Recv()
		if err != nil {
			if retries.exhausted(ctx, err) {
				if ctx.Err() != nil || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
					return err
				}
				if say := r.p.cfg.SocketFailed; say != nil && retries.failures == maxFailures+1 {
					say(r.p.cfg.Sockets[r.sock].Local(), err)
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(socketPause):
				}
			}
			continue
		}
		retries = retryLimit{}
		r.take(batch)
	}
}

// batch handles what one receive returned.
func (r *receiver) batch(batch []udp.Arrival) {
	r.now = r.p.now()
	r.slow.now = r.now
	r.options = r.p.options.Load()
	r.dir = r.p.dir.Load()
	r.from = nil
	r.state = nil
	r.hop = nil
	r.hopAt = netip.AddrPort{}
	if routes := r.p.routes.Load(); routes != r.routes { // cached lookups are valid for one snapshot
		r.routes = routes
		r.dst = netip.Addr{}
		r.localMAC = noMAC
		r.srcOwner = nil
	}
	for i, a := range batch {
		r.arrival(i, a)
	}
	r.flush()
}

// arrival handles the datagrams of one source, the i-th of the batch.
func (r *receiver) arrival(i int, a udp.Arrival) {
	size := a.Size
	if size <= 0 || size > len(a.Buf) {
		size = len(a.Buf)
	}
	for rest := a.Buf; len(rest) > 0; {
		d := rest[:min(size, len(rest))]
		r.record, r.masked = nil, false
		if len(d) >= minDatagram {
			if r.opened != nil {
				if n := (len(a.Buf) - len(rest)) / size; n < maxOpened {
					r.record = &r.opened[i].records[n]
					r.masked = r.record.masked
				}
			}
			ours := isFor(r.p.selfID, d)
			if !ours && r.unmasker.show(r.p, r.dir, d) {
				r.masked, ours = true, isFor(r.p.selfID, d)
			}
			if ours {
				r.datagram(a.From, d, node.ID(d).IsZero())
				rest = rest[len(d):]
				continue
			}
		}
		switch {
		case !r.masked && r.dir.legacy != nil && r.legacyDatagram(a.From, d):
			rest = rest[len(d):]
		case len(d) < minDatagram:
			r.p.drop(ShortDatagram)
			rest = rest[len(d):]
		default:
			rest = rest[r.relay(a.From, rest, size):]
		}
	}
}

// unknownSender drops datagrams that no known 1.1 node can have sent.
func (r *receiver) unknownSender(netip.AddrPort, []byte) { r.p.drop(UnknownSender) }

// sender makes r.from and r.state the node with that id.
func (r *receiver) sender(id node.ID) bool {
	if r.from != nil && r.from.id == id {
		return true
	}
	from := r.dir.byID[id]
	if from == nil {
		return false
	}
	s := from.state.Load()
	if s == nil {
		return false
	}
	r.from, r.state = from, s
	return true
}

// hopOf is the node whose confirmed address is addr, nil if there is none.
func (r *receiver) hopOf(addr netip.AddrPort) *peer {
	if r.hopAt != addr {
		r.hop, r.hopAt = r.dir.byAddr[addr], addr
	}
	return r.hop
}

// datagram handles one datagram for this node. direct means that, by its ids, the
// source itself sent it.
func (r *receiver) datagram(addr netip.AddrPort, d []byte, direct bool) {
	if !r.sender(node.ID(d[6:])) {
		r.unknownSender(addr, d)
		return
	}
	record := d[idsLen:]
	if len(record) > maxRecord {
		r.p.drop(OverLong)
		return
	}
	if r.state.Tunnel == nil {
		r.p.undecodable(r.from, r.now, NoSession)
		return
	}
	at := r.reserve()
	plain, err := r.open(r.buf[:at-1], record)
	if err != nil {
		r.restore(at)
		r.p.undecodable(r.from, r.now, Undecodable)
		return
	}
	if r.from.openFailures.Load() != 0 {
		r.from.openFailures.Store(0)
	}
	unpadded, ok := wire.Unpad(plain[at-1:])
	if !ok {
		r.restore(at)
		r.p.drop(Malformed)
		return
	}
	plain = plain[:at-1+len(unpadded)]
	switch {
	case !direct:
		hop := r.hopOf(addr)
		if hop != nil {
			r.p.heardFrom(hop, r.masked)
		}
		r.p.reportIndirect(r.from, hop, false, r.now)
	case addr == r.state.Addr:
		if !isProbeRequest(plain[at-1:]) {
			r.p.heardFrom(r.from, r.masked)
		}
	default:
		from, sock := r.from, r.sock
		r.p.event(&from.heard, r.now, heardEvery, func() mesh.Event {
			return mesh.HeardFrom{Node: from.name, Addr: addr, Sock: sock}
		})
	}

	switch body := plain[at:]; plain[at-1] {
	case wire.TypeIP:
		if r.p.bridging {
			r.restore(at)
			r.p.drop(UnexpectedType)
			return
		}
		r.deliver(at, len(body))
	case wire.TypeFrame:
		if !r.p.bridging {
			r.unusual(at, plain)
			return
		}
		r.deliverFrame(at, len(body))
	case wire.TypeProbe:
		data := append([]byte(nil), body...)
		r.restore(at)
		r.p.cfg.Event(mesh.ProbeIn{Node: r.from.name, Addr: addr, Sock: r.sock, Direct: direct, Masked: r.masked, Data: data})
	case wire.TypeEcho:
		data := append([]byte(nil), body...)
		r.restore(at)
		hop := r.from
		if !direct {
			hop = r.hopOf(addr)
		}
		e := mesh.EchoIn{Direct: direct, Data: data}
		if direct {
			e.Addr = addr
		}
		r.p.reportEcho(r.from, hop, e)
	case wire.TypeRoster:
		data := append([]byte(nil), body...)
		r.restore(at)
		r.p.cfg.Event(mesh.RosterIn{Node: r.from.name, Data: data})
	default:
		r.unusual(at, plain)
	}
}

// open appends the plain text of record, which r.from sent, to dst. A worker may have opened it.
func (r *receiver) open(dst, record []byte) (plain []byte, err error) {
	o := r.record
	if o == nil || o.tunnel == nil {
		return r.state.Tunnel.Open(dst, record)
	}
	if err := o.tunnel.Accept(o.number); err != nil {
		return dst, err
	}
	return append(dst, o.plain...), nil
}

// unusual passes a record that was opened at buf[at-1:] to the slow path.
func (r *receiver) unusual(at int, plain []byte) {
	r.slow.scratch = append(r.slow.scratch[:0], plain[at-1:]...)
	r.restore(at)
	r.slow.unusual(r.from, r.slow.scratch[0], r.slow.scratch[1:])
}

// reserve returns where the next packet is opened in buf. The bytes of the super-packet that it will
// overwrite are saved.
func (r *receiver) reserve() (at int) {
	if r.coalescer.Count() == 0 {
		return inBase
	}
	at = inBase + r.l2 + r.coalescer.Len() - r.hdrLen
	copy(r.saved[:headroom+r.hdrLen], r.buf[at-headroom:])
	return at
}

// restore writes back what reserve saved.
func (r *receiver) restore(at int) {
	if r.coalescer.Count() > 0 {
		copy(r.buf[at-headroom:], r.saved[:headroom+r.hdrLen])
	}
}

// deliver takes the packet of n bytes that was opened at buf[at:].
func (r *receiver) deliver(at, n int) {
	r.count(n)
	p := r.buf[at : at+n]
	ours := r.forUs(p)
	if ours {
		if !r.validSource(p) {
			r.restore(at)
			r.p.dropInvalidSource(r.from)
			return
		}
		// What continues the flow of the packet before it passes as that did.
		if r.coalescer.Count() > 0 && r.flowOf == r.from {
			if _, ok := r.coalescer.Add(p); ok {
				copy(r.buf[at-headroom:], r.saved[:headroom+r.hdrLen])
				return
			}
		}
		if !r.mayEnter(p) {
			r.restore(at)
			return
		}
	}
	if r.coalescer.Count() > 0 {
		r.displace(at, n)
		p = r.buf[inBase : inBase+n]
	}
	switch {
	case !ours:
		r.slow.routeIP(r.from, p)
	case r.coalescer.Start(p, r.limits.segments(kindOf(p), r.now)):
		r.flowOf, r.hdrLen = r.from, headersOf(p)
	default:
		r.output(n)
	}
}

// displace writes the super-packet and moves the packet of n bytes, which was opened
// after it at buf[at:], to the start.
func (r *receiver) displace(at, n int) {
	k := min(r.hdrLen, n)
	copy(r.swap[:k], r.buf[at:])
	copy(r.buf[at-headroom:], r.saved[:headroom+r.hdrLen])
	r.finish()
	copy(r.buf[inBase:], r.swap[:k])
	copy(r.buf[inBase+k:], r.buf[at+k:at+n])
}

// finish writes the super-packet, if there is one.
func (r *receiver) finish() {
	count, n := r.coalescer.Count(), r.coalescer.Len()
	if count == 0 {
		return
	}
	p := r.buf[inBase+r.l2 : inBase+r.l2+n]
	s, ok := r.coalescer.Finish(p)
	if !ok {
		r.output(r.l2 + n)
		return
	}
	r.outputSuper(p, count, s)
}

// output writes the packet of n bytes at inBase to the device.
func (r *receiver) output(n int) {
	r.batched.outPackets++
	r.batched.outputBytes += n
	start, off := inBase, device.Offload{}
	if r.p.cfg.Ethernet && !r.p.bridging {
		start = r.addHeader(&off)
	}
	r.p.write(r.buf[:inBase+n], start, off)
}

// addHeader puts an Ethernet header before the packet at inBase, and returns where it begins.
func (r *receiver) addHeader(off *device.Offload) (start int) {
	start = inBase - ethernetLen
	ethernetHeader(r.buf[start:])
	r.p.overwriteMACs(r.buf[start:])
	if off.NeedsCsum {
		off.CsumStart += ethernetLen
	}
	if off.GSO != device.GSONone {
		off.HdrLen += ethernetLen
	}
	return start
}

// flush ends a batch: everything is written and sent.
func (r *receiver) flush() {
	r.finish()
	r.out.flush()
	for i := range r.relays {
		if q := &r.relays[i]; len(q.list) > 0 {
			r.out.gatherer.send(r.p, i, q.list)
			q.reset()
		}
	}
	b := &r.batched
	if b.packets > 0 {
		b.from.counters.in(b.packets, b.bytes)
	}
	if b.outPackets > 0 {
		r.p.self.counters.out(b.outPackets, b.outputBytes)
	}
	*b = batched{}
}

// count counts a packet from r.from.
func (r *receiver) count(n int) {
	b := &r.batched
	if b.from != r.from {
		if b.packets > 0 {
			b.from.counters.in(b.packets, b.bytes)
		}
		b.from, b.packets, b.bytes = r.from, 0, 0
	}
	b.packets++
	b.bytes += n
}

// forUs reports whether p can be written to the device without further checks.
func (r *receiver) forUs(p []byte) bool {
	dst, ok := packet.Dst(p)
	if !ok || !wholeIP(p) || carriesMSS(p) || r.p.tap.Load() != nil {
		return false
	}
	if r.options.Forwarding == route.Kernel {
		return true
	}
	if dst != r.dst {
		owner, _ := r.routes.inbound(dst, r.p.self)
		r.dstLocal, r.dst = owner == r.p.self, dst
	}
	return r.dstLocal
}

// wholeIP reports whether the IP packet p, which has a full header, holds as many bytes as it claims.
func wholeIP(p []byte) bool {
	if p[0]>>4 == 4 {
		n := int(binary.BigEndian.Uint16(p[2:]))
		return n >= packet.IPv4Len && n <= len(p)
	}
	return packet.IPv6Len+int(binary.BigEndian.Uint16(p[4:])) <= len(p)
}

// headersOf is the length of the headers of p, a packet that may be coalesced: it has neither
// IP options nor extension headers.
func headersOf(p []byte) int {
	n, proto := packet.IPv4Len, p[9]
	if p[0]>>4 == 6 {
		n, proto = packet.IPv6Len, p[6]
	}
	if proto == packet.ProtoUDP {
		return n + packet.UDPLen
	}
	return n + int(p[n+12]>>4)*4
}

// relay forwards the datagram at the start of rest together with those after it that have the
// same ids, and returns how many bytes that were. All have size bytes but the last.
func (r *receiver) relay(addr netip.AddrPort, rest []byte, size int) int {
	end, count := r.sameIDs(rest, size)
	first := rest[:min(size, len(rest))]
	hop := r.hopOf(addr)
	if hop == nil {
		if r.dir.byID[node.ID(first)] != nil && r.sender(node.ID(first[6:])) {
			r.p.dropN(UnconfirmedRelay, count)
		} else {
			r.unknownSender(addr, first)
			end = len(first)
		}
		return end
	}
	to := r.dir.byID[node.ID(first)]
	if to == nil || !r.sender(node.ID(first[6:])) {
		r.p.dropN(UnknownNode, count)
		return end
	}
	s := to.state.Load()
	if s == nil || !s.Reachable {
		r.p.dropN(Unreachable, count)
		return end
	}
	path, ok := r.p.pathTo(to, s, false, len(first)-minDatagram, r.options.TCPOnly)
	switch {
	case path.relay == hop || !ok && s.next == hop, hop != r.from && r.p.loops.seen(first):
		r.p.dropN(Loop, count)
	case ok:
		run := udp.Run{To: path.addr, Buf: rest[:end], Size: len(first)}
		if path.mask != nil {
			hideRun(path.mask, run, &r.unmasker.block)
		}
		r.relays[path.sock].addRun(run)
		r.p.sentTo(path.relay, r.now, len(first)-minDatagram+ethernetLen)
		r.p.reportRelayed(r.from, to, r.now)
	default:
		for b := rest[:end]; len(b) > 0; b = b[min(size, len(b)):] {
			r.slow.sendByMeta(to, s, r.from, b[:min(size, len(b))])
		}
		r.p.reportRelayed(r.from, to, r.now)
	}
	return end
}

// sameIDs is the length of the datagrams at the start of b that have the same
// ids as the first and make one run, and their number. If the first was hidden, so were the others, and are shown.
func (r *receiver) sameIDs(b []byte, size int) (end, count int) {
	end, count = min(size, len(b)), 1
	for count < udp.MaxSegments && end < len(b) {
		next := b[end:min(end+size, len(b))]
		if len(next) < minDatagram || end+len(next) > udp.MaxRun || r.masked && !r.unmasker.show(r.p, r.dir, next) {
			break
		}
		if string(next[:idsLen]) != string(b[:idsLen]) {
			if r.masked {
				r.unmasker.hide(r.p, next)
			}
			break
		}
		end += len(next)
		count++
	}
	return end, count
}

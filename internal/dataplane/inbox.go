package dataplane

import (
	"context"
	"errors"
	"sync"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/sptps"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// The protocol core carries no packet itself: it would wait for the device, for room in the buffer of a socket, and
// for locks of the fast paths. What it wants sent or opened, and what the readers of meta connections bring, goes into
// the inbox. One goroutine, the worker, takes it out.
//
// The protocol core never waits: what does not fit into its queue is dropped, and counted as [InboxFull]. A reader does
// wait. That slows down its connection and no other, since readers that wait take turns, and TCP tells the
// sender, so a burst loses nothing.

// Bounds of the inbox.
const (
	maxOrders    = 2048 // probes and echoes
	maxTunnelled = 128  // records that came inside of requests
	maxPackets   = 128  // from meta connections
	inboxBatch   = 64   // what the worker does, twice over, before what it has sealed is sent
	maxKept      = 2048 // bytes of a packet whose buffer is used again
)

type inbox struct {
	orders    chan any // mesh.SendProbe, mesh.SendEcho
	tunnelled chan mesh.TunnelledData
	packets   chan *metaPacket
	news      chan struct{} // one token: peers have got sessions, or are gone
	unused    sync.Pool     // of *metaPacket
	closed    chan struct{} // nobody takes anything out any more
}

// metaPacket is a packet that came over the connection of hop: ids and record, or a frame.
type metaPacket struct {
	hop   node.Name
	frame bool
	data  []byte
}

func newInbox() inbox {
	return inbox{
		orders:    make(chan any, maxOrders),
		tunnelled: make(chan mesh.TunnelledData, maxTunnelled),
		packets:   make(chan *metaPacket, maxPackets),
		news:      make(chan struct{}, 1),
		unused:    sync.Pool{New: func() any { return new(metaPacket) }},
		closed:    make(chan struct{}),
	}
}

// SendProbe has a record of type 4 sealed for a node, or for a legacy node the probe as
// a frame, and sent directly to the address that is named, whatever the node's own is. It does not wait, and
// keeps the data.
func (p *Plane) SendProbe(probe mesh.SendProbe) { p.order(probe) }

// SendEcho has a record of type 8 sealed for a node and sent the way that is said. What
// cannot go that way is dropped. It does not wait, and keeps the data.
func (p *Plane) SendEcho(e mesh.SendEcho) { p.order(e) }

// Tunnelled takes a record that came inside a REQ_KEY request. It does not wait, and keeps the record.
func (p *Plane) Tunnelled(t mesh.TunnelledData) {
	select {
	case p.inbox.tunnelled <- t:
	default:
		p.drop(InboxFull)
	}
}

func (p *Plane) order(o any) {
	select {
	case p.inbox.orders <- o:
	default:
		p.drop(InboxFull)
	}
}

// FromMeta takes an SPTPS_PACKET that came on the connection of hop: destination
// id 6 | source id 6 | record. It waits while there is no room for it. blob is not kept.
func (p *Plane) FromMeta(hop node.Name, blob []byte) { p.fromMeta(hop, blob, false) }

// FrameFromMeta takes a PACKET that came on the connection of hop: a frame with
// its Ethernet header, which is not kept. It waits while there is no room for it.
func (p *Plane) FrameFromMeta(hop node.Name, frame []byte) { p.fromMeta(hop, frame, true) }

func (p *Plane) fromMeta(hop node.Name, data []byte, frame bool) {
	m := p.inbox.unused.Get().(*metaPacket)
	m.hop, m.frame, m.data = hop, frame, append(m.data[:0], data...)
	select {
	case p.inbox.packets <- m:
	case <-p.inbox.closed:
	}
}

// announce wakes the worker because of what the protocol core has published.
func (p *Plane) announce() {
	select {
	case p.inbox.news <- struct{}{}:
	default:
	}
}

// worker does what the inbox asks for. It belongs to one goroutine.
type worker struct {
	*slowPath
	batch txBatch
	early pendingQueue
	one   [1]udp.Run
	again bool // what came too early is being opened once more
}

func newWorker(p *Plane) *worker {
	w := &worker{
		slowPath: newSlowPath(p),
		batch:    newTxBatch(p, outSize/4),
		early:    pendingQueue{patience: earlyFor, perPeer: maxEarlyPerPeer, most: maxEarly, refuse: true},
	}
	w.out = &w.batch
	return w
}

// run works until ctx ends.
func (w *worker) run(ctx context.Context) error {
	in := &w.p.inbox
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-in.orders:
			w.begin()
			w.order(o)
		case <-in.news:
			w.begin()
			w.published()
		case t := <-in.tunnelled:
			w.begin()
			w.fromRequest(t)
		case m := <-in.packets:
			w.begin()
			w.packet(m)
		}
		w.drain()
	}
}

func (w *worker) begin() { w.now = w.p.now() }

// drain does what else there is, up to a limit, and sends what comes of all. Half of its turns belong to what the
// protocol core sends.
func (w *worker) drain() {
	in := &w.p.inbox
	for range inboxBatch {
		ordered := true
		select {
		case o := <-in.orders:
			w.order(o)
		default:
			ordered = false
		}
		select {
		case <-in.news:
			w.published()
			continue
		case t := <-in.tunnelled:
			w.fromRequest(t)
			continue
		case m := <-in.packets:
			w.packet(m)
			continue
		default:
		}
		if !ordered {
			break
		}
	}
	w.batch.flush()
}

// order does what the protocol core asks for.
func (w *worker) order(order any) {
	switch o := order.(type) {
	case mesh.SendProbe:
		w.sendProbe(o)
	case mesh.SendEcho:
		w.sendEcho(o)
	}
}

// published takes note that sessions have come or nodes gone.
func (w *worker) published() {
	w.openEarly()
	w.release()
}

// packet handles a packet from a meta connection.
func (w *worker) packet(m *metaPacket) {
	if m.frame {
		w.fromPacket(m.hop, m.data)
	} else {
		w.fromBlob(m.hop, m.data)
	}
	if cap(m.data) <= maxKept {
		w.p.inbox.unused.Put(m)
	}
}

// sendProbe is [Plane.SendProbe].
func (w *worker) sendProbe(probe mesh.SendProbe) {
	p := w.p
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
	if s.Legacy != nil {
		if !w.wrapLegacy(s, probe.Data) {
			return
		}
	} else if !w.wrap(s, wire.TypeProbe, probe.Data, node.ID{}) {
		return
	}
	w.one[0] = udp.Run{To: probe.Addr, Buf: w.blob, Size: len(w.blob), TTL: probe.TTL}
	err := p.cfg.Sockets[sock].Send(w.one[:])
	var long *udp.TooLong
	switch {
	case errors.As(err, &long): // what the probe was to find out
		p.cfg.Event(tooLong(to, long))
	case err != nil:
		p.drop(SendFailed)
	}
}

// sendEcho is [Plane.SendEcho].
func (w *worker) sendEcho(e mesh.SendEcho) {
	p := w.p
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
	switch e.Path {
	case mesh.EchoAsPackets:
		w.sendRecord(to, s, wire.TypeEcho, e.Data, 0)
	case mesh.EchoTCP:
		if w.wrap(s, wire.TypeEcho, e.Data, to.id) {
			w.byMeta(to, s, p.self, w.blob)
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
		} else if w.wrap(s, wire.TypeEcho, e.Data, id) {
			w.send(way, w.blob)
		}
	}
}

// fromBlob is [Plane.FromMeta].
func (w *worker) fromBlob(hop node.Name, blob []byte) {
	p := w.p
	w.openEarly() // what came first goes first
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
	if dst := node.ID(blob); dst == p.selfID {
		w.fromRecord(from, dir.byName[hop], blob[idsLen:])
	} else if to := dir.byID[dst]; to != nil {
		w.pass(to, from, dir.byName[hop], blob)
	} else {
		p.drop(UnknownNode)
	}
}

// fromPacket is [Plane.FrameFromMeta].
func (w *worker) fromPacket(hop node.Name, frame []byte) {
	p := w.p
	from, s := p.known(hop)
	if s == nil {
		p.drop(UnknownNode)
		return
	}
	p.cameIndirectly(from, from, true, w.now)
	w.byTCP = !s.tcpOnly()
	w.fromFrame(from, frame)
	w.byTCP = false
}

// fromRequest is [Plane.Tunnelled].
func (w *worker) fromRequest(t mesh.TunnelledData) {
	p := w.p
	w.openEarly()
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
	if t.To == p.cfg.Self {
		w.fromRecord(from, hop, t.Record)
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
		w.pass(to, from, hop, append(blob, t.Record...))
	}
}

// fromRecord opens a record for us that came over a meta connection.
func (w *worker) fromRecord(from, hop *peer, record []byte) {
	s := from.state.Load()
	switch {
	case s == nil:
		w.p.drop(UnknownNode)
		return
	case len(record) > maxRecord:
		w.p.drop(OverLong)
		return
	case s.Tunnel == nil:
		w.tooEarly(pendingPacket{peer: from, hop: hop, since: w.now, data: record}, NoSession)
		return
	}
	plain, err := s.Tunnel.Open(w.plain[:0], record)
	switch {
	case errors.Is(err, sptps.ErrOpen): // a new session may be on its way
		w.tooEarly(pendingPacket{peer: from, hop: hop, since: w.now, data: record, tried: s.Tunnel}, Undecodable)
		return
	case err != nil:
		w.p.undecodable(from, w.now, Undecodable)
		return
	}
	from.bad.Store(0)
	w.p.cameIndirectly(from, hop, true, w.now)
	w.plain = plain
	switch body := plain[1:]; plain[0] {
	case wire.TypeIP:
		if w.p.bridging {
			w.p.drop(UnexpectedType)
			return
		}
		from.counters.in(1, len(body))
		w.slow(from, body)
	case wire.TypeEcho:
		w.p.echoIn(from, hop, mesh.EchoIn{TCP: true, Data: append([]byte(nil), body...)})
	case wire.TypeProbe: // has to come in a datagram
		w.p.drop(UnexpectedType)
	default:
		w.unusual(from, plain[0], body)
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
	p.unopened(from, now)
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

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

// The protocol core does not handle packets itself: it would wait for the device, for space in a socket buffer, and
// for locks of the fast paths. Records that it sends or forwards, and packets from the readers of meta connections, go
// into the inbox. One goroutine, the worker, processes it.
//
// The protocol core never waits: what does not fit into its queue is dropped, and counted as [InboxFull]. A reader does
// wait. That slows down its connection and no other, since waiting readers take turns, and TCP flow control reaches
// the sender, so a burst loses nothing.

// Bounds of the inbox.
const (
	maxCommands  = 2048 // probes and echoes
	maxTunnelled = 128  // records inside requests
	maxPackets   = 128  // from meta connections
	inboxBatch   = 64   // rounds of the worker before the sealed records are sent
	maxPooled    = 2048 // bytes of a packet whose buffer is reused
)

type inbox struct {
	commands  chan any // mesh.SendProbe, mesh.SendEcho, mesh.SendRecord
	tunnelled chan mesh.TunnelledData
	packets   chan *metaPacket
	published chan struct{} // one token: peers have new sessions, or were removed
	pool      sync.Pool     // of *metaPacket
	closed    chan struct{} // the inbox is no longer processed
}

// metaPacket is a packet received over the connection of hop: ids and record, or a frame.
type metaPacket struct {
	hop   node.Name
	frame bool
	data  []byte
}

func newInbox() inbox {
	return inbox{
		commands:  make(chan any, maxCommands),
		tunnelled: make(chan mesh.TunnelledData, maxTunnelled),
		packets:   make(chan *metaPacket, maxPackets),
		published: make(chan struct{}, 1),
		pool:      sync.Pool{New: func() any { return new(metaPacket) }},
		closed:    make(chan struct{}),
	}
}

// SendProbe queues a probe: a record of type 4, or for a legacy node a frame, that is sealed and
// sent directly to probe.Addr, even if that is not the node's confirmed address. It does not wait, and
// keeps the data.
func (p *Plane) SendProbe(probe mesh.SendProbe) { p.command(probe) }

// SendEcho queues an echo: a record of type 8 that is sealed for a node and sent by the path e.Path. If
// that path is not available it is dropped. It does not wait, and keeps the data.
func (p *Plane) SendEcho(e mesh.SendEcho) { p.command(e) }

// SendRecord queues a record that is sealed for a node and sent as a packet of its size would go. It does not
// wait, and keeps the data.
func (p *Plane) SendRecord(r mesh.SendRecord) { p.command(r) }

// Tunnelled queues a record received inside a REQ_KEY request. It does not wait, and keeps the record.
func (p *Plane) Tunnelled(t mesh.TunnelledData) {
	select {
	case p.inbox.tunnelled <- t:
	default:
		p.drop(InboxFull)
	}
}

func (p *Plane) command(o any) {
	select {
	case p.inbox.commands <- o:
	default:
		p.drop(InboxFull)
	}
}

// FromMeta queues an SPTPS_PACKET received on the connection of hop: destination
// id 6 | source id 6 | record. It waits while the queue is full. blob is not kept.
func (p *Plane) FromMeta(hop node.Name, blob []byte) { p.fromMeta(hop, blob, false) }

// FrameFromMeta queues a PACKET received on the connection of hop: a frame with
// its Ethernet header, which is not kept. It waits while the queue is full.
func (p *Plane) FrameFromMeta(hop node.Name, frame []byte) { p.fromMeta(hop, frame, true) }

func (p *Plane) fromMeta(hop node.Name, data []byte, frame bool) {
	m := p.inbox.pool.Get().(*metaPacket)
	m.hop, m.frame, m.data = hop, frame, append(m.data[:0], data...)
	select {
	case p.inbox.packets <- m:
	case <-p.inbox.closed:
	}
}

// notify tells the worker that the protocol core has published new state.
func (in *inbox) notify() {
	select {
	case in.published <- struct{}{}:
	default:
	}
}

// worker processes the inbox. It belongs to one goroutine.
type worker struct {
	*slowPath
	batch    txBatch
	early    pendingQueue
	one      [1]udp.Run
	retrying bool // early records are being opened again
}

func newWorker(p *Plane) *worker {
	w := &worker{
		slowPath: newSlowPath(p),
		batch:    newTxBatch(p, outSize/4),
		early:    pendingQueue{maxAge: maxEarlyAge, perPeer: maxEarlyPerPeer, max: maxEarly, rejectNew: true},
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
		case o := <-in.commands:
			w.begin()
			w.command(o)
		case <-in.published:
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

// drain processes what else is queued, up to a limit, and sends the batch. Half of its capacity is reserved for
// commands of the protocol core.
func (w *worker) drain() {
	in := &w.p.inbox
	for range inboxBatch {
		commanded := true
		select {
		case o := <-in.commands:
			w.command(o)
		default:
			commanded = false
		}
		select {
		case <-in.published:
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
		if !commanded {
			break
		}
	}
	w.batch.flush()
}

// command carries out a command of the protocol core.
func (w *worker) command(order any) {
	switch o := order.(type) {
	case mesh.SendProbe:
		w.sendProbe(o)
	case mesh.SendEcho:
		w.sendEcho(o)
	case mesh.SendRecord:
		if to, s := w.sessionWith(o.Node, len(o.Data)); s != nil {
			w.sendRecord(to, s, o.Type, o.Data, 0)
		}
	}
}

// sessionWith returns a peer and its state, nil if no record of that size can be sealed for it, which is counted.
func (w *worker) sessionWith(name node.Name, size int) (*peer, *state) {
	p := w.p
	to, s := p.known(name)
	switch {
	case s == nil:
		p.drop(UnknownNode)
	case s.Tunnel == nil:
		p.drop(NoSession)
	case size > maxData:
		p.drop(OverLong)
	default:
		return to, s
	}
	return nil, nil
}

// published handles new sessions and removed nodes.
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
	if cap(m.data) <= maxPooled {
		w.p.inbox.pool.Put(m)
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
	case !s.ready():
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
	if probe.Mask != nil {
		probe.Mask.Flip(w.blob, &w.batch.block)
	}
	w.one[0] = udp.Run{To: probe.Addr, Buf: w.blob, Size: len(w.blob), TTL: probe.TTL}
	err := p.cfg.Sockets[sock].Send(w.one[:])
	var long *udp.TooLong
	switch {
	case errors.As(err, &long): // the result that the probe was sent for
		p.cfg.Event(tooLong(to, long))
	case err != nil:
		p.drop(SendFailed)
	}
}

// sendEcho is [Plane.SendEcho].
func (w *worker) sendEcho(e mesh.SendEcho) {
	p := w.p
	to, s := w.sessionWith(e.Node, len(e.Data))
	if s == nil {
		return
	}
	switch e.Path {
	case mesh.EchoAsPackets:
		w.sendRecord(to, s, wire.TypeEcho, e.Data, 0)
	case mesh.EchoTCP:
		if w.wrap(s, wire.TypeEcho, e.Data, to.id) {
			w.sendByMeta(to, s, p.self, w.blob)
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
		path := udpPath{relay: relay, addr: rs.Addr, sock: p.socketFor(rs.Addr, rs.Sock), mask: rs.Mask}
		if path.sock < 0 {
			p.drop(NoSocket)
		} else if w.wrap(s, wire.TypeEcho, e.Data, id) {
			w.send(path, w.blob)
		}
	}
}

// fromBlob is [Plane.FromMeta].
func (w *worker) fromBlob(hop node.Name, blob []byte) {
	p := w.p
	w.openEarly() // keeps the order
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
		w.relay(to, from, dir.byName[hop], blob)
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
	if s.SealedOnly {
		p.drop(WeakKeys)
		return
	}
	p.reportIndirect(from, from, true, w.now)
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
		w.relay(to, from, hop, append(blob, t.Record...))
	}
}

// fromRecord opens a record for this node that was received over a meta connection.
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
		w.keepEarly(pendingPacket{peer: from, hop: hop, since: w.now, data: record}, NoSession)
		return
	}
	plain, err := s.Tunnel.Open(w.plain[:0], record)
	switch {
	case errors.Is(err, sptps.ErrOpen): // a new session may be about to be published
		w.keepEarly(pendingPacket{peer: from, hop: hop, since: w.now, data: record, tried: s.Tunnel}, Undecodable)
		return
	case err != nil:
		w.p.undecodable(from, w.now, Undecodable)
		return
	}
	from.openFailures.Store(0)
	w.p.reportIndirect(from, hop, true, w.now)
	w.plain = plain
	plain, ok := wire.Unpad(plain)
	if !ok {
		w.p.drop(Malformed)
		return
	}
	switch body := plain[1:]; plain[0] {
	case wire.TypeIP:
		if w.p.bridging {
			w.p.drop(UnexpectedType)
			return
		}
		from.counters.in(1, len(body))
		w.routeIP(from, body)
	case wire.TypeEcho:
		w.p.reportEcho(from, hop, mesh.EchoIn{TCP: true, Data: append([]byte(nil), body...)})
	case wire.TypeRoster:
		w.p.cfg.Event(mesh.RosterIn{Node: from.name, Data: append([]byte(nil), body...)})
	case wire.TypeProbe: // is only valid in a datagram
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

// undecodable counts and reports a record of from that cannot be opened.
func (p *Plane) undecodable(from *peer, now time.Duration, why Reason) {
	p.drop(why)
	p.reportUndecodable(from, now)
}

// reportIndirect reports an authentic record for this node that was relayed by hop, nil
// if that is not known.
func (p *Plane) reportIndirect(from, hop *peer, tcp bool, now time.Duration) {
	if hop == nil || from.indirect.tooSoon(now, reportEvery) {
		return
	}
	p.event(&from.indirect, now, reportEvery, func() mesh.Event {
		return mesh.CameIndirectly{Node: from.name, Hop: hop.name, TCP: tcp}
	})
}

// reportEcho reports an echo from a node that was relayed by hop, nil if that is not known. It
// is dropped when the protocol core is busy, as on a congested network. e.Data is kept.
func (p *Plane) reportEcho(from, hop *peer, e mesh.EchoIn) {
	e.Node = from.name
	if hop != nil {
		e.Hop = hop.name
	}
	p.cfg.Event(e)
}

// reportRelayed reports that a record of from was relayed to to.
func (p *Plane) reportRelayed(from, to *peer, now time.Duration) {
	p.event(p.relayed.of(from.id, to.id), now, reportEvery, func() mesh.Event {
		return mesh.Relayed{From: from.name, To: to.name}
	})
}

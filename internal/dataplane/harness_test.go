package dataplane

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/subnet"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// tunnels returns both ends of an established session.
func tunnels(t testing.TB, a, b node.Name) (*sptps.Tunnel, *sptps.Tunnel) {
	t.Helper()
	return tunnelsOf(t, a, b, rand.Reader)
}

// tunnelsOf is tunnels with its keys from random.
func tunnelsOf(t testing.TB, a, b node.Name, random io.Reader) (*sptps.Tunnel, *sptps.Tunnel) {
	t.Helper()
	da, db := sessions(t, a, b, random, nil)
	return da.Tunnel(), db.Tunnel()
}

// aesTunnels are those of a session that has agreed on AES-256-GCM.
func aesTunnels(t testing.TB, a, b node.Name) (*sptps.Tunnel, *sptps.Tunnel) {
	t.Helper()
	costs := []hybrid.Cost{{Cipher: hybrid.Stock, Nanos: 2}, {Cipher: hybrid.AESGCM, Nanos: 1}}
	da, db := sessions(t, a, b, rand.Reader, &sptps.Hybrid{PostQuantum: true, Costs: costs})
	agree(t, da, db)
	ta, keys, ok := da.Data()
	tb, _, _ := db.Data()
	if !ok || keys.Cipher != hybrid.AESGCM {
		t.Fatal("no AES")
	}
	return ta, tb
}

// agree runs the second key exchange of a session that the other end began.
func agree(t testing.TB, initiator, responder *sptps.Datagram) {
	t.Helper()
	record, err := responder.Offer()
	for to, from := initiator, responder; record != nil; to, from = from, to {
		if err != nil {
			t.Fatal(err)
		}
		var out [][]byte
		out, _, err = to.Handshake(record)
		if record = nil; len(out) > 0 {
			record = out[0]
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sessions returns both ends of an established session, which announce the second key exchange unless that is nil.
func sessions(t testing.TB, a, b node.Name, random io.Reader, second *sptps.Hybrid) (da, db *sptps.Datagram) {
	t.Helper()
	ka, err := keys.Generate(random)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := keys.Generate(random)
	if err != nil {
		t.Fatal(err)
	}
	label := sptps.LabelUDP(a, b)
	da, kexA, err := sptps.NewDatagram(sptps.Config{Initiator: true, Key: ka, Peer: kb.Public(), Label: label, Rand: random, Hybrid: second})
	if err != nil {
		t.Fatal(err)
	}
	db, kexB, err := sptps.NewDatagram(sptps.Config{Key: kb, Peer: ka.Public(), Label: label, Rand: random, Hybrid: second})
	if err != nil {
		t.Fatal(err)
	}
	toA, toB := [][]byte{kexB}, [][]byte{kexA}
	for len(toA)+len(toB) > 0 {
		for _, r := range toB {
			out, _, err := db.Handshake(r)
			if err != nil {
				t.Fatal(err)
			}
			toA = append(toA, out...)
		}
		toB = nil
		for _, r := range toA {
			out, _, err := da.Handshake(r)
			if err != nil {
				t.Fatal(err)
			}
			toB = append(toB, out...)
		}
		toA = nil
	}
	if da.Tunnel() == nil || db.Tunnel() == nil {
		t.Fatal("the handshake is not complete")
	}
	return da, db
}

// written is one Write of a device.
type written struct {
	pkt []byte
	off device.Offload
}

// recorder is a device that records what is written to it.
type recorder struct {
	mu      sync.Mutex
	written []written
	noGSO   bool
	most    int                       // segments of a super-packet, 0: any number
	refuses func(device.Offload) bool // this super-packet
	refused int
	fail    error
	closed  chan struct{}
}

func (d *recorder) Name() string { return "recorder" }
func (d *recorder) Read([]byte) (int, device.Offload, error) {
	<-d.closed
	return 0, device.Offload{}, os.ErrClosed
}
func (d *recorder) TryRead([]byte) (int, device.Offload, error) {
	return 0, device.Offload{}, device.ErrAgain
}
func (d *recorder) Write(buf []byte, start int, off device.Offload) error {
	clear(buf[start-device.Headroom : start])
	d.mu.Lock()
	defer d.mu.Unlock()
	if off.GSO != device.GSONone && d.refuses != nil && d.refuses(off) {
		d.refused++
		return device.ErrRefused
	}
	d.written = append(d.written, written{bytes.Clone(buf[start:]), off})
	return d.fail
}
func (d *recorder) MaxSegments(device.GSOType) int {
	if d.noGSO {
		return 0
	}
	if d.most > 0 {
		return d.most
	}
	return device.MaxPacket
}
func (d *recorder) Close() error { close(d.closed); return nil }

// take returns what was written since the previous call.
func (d *recorder) take() []written {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := d.written
	d.written = nil
	return w
}

// recordingSocket is a socket that records what is sent. It can deliver to others.
type recordingSocket struct {
	local netip.AddrPort
	mu    sync.Mutex
	sent  []udp.Run
	err   error
}

func (s *recordingSocket) Local() netip.AddrPort        { return s.local }
func (s *recordingSocket) Recv() ([]udp.Arrival, error) { select {} }
func (s *recordingSocket) PathMTU(addr netip.Addr) int  { return 0 }
func (s *recordingSocket) Close() error                 { return nil }
func (s *recordingSocket) CanGSO() bool                 { return true }
func (s *recordingSocket) Dropped() uint64              { return 0 }
func (s *recordingSocket) Send(runs []udp.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		r.Buf = bytes.Clone(r.Buf)
		s.sent = append(s.sent, r)
	}
	return s.err
}

// take returns what was sent since the previous call.
func (s *recordingSocket) take() []udp.Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.sent
	s.sent = nil
	return r
}

// recordingMeta records what is sent over a meta connection.
type recordingMeta struct {
	blobs, frames [][]byte
	requests      []string
	full          bool
}

func (m *recordingMeta) TrySPTPS(b []byte) bool {
	m.blobs = append(m.blobs, bytes.Clone(b))
	return !m.full
}
func (m *recordingMeta) TryPacket(b []byte) bool {
	m.frames = append(m.frames, bytes.Clone(b))
	return !m.full
}
func (m *recordingMeta) TryRequest(s string) bool {
	m.requests = append(m.requests, s)
	return !m.full
}

// station is a plane whose goroutines are driven by the test: what it sends
// is recorded, and what it receives comes from the test.
type station struct {
	*Plane
	name         node.Name
	addr         netip.AddrPort
	dev          *recorder
	sock         *recordingSocket
	metas        map[mesh.ConnID]*recordingMeta
	events       []mesh.Event
	rejectEvents bool                            // the protocol core accepts no events
	ends         map[netip.AddrPort]*legacy.Link // what legacy nodes at these addresses open with
	time         time.Time
	tx           *transmitter
	rx           *receiver
	work         *worker
}

var (
	addrA = netip.MustParseAddrPort("192.0.2.1:655")
	addrB = netip.MustParseAddrPort("192.0.2.2:655")
	addrC = netip.MustParseAddrPort("192.0.2.3:655")
)

func newStation(name node.Name, addr netip.AddrPort) *station {
	s := &station{
		name:  name,
		addr:  addr,
		dev:   &recorder{closed: make(chan struct{})},
		sock:  &recordingSocket{local: addr},
		metas: make(map[mesh.ConnID]*recordingMeta),
		ends:  make(map[netip.AddrPort]*legacy.Link),
		time:  time.Unix(1700000000, 0),
	}
	s.Plane = New(Config{
		Self:    name,
		Device:  s.dev,
		Sockets: []udp.Socket{s.sock},
		Event: func(e mesh.Event) bool {
			if !s.rejectEvents {
				s.events = append(s.events, e)
			}
			return !s.rejectEvents
		},
		Meta: func(id mesh.ConnID) Meta {
			if m := s.metas[id]; m != nil {
				return m
			}
			return nil
		},
		Now: func() time.Time { return s.time },
	})
	s.tx, s.rx, s.work = newTransmitter(s.Plane), newReceiver(s.Plane, 0), newWorker(s.Plane)
	return s
}

// runWorker does what the worker would have done meanwhile.
func (s *station) runWorker() {
	in := &s.inbox
	for len(in.commands)+len(in.tunnelled)+len(in.packets)+len(in.published) > 0 {
		s.work.begin()
		s.work.drain()
	}
}

func (s *station) SendProbe(e mesh.SendProbe)          { s.Plane.SendProbe(e); s.runWorker() }
func (s *station) SendEcho(e mesh.SendEcho)            { s.Plane.SendEcho(e); s.runWorker() }
func (s *station) SendRecord(r mesh.SendRecord)        { s.Plane.SendRecord(r); s.runWorker() }
func (s *station) Tunnelled(e mesh.TunnelledData)      { s.Plane.Tunnelled(e); s.runWorker() }
func (s *station) FromMeta(hop node.Name, blob []byte) { s.Plane.FromMeta(hop, blob); s.runWorker() }
func (s *station) FrameFromMeta(hop node.Name, frame []byte) {
	s.Plane.FrameFromMeta(hop, frame)
	s.runWorker()
}
func (s *station) PublishPeers(list []mesh.PeerState) { s.Plane.PublishPeers(list); s.runWorker() }

// out makes the device deliver a packet, and sends the result.
func (s *station) out(p []byte, off device.Offload) []udp.Run {
	s.tx.now = s.now()
	copy(s.tx.in[inHead:], p)
	s.tx.packet(len(p), off)
	s.tx.out.flush()
	return s.sock.take()
}

// receive delivers runs to the station as they would arrive from an address.
func (s *station) receive(from netip.AddrPort, runs ...udp.Run) {
	var batch []udp.Arrival
	for _, r := range runs {
		batch = append(batch, udp.Arrival{From: from, Buf: r.Buf, Size: r.Size})
	}
	s.rx.batch(batch)
}

// takeEvents returns the events since the previous call.
func (s *station) takeEvents() []mesh.Event {
	e := s.events
	s.events = nil
	return e
}

// drops is what Drops counts for a reason.
func (s *station) dropped(r Reason) uint64 { return s.drops[r].count.Load() }

const goodOptions = uint32(wire.PMTUDiscovery|wire.ClampMSS) | 7<<24

// directPeer is a peer that is reached directly by UDP.
func directPeer(name node.Name, addr netip.AddrPort, tun *sptps.Tunnel) mesh.PeerState {
	return mesh.PeerState{
		Node: name, Known: true, Reachable: true, Adjacent: true, Conn: 1, NextHop: name, Via: name,
		Options: goodOptions, Addr: addr, Sock: 0, Confirmed: true, MTU: 1439, MinMTU: 1439, Tunnel: tun,
	}
}

func owned(owner node.Name, subnets ...string) (o []mesh.Owned) {
	for _, s := range subnets {
		sn, err := subnet.Parse(s)
		if err != nil {
			panic(err)
		}
		o = append(o, mesh.Owned{Subnet: sn, Owner: owner, Reachable: true})
	}
	return o
}

// subnets of the nodes a, b and c, and the broadcast subnets.
func plan() mesh.Routes {
	return mesh.Routes{
		Subnets: slices.Concat(
			owned("a", "10.0.0.0/16", "fd00::/32"),
			owned("b", "10.1.0.0/16", "fd00:1::/32"),
			owned("c", "10.2.0.0/16", "fd00:2::/32"),
			owned("", "224.0.0.0/4", "ff00::/8"),
		),
	}
}

// pair is two stations that reach each other directly.
func pair(t testing.TB) (a, b *station) { return pairWith(tunnels(t, "a", "b")) }

// aesPair is pair with AES-256-GCM.
func aesPair(t testing.TB) (a, b *station) { return pairWith(aesTunnels(t, "a", "b")) }

func pairWith(ta, tb *sptps.Tunnel) (a, b *station) {
	a, b = newStation("a", addrA), newStation("b", addrB)
	a.metas[1], b.metas[1] = &recordingMeta{}, &recordingMeta{}
	a.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ta)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", addrA, tb)})
	a.PublishRoutes(plan())
	b.PublishRoutes(plan())
	return a, b
}

// row is three stations in a row: a and c reach each other only through b.
// change may alter what a knows of c (or a nil change leaves UDP through b).
func row(t testing.TB, change func(*mesh.PeerState)) (a, b, c *station) {
	a, b, c = newStation("a", addrA), newStation("b", addrB), newStation("c", addrC)
	for _, s := range []*station{a, b, c} {
		s.metas[1], s.metas[2] = &recordingMeta{}, &recordingMeta{}
		s.PublishRoutes(plan())
	}
	ab, ba := tunnels(t, "a", "b")
	bc, cb := tunnels(t, "b", "c")
	ac, ca := tunnels(t, "a", "c")
	far := func(name node.Name, tun *sptps.Tunnel) mesh.PeerState {
		s := directPeer(name, netip.AddrPort{}, tun)
		s.Adjacent, s.NextHop, s.Via, s.Confirmed, s.MTU, s.MinMTU = false, "b", name, false, 1518, 0
		if change != nil {
			change(&s)
		}
		return s
	}
	onB := directPeer("c", addrC, bc)
	onB.Conn = 2
	a.PublishPeers([]mesh.PeerState{directPeer("b", addrB, ab), far("c", ac)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", addrA, ba), onB})
	c.PublishPeers([]mesh.PeerState{directPeer("b", addrB, cb), far("a", ca)})
	return a, b, c
}

// republish publishes the state of a peer again, changed.
func (s *station) republish(name node.Name, change func(*mesh.PeerState)) {
	_, st := s.known(name)
	ps := st.PeerState
	change(&ps)
	s.PublishPeers([]mesh.PeerState{ps})
}

package dataplane

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/sptps"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// blockedDevice is a device and a socket that block until they are released.
type blockedDevice struct {
	recordingSocket
	*recorder
	release chan struct{}
	waiting chan struct{} // one for each call that waits
}

func (s *blockedDevice) wait() {
	select {
	case s.waiting <- struct{}{}:
	default:
	}
	<-s.release
}
func (s *blockedDevice) Write([]byte, int, device.Offload) error { s.wait(); return nil }
func (s *blockedDevice) Send([]udp.Run) error                    { s.wait(); return nil }
func (s *blockedDevice) Close() error                            { return nil }

// Whatever the protocol core sends, a device and sockets that block do not block the protocol core.
func TestTheProtocolCoreNeverWaits(t *testing.T) {
	a, b := pair(t)
	_, st := b.known("a")
	tun := st.Tunnel
	_, ofB := a.known("b")
	seal := func() []byte {
		record := ofB.Tunnel.Seal(nil, append([]byte{wire.TypeIP}, ip{payload: 10}.build()...))
		return append(wire.AppendIDs(nil, b.selfID, a.selfID), record...)
	}
	// A packet waits for the session of a, and a record came before it.
	b.republish("a", func(s *mesh.PeerState) { s.Tunnel, s.Adjacent = nil, false })
	b.out(ip{src: "10.1.0.1", dst: "10.0.0.1"}.build(), device.Offload{})
	b.FromMeta("a", seal())
	if len(b.pending.waiting) != 1 || len(b.work.early.waiting) != 1 {
		t.Fatalf("%d packets and %d records wait", len(b.pending.waiting), len(b.work.early.waiting))
	}

	s := &blockedDevice{recordingSocket: recordingSocket{local: addrB}, recorder: b.dev, release: make(chan struct{}), waiting: make(chan struct{}, 1)}
	b.cfg.Device, b.cfg.Sockets[0] = s, s
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		b.work.run(ctx)
	}()

	done := make(chan struct{})
	go func() {
		defer close(done)
		now := st.PeerState
		now.Tunnel = tun
		b.Plane.PublishPeers([]mesh.PeerState{now})
		<-s.waiting // the worker has begun, and holds the locks of the slow path
		b.Plane.SetOptions(Options{DecrementTTL: true})
		for range maxCommands {
			b.Plane.SendProbe(mesh.SendProbe{Node: "a", Addr: addrA, Data: make([]byte, 100)})
			b.Plane.SendEcho(mesh.SendEcho{Node: "a", Data: make([]byte, 100)})
			b.Plane.Tunnelled(mesh.TunnelledData{From: "a", To: "b", Hop: "a", Record: seal()[idsLen:]})
		}
		b.Plane.PublishRoutes(plan())
		for range 3 { // sessions that begin, of which the worker is told
			now.Tunnel = nil
			b.Plane.PublishPeers([]mesh.PeerState{now})
			now.Tunnel = tun
			b.Plane.PublishPeers([]mesh.PeerState{now})
		}
		now.Known = false
		b.Plane.PublishPeers([]mesh.PeerState{now})
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the protocol core waits for the device or a socket")
	}
	if n := b.dropped(InboxFull); n != 3*maxCommands-(maxCommands+maxTunnelled) {
		t.Errorf("%d of %d dropped, want all above %d", n, 3*maxCommands, maxCommands+maxTunnelled)
	}
	close(s.release)
	stop()
	<-worked
}

// Flooding one queue of the inbox does not starve the others.
func TestTheWorkerIsFair(t *testing.T) {
	a, _ := pair(t)
	probe := func(n int) {
		for range n {
			a.Plane.SendProbe(mesh.SendProbe{Node: "b", Addr: addrB, Data: []byte{0}})
		}
	}
	packets := func(n int) {
		for range n {
			a.Plane.FromMeta("b", make([]byte, minDatagram))
		}
	}
	probe(maxCommands)
	packets(10)
	a.work.drain()
	if n := len(a.inbox.packets); n != 0 {
		t.Errorf("%d packets wait while there are probes", n)
	}
	for len(a.inbox.commands) > 0 {
		a.work.drain()
	}
	a.sock.take()
	packets(maxPackets)
	probe(10)
	a.work.drain()
	if n := len(a.sock.take()); n != 10 {
		t.Errorf("%d probes of 10 were sent while there are packets", n)
	}
}

// A reader of a meta connection waits while the inbox is full, and no longer than the plane runs.
func TestReadersWaitWhileTheInboxIsFull(t *testing.T) {
	a, _ := pair(t)
	for range maxPackets {
		a.Plane.FromMeta("b", make([]byte, minDatagram))
	}
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		a.Plane.FromMeta("b", make([]byte, minDatagram))
	}()
	select {
	case <-waited:
		t.Fatal("a packet found room where there was none")
	case <-time.After(10 * time.Millisecond):
	}
	a.work.drain()
	<-waited
	for len(a.inbox.packets) < maxPackets {
		a.Plane.FromMeta("b", make([]byte, minDatagram))
	}
	close(a.inbox.closed)
	a.Plane.FromMeta("b", make([]byte, minDatagram))
	if n := a.dropped(InboxFull); n != 0 {
		t.Errorf("%d packets dropped", n)
	}
}

// payloads is the payload length of each packet, by which the tests below tell them apart.
func payloads(t *testing.T, got []written) (list []int) {
	t.Helper()
	for _, p := range flat(t, got) {
		list = append(list, int(binary.BigEndian.Uint16(p[2:]))-40)
	}
	return list
}

// Pending packets are sent before the next packet from the device, even if the worker has not yet been
// scheduled.
func TestPendingPacketsAreSentBeforeNewOnes(t *testing.T) {
	a, b := pair(t)
	var tun *sptps.Tunnel
	a.republish("b", func(s *mesh.PeerState) { tun, s.Tunnel, s.Adjacent = s.Tunnel, nil, false })
	for n := range 3 {
		a.out(ip{payload: n + 1}.build(), device.Offload{})
	}
	_, st := a.known("b")
	now := st.PeerState
	now.Tunnel = tun
	a.Plane.PublishPeers([]mesh.PeerState{now})
	b.receive(addrA, a.out(ip{payload: 4}.build(), device.Offload{})...)
	a.runWorker()
	b.receive(addrA, a.sock.take()...)
	if got := payloads(t, b.dev.take()); !slices.Equal(got, []int{1, 2, 3, 4}) {
		t.Errorf("packets %v arrived", got)
	}
}

// Records that arrived before their keys are opened before the one that arrives after the keys.
func TestEarlyRecordsAreOpenedBeforeLaterOnes(t *testing.T) {
	a, b := pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Adjacent, s.MinMTU, s.Confirmed = false, 0, false })
	for n := range 3 {
		a.out(ip{payload: n + 1}.build(), device.Offload{})
	}
	blobs := a.metas[1].blobs
	var tun *sptps.Tunnel
	b.republish("a", func(s *mesh.PeerState) { tun, s.Tunnel = s.Tunnel, nil })
	b.FromMeta("a", blobs[0])
	b.FromMeta("a", blobs[1])
	_, st := b.known("a")
	now := st.PeerState
	now.Tunnel = tun
	b.Plane.FromMeta("a", blobs[2]) // the worker sees it first, and the new session after it
	b.Plane.PublishPeers([]mesh.PeerState{now})
	b.work.packet(<-b.inbox.packets)
	b.runWorker()
	if got := payloads(t, b.dev.take()); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("packets %v arrived", got)
	}
}

// New sessions of other nodes do not use up the one attempt that an early record has.
func TestEarlyRecordsWaitForTheirOwnKeys(t *testing.T) {
	a, b := pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Adjacent, s.MinMTU, s.Confirmed = false, 0, false })
	a.out(ip{payload: 1}.build(), device.Offload{})
	var right *sptps.Tunnel
	_, wrong := tunnels(t, "a", "b")
	b.republish("a", func(s *mesh.PeerState) { right, s.Tunnel = s.Tunnel, wrong })
	b.FromMeta("a", a.metas[1].blobs[0])
	c, _ := tunnels(t, "b", "c")
	b.PublishPeers([]mesh.PeerState{directPeer("c", addrC, c)})
	b.republish("a", func(s *mesh.PeerState) { s.Tunnel = right })
	if got := payloads(t, b.dev.take()); !slices.Equal(got, []int{1}) {
		t.Errorf("packets %v arrived", got)
	}
}

func TestMetaPacketsDoNotAllocate(t *testing.T) {
	a, b := pair(t)
	a.cfg.Meta = func(mesh.ConnID) Meta { return metaTo{b} }
	b.cfg.Device = &discardDevice{}
	a.republish("b", func(s *mesh.PeerState) { s.Options |= uint32(wire.TCPOnly) })
	p := ip{payload: 1300}.build()
	a.tx.now = a.now()
	send := func() {
		copy(a.tx.in[inHead:], p)
		a.tx.packet(len(p), device.Offload{})
	}
	send()
	if n := testing.AllocsPerRun(100, send); n >= 1 { // the garbage collector may empty the pool
		t.Errorf("%v allocations for each packet", n)
	}
	if drops := b.Drops(); len(drops) > 0 {
		t.Errorf("drops %v", drops)
	}
}

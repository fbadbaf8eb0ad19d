// Package dataplane carries packets: from the virtual interface through the
// session of their destination to UDP sockets and meta connections, and back.
//
// It makes no decisions about the mesh. The protocol core publishes its state (peers,
// routes), and the data plane reports what only it can observe (traffic without
// a session, probes, source addresses) through [Config].Event, which never blocks.
//
// # The journey of a packet out (out.go)
//
//  1. One read of the device gives a packet, or a super-packet of up to 64 KiB.
//  2. One lookup of route, owner and relay serves all of it.
//  3. It is segmented without copying: the headers of a segment overwrite
//     the tail of the previous one, which has already been sealed.
//  4. All are sealed under one lock of the [sptps.Tunnel] into the transmit batch,
//     after the two ids, and hidden if the next hop takes that (masked.go).
//  5. When the device has no more packets, or the batch is full, it is sent as runs of
//     equally long datagrams.
//
// # The journey of a packet in (in.go)
//
//  1. One receive gives runs of datagrams. Those that are hidden are shown (masked.go). The source id of each finds its session.
//  2. It is opened directly after the super-packet being coalesced.
//  3. If it continues that flow it stays there, else the super-packet is written to
//     the device and a new one begins. What cannot be coalesced is written alone,
//     immediately and in order. After each receive everything is written.
//  4. Datagrams for another node are relayed unchanged, in runs.
//
// Everything unusual goes from these two fast paths to the slow path (slow.go), packet by packet.
// The records that it seals are sent with the rest of the batch.
//
// # Frames (frames.go)
//
// The modes switch and hub carry whole Ethernet frames, in records of their own type. From the
// frames that the device delivers the protocol core learns which MAC addresses are local.
//
// # Nodes of tinc 1.0 (legacy.go)
//
// They have neither ids nor end-to-end sessions, but a legacy.Link with every
// node that opens their packets. Each fast path has one branch for them: outbound,
// if the owner of a packet is such a node, to the node that opens it for the owner; inbound, if
// a datagram does not begin with our id, by its address or its message code. What they send
// to other nodes is opened, routed and sealed again.
//
// # Several cores (parallel.go)
//
// With much traffic, on machines that have more than two cores, super-packets are sealed and runs of datagrams opened
// by several goroutines. Routing, record numbers and sending, the replay window and coalescing stay in order.
//
// # Goroutines and locks
//
// One goroutine reads the device (and one the door, if there is one), one receives from each socket, and one, the worker, handles
// the rest: probes and echoes of the protocol core, and packets from meta connections
// (inbox.go). Each owns its buffers. Another one detects peers that no longer answer, while there is
// traffic (silence.go).
//
// The protocol core only posts and publishes; it takes no lock of the data plane. The state of peers, routes and
// options is read through atomic pointers. The locks are between the goroutines above: the slow path, and within it
// one of: a session (shared with the protocol core, which changes its keys), the device, a socket, the queue of
// packets pending for a session. [Config].Event and Meta are called with locks held: they must not call back.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/device"
	"tincan/internal/flow"
	"tincan/internal/mask"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/subnet"
	"tincan/internal/udp"
)

// Meta is the data channel of one meta connection. Its methods never block and
// copy what they keep; false means that the packet was dropped.
type Meta interface {
	// TrySPTPS sends an SPTPS_PACKET: destination id 6 | source id 6 | record.
	TrySPTPS(blob []byte) bool
	// TryPacket sends a PACKET: a frame with its Ethernet header.
	TryPacket(frame []byte) bool
	// TryRequest sends one request (for hops that know no SPTPS_PACKET).
	TryRequest(text string) bool
}

// Config is what a plane works with. Self, Device, Event and Meta must be set.
type Config struct {
	Self    node.Name
	Device  device.Device
	Sockets []udp.Socket
	// Door, if set, is a second virtual interface, for devices (see door.go): what is for their addresses is written to it. Its Write
	// may be called by several goroutines at once, and must not wait. Only without Ethernet, and with [route.ByAddress].
	Door device.Device
	// Event reports to the protocol core. It must not block; false means that
	// the report was dropped, and the plane reports again on the next occasion.
	Event func(mesh.Event) bool
	// Meta finds the data channel of a connection, nil if it is closed.
	Meta    func(mesh.ConnID) Meta
	Options Options
	// Mode is what packets are routed by.
	Mode route.Mode
	// Ethernet is set if the device carries frames. If it does not in a mode that
	// routes frames, packets get a header without addresses.
	Ethernet bool
	// Mask is with what others hide datagrams that they send to this node; nil: they do not.
	Mask *mask.Mask
	// MAC is the address of an Ethernet device. Only [route.ByAddress] uses it.
	MAC [6]byte
	// Compression is the level that we announced to nodes with an SPTPS session.
	Compression int
	Now         func() time.Time // nil: time.Now
	// LocalAddr is the address the kernel would use towards another, the source
	// of time exceeded messages; may be nil.
	LocalAddr func(towards netip.Addr) netip.Addr
	// Workers is how many goroutines seal and open while there is much traffic. 0: none, each direction
	// has one goroutine only.
	Workers int
	// SocketFailed, if set, is called for a socket that can no longer receive. The plane retries it at intervals;
	// meanwhile peers use other paths.
	SocketFailed func(local netip.AddrPort, err error)
}

// Plane is the packet path of one node.
type Plane struct {
	Devices Devices // that are no nodes, see door.go
	Outside Outside // where packets leave the mesh

	cfg    Config
	self   *peer // this node, as an owner of routes; has no state
	selfID node.ID
	start  time.Time

	options atomic.Pointer[Options]
	dir     atomic.Pointer[directory]
	routes  atomic.Pointer[routes]
	tap     atomic.Pointer[func([]byte)]

	names     map[node.Name]*peer // belongs to the publishing goroutine
	broadcast *peer               // the owner of broadcast subnets

	inbox    inbox
	routing  sync.Mutex // held while a packet is on the slow path
	router   *route.Router
	routerOf *Options // what router was made of
	view     routerView
	device   sync.Mutex // held while the device is written
	pending  pendingQueue
	opened   atomic.Bool // some pending packets may be ready
	drops    [reasonCount]dropped
	unrouted [route.Reasons]dropped
	relayed  pairPacer
	watching atomic.Bool   // watch is running its checks
	wake     chan struct{} // one token, for watch
	loops    loopDetector
	searched pacer  // the last search among all legacy nodes
	v4       []bool // by socket: it is an IPv4 socket
	bridging bool   // frames are routed, not packets
	filter   *flow.Filter
	workers  *workers // nil: there are none
	highLoad float64  // from how many bytes a second on they work
}

// New returns a plane that knows no peers and no routes. It takes over the device and
// the sockets: [Plane.Run] closes them.
func New(cfg Config) *Plane {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Plane{
		cfg:       cfg,
		self:      newPeer(cfg.Self),
		broadcast: newPeer(""),
		names:     make(map[node.Name]*peer),
		pending:   pendingQueue{maxAge: maxPendingAge, perPeer: maxPendingPerPeer, max: maxPending},
		inbox:     newInbox(),
		wake:      make(chan struct{}, 1),
		loops:     loopDetector{seed: maphash.MakeSeed()},
	}
	p.selfID, p.Outside = p.self.id, Outside{p}
	p.bridging = cfg.Mode != route.ByAddress
	// Times are counted from an hour before the start, so that zero means never.
	p.start = cfg.Now().Add(-time.Hour)
	p.filter = newFilter(cfg.Self, p.start)
	p.Devices.filter = p.filter
	if cfg.Workers > 0 {
		p.workers, p.highLoad = newWorkers(cfg.Workers), highLoad
	}
	for _, s := range cfg.Sockets {
		p.v4 = append(p.v4, s.Local().Addr().Unmap().Is4())
	}
	p.SetOptions(cfg.Options)
	p.dir.Store(&directory{})
	p.routes.Store(&routes{table: subnet.Build[*peer](nil)})
	return p
}

// Run moves packets until ctx ends, then closes the device and the sockets, waits for
// its goroutines and returns nil. It returns early, with the reason, if
// the device fails for good. A socket that fails is tried again for ever. It must be called once.
func (p *Plane) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	run := func(what string, loop func(context.Context) error) {
		wg.Go(func() {
			if err := loop(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	run("read from the virtual interface", newTransmitter(p).run)
	if p.cfg.Door != nil {
		run("read from the door", newTransmitterOf(p, p.cfg.Door).run)
	}
	run("watch for silence", p.watch)
	run("send and open packets of meta connections", newWorker(p).run)
	for i, s := range p.cfg.Sockets {
		run("receive on "+s.Local().String(), newReceiver(p, i).run)
	}

	<-ctx.Done()
	close(p.inbox.closed)
	p.cfg.Device.Close()
	if p.cfg.Door != nil {
		p.cfg.Door.Close()
	}
	for _, s := range p.cfg.Sockets {
		s.Close()
	}
	wg.Wait()
	if p.workers != nil {
		p.workers.end()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

const (
	maxFailures = 10 // in a row, of a device or socket that may recover
	// socketPause is the time between two attempts to receive from a failing socket.
	socketPause = 5 * time.Second
)

// retryLimit bounds how often a failing device or socket is tried again.
type retryLimit struct{ failures int }

// exhausted counts err, another failure in a row, and reports whether the limit has been reached; if
// not, it has waited before the next attempt.
func (f *retryLimit) exhausted(ctx context.Context, err error) bool {
	f.failures++
	if ctx.Err() != nil || errors.Is(err, os.ErrClosed) || f.failures > maxFailures {
		return true
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond << f.failures):
	}
	return ctx.Err() != nil
}

// now is the time since a moment before the start, never zero. It is read once per batch.
func (p *Plane) now() time.Duration { return p.cfg.Now().Sub(p.start) }

// event reports to the protocol core if pace allows, and returns whether the report was accepted.
func (p *Plane) event(pace *pacer, now, every time.Duration, make func() mesh.Event) bool {
	before, ok := pace.try(now, every)
	if !ok {
		return false
	}
	if !p.cfg.Event(make()) {
		pace.undo(now, before)
		return false
	}
	return true
}

// traffic reports that there are packets for to.
func (p *Plane) traffic(to *peer, now time.Duration) {
	if to.traffic.tooSoon(now, trafficEvery) {
		return
	}
	p.event(&to.traffic, now, trafficEvery, func() mesh.Event { return mesh.Traffic{Node: to.name} })
}

// socketFor is the index of the socket to use towards addr: want if it is of
// the right family, else the first that is, else -1.
func (p *Plane) socketFor(addr netip.AddrPort, want int) int {
	v4 := addr.Addr().Is4()
	if want >= 0 && want < len(p.v4) && p.v4[want] == v4 {
		return want
	}
	for i := range p.v4 {
		if p.v4[i] == v4 {
			return i
		}
	}
	return -1
}

// send sends runs on a socket. to is the peer they go to, nil if there are several.
func (p *Plane) send(sock int, runs []udp.Run, to *peer) {
	err := p.cfg.Sockets[sock].Send(runs)
	if err == nil {
		return
	}
	var long *udp.TooLong
	if !errors.As(err, &long) {
		p.drop(SendFailed)
		return
	}
	p.drop(TooLongForPath)
	if to == nil {
		to = p.dir.Load().at(long.To)
	}
	if to != nil {
		p.event(&to.tooLong, p.now(), tooLongEvery, func() mesh.Event { return tooLong(to, long) })
	}
}

// tooLong is the event that the kernel refused a datagram for a peer.
func tooLong(to *peer, e *udp.TooLong) mesh.TooLong {
	if s := to.state.Load(); s.speaksLegacy() {
		return mesh.TooLong{Node: to.name, Size: legacyFrameOf(s.Legacy, e.Size)}
	}
	return mesh.TooLong{Node: to.name, Size: e.Size - minDatagram}
}

// write writes the packet buf[start:] to the device.
func (p *Plane) write(buf []byte, start int, off device.Offload) {
	if p.tryWrite(buf, start, off) != nil {
		p.drop(DeviceFailed)
	}
}

func (p *Plane) tryWrite(buf []byte, start int, off device.Offload) error {
	if p.cfg.Door != nil && p.Devices.isFor(buf[start:]) {
		return p.cfg.Door.Write(buf, start, off)
	}
	p.device.Lock()
	defer p.device.Unlock()
	return p.cfg.Device.Write(buf, start, off)
}

// SetTap passes every routed packet to f, as a frame with an Ethernet header, which f may not
// keep. nil removes the tap. While it is set every packet takes the slow path, one by one.
func (p *Plane) SetTap(f func(frame []byte)) {
	if f == nil {
		p.tap.Store(nil)
		return
	}
	p.tap.Store(&f)
}

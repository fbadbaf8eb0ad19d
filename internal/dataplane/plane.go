// Package dataplane carries packets: from the virtual interface through the
// session of their destination to UDP sockets and meta connections, and back.
//
// It decides nothing about the mesh. The protocol core publishes what it knows (peers,
// routes) and the data plane reports what it alone can see (traffic without
// a session, probes, addresses heard) through [Config].Event, which never blocks.
//
// # The journey of a packet out (out.go)
//
//  1. One read of the device gives a packet, or a super-packet of up to 64 KiB.
//  2. One lookup of route, owner and relay serves all of it.
//  3. It is cut into segments without copying: the headers of a segment are
//     written over the tail of the one before, which is sealed already.
//  4. All are sealed under one lock of the [sptps.Tunnel] into the out buffer,
//     after the two ids.
//  5. When nothing waits in the device, or the buffer is full, it leaves as runs of
//     equal datagrams.
//
// # The journey of a packet in (in.go)
//
//  1. One receive gives runs of datagrams. The source id of each finds its session.
//  2. It is opened directly after the super-packet that is being built.
//  3. If it continues that flow it stays there, else the super-packet is written to
//     the device and a new one begins. Whatever cannot be joined is written alone,
//     at once and in order. After each receive everything is written.
//  4. Datagrams for another node are passed on as they came, in runs.
//
// Everything unusual leaves these two fast paths for the slow path (slow.go), packet by packet.
// What it seals on the way leaves with the rest of the batch.
//
// # Frames (frames.go)
//
// In the modes switch and hub not packets are carried but whole Ethernet frames, in records of
// a type of their own. What comes from the device teaches the protocol core which MAC addresses
// are on our side.
//
// # Nodes of tinc 1.0 (legacy.go)
//
// They have no ids and no sessions from end to end, but a legacy.Link with every
// node that opens their packets. The fast paths take them in one branch each: out,
// where a packet's owner is one, to the node that opens it for the owner; in, where
// a datagram has no id of ours, by its address or its message code. What they send
// for others is opened, routed and sealed again.
//
// # Goroutines and locks
//
// One goroutine reads the device, one receives from each socket, and one, the worker, carries what comes
// from elsewhere: what the protocol core sends (probes, echoes) and what meta connections bring
// (inbox.go). Each owns its buffers. One more looks for peers that have fallen silent, while there is
// traffic (silence.go).
//
// The protocol core posts and publishes, and takes no lock of the data plane. State of peers, routes and options
// is read through atomic pointers. The locks are between the goroutines above: the slow path, and within it one of: a
// session (shared with the protocol core, which changes its keys), the device, a socket, the packets that wait for a
// session. [Config].Event and Meta are called with locks held: they must not call back.
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
	// Event takes a report for the protocol core. It must not block; false means that
	// it was dropped, and the plane reports again when there is a new occasion.
	Event func(mesh.Event) bool
	// Meta finds the data channel of a connection, nil if it is gone.
	Meta    func(mesh.ConnID) Meta
	Options Options
	// Mode says by what packets are routed.
	Mode route.Mode
	// Ethernet says that the device carries frames. If it does not in a mode that
	// routes frames, packets get a header without addresses.
	Ethernet bool
	// MAC is the address of an Ethernet device. Only [route.ByAddress] asks for it.
	MAC [6]byte
	// Compression is the level that nodes with an SPTPS session were told to pack with.
	Compression int
	Now         func() time.Time // nil: time.Now
	// LocalAddr is the address the kernel would use towards another, the source
	// of time exceeded messages; may be nil.
	LocalAddr func(towards netip.Addr) netip.Addr
	// SocketFailed, if set, is told about a socket that cannot receive any more. It is tried again now and then; what
	// would come in by it takes other ways.
	SocketFailed func(local netip.AddrPort, err error)
}

// Plane is the packet path of one node.
type Plane struct {
	cfg    Config
	self   *peer // ourselves, as an owner of routes; has no state
	selfID node.ID
	start  time.Time

	options atomic.Pointer[Options]
	dir     atomic.Pointer[directory]
	routes  atomic.Pointer[routes]
	tap     atomic.Pointer[func([]byte)]

	names    map[node.Name]*peer // belongs to whoever publishes
	everyone *peer               // the owner of broadcast subnets

	inbox    inbox
	routing  sync.Mutex // held while a packet is on the slow path
	router   *route.Router
	routerOf *Options // what router was made of
	world    world
	device   sync.Mutex // held while the device is written
	held     pendingQueue
	opened   atomic.Bool // some of held may be ready
	drops    [reasonCount]dropped
	unrouted [route.Reasons]dropped
	relayed  pairPacer
	watching atomic.Bool   // watch is awake
	wake     chan struct{} // one token, for watch
	loops    loopDetector
	searched pacer  // the last search among all legacy nodes
	v4       []bool // by socket: it is one for IPv4
	bridging bool   // frames are routed, not packets
}

// New returns a plane that knows no peers and no routes. It takes over the device and
// the sockets: [Plane.Run] closes them.
func New(cfg Config) *Plane {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Plane{
		cfg:      cfg,
		self:     newPeer(cfg.Self),
		everyone: newPeer(""),
		names:    make(map[node.Name]*peer),
		held:     pendingQueue{patience: holdFor, perPeer: maxHeldPerPeer, most: maxHeld},
		inbox:    newInbox(),
		wake:     make(chan struct{}, 1),
		loops:    loopDetector{seed: maphash.MakeSeed()},
	}
	p.selfID = p.self.id
	p.bridging = cfg.Mode != route.ByAddress
	// Times are counted from an hour before the start, so that zero means never.
	p.start = cfg.Now().Add(-time.Hour)
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
	run("watch for silence", p.watch)
	run("carry what others bring", newWorker(p).run)
	for i, s := range p.cfg.Sockets {
		run("receive on "+s.Local().String(), newReceiver(p, i).run)
	}

	<-ctx.Done()
	close(p.inbox.closed)
	p.cfg.Device.Close()
	for _, s := range p.cfg.Sockets {
		s.Close()
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

const (
	maxFailures = 10 // in a row, of a device or socket that may recover
	// socketPause is the time between two attempts to receive from a socket that does not.
	socketPause = 5 * time.Second
)

// retryLimit bounds how long a failing device or socket is tried again.
type retryLimit struct{ failures int }

// exhausted tells whether err, one more in a row, is the last straw; if not it has
// waited a moment.
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

// event reports e to the protocol core if pace allows, and tells whether it was taken.
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

// traffic reports that packets for to are there.
func (p *Plane) traffic(to *peer, now time.Duration) {
	if to.traffic.quiet(now, trafficEvery) {
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

// tooLong is the news that the kernel refused a datagram for a peer.
func tooLong(to *peer, e *udp.TooLong) mesh.TooLong {
	if s := to.state.Load(); s.speaksLegacy() {
		return mesh.TooLong{Node: to.name, Size: legacyFrameOf(s.Legacy, e.Size)}
	}
	return mesh.TooLong{Node: to.name, Size: e.Size - minDatagram}
}

// write gives the packet buf[start:] to the device.
func (p *Plane) write(buf []byte, start int, off device.Offload) {
	if p.tryWrite(buf, start, off) != nil {
		p.drop(DeviceFailed)
	}
}

func (p *Plane) tryWrite(buf []byte, start int, off device.Offload) error {
	p.device.Lock()
	defer p.device.Unlock()
	return p.cfg.Device.Write(buf, start, off)
}

// SetTap makes f see every packet that is routed, as a frame with an Ethernet
// header, which f may not keep. nil removes it. While it is set every packet takes the slow
// path, one by one.
func (p *Plane) SetTap(f func(frame []byte)) {
	if f == nil {
		p.tap.Store(nil)
		return
	}
	p.tap.Store(&f)
}

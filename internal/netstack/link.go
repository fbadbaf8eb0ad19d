package netstack

import (
	"os"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// The path of a packet.
//
// Out: a socket writes, and the stack calls WritePackets with one packet, or with a super-packet of TCP of up to 64 KiB whose checksum is not
// complete. It waits in the queue until the node reads it. If the queue is full the packet is lost, and TCP sends it again.
//
// In: the node writes a packet, or a super-packet of TCP that it has joined. The stack gets a copy, and puts it into a socket; nothing
// there waits for anybody.

const (
	// The queue out has at most so many packets, and so many bytes.
	queuePackets = 1024
	queueBytes   = 8 << 20
)

// link is between stack and node: an interface of the stack, and the device of the node.
type link struct {
	endpoint *endpoint
	buffers  atomic.Int64 // the largest of TCP, in bytes

	mu     sync.Mutex
	queue  [queuePackets]*stack.PacketBuffer // a ring
	first  int
	count  int
	bytes  int
	closed bool
	wake   chan struct{} // something is in the queue, or the device is closed
	end    func()        // ends the stack
}

func newLink(mtu int, end func()) *link {
	l := &link{wake: make(chan struct{}, 1), end: end}
	l.endpoint = &endpoint{link: l}
	l.endpoint.mtu.Store(uint32(mtu))
	return l
}

// put queues a packet, and reports whether there was room.
func (l *link) put(p *stack.PacketBuffer) bool {
	size := p.Size()
	l.mu.Lock()
	if l.closed || l.count == queuePackets || l.bytes+size > queueBytes {
		l.mu.Unlock()
		return false
	}
	l.queue[(l.first+l.count)%queuePackets] = p.IncRef()
	l.count++
	l.bytes += size
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the first packet of the queue, nil if there is none.
func (l *link) take() (p *stack.PacketBuffer, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 {
		return nil, l.closed
	}
	p = l.queue[l.first]
	l.queue[l.first] = nil
	l.first = (l.first + 1) % queuePackets
	l.count--
	l.bytes -= p.Size()
	return p, false
}

// Name: it has none.
func (l *link) Name() string { return "" }

func (l *link) Read(buf []byte) (int, device.Offload, error) {
	for {
		n, off, err := l.TryRead(buf)
		if err != device.ErrAgain {
			return n, off, err
		}
		<-l.wake
	}
}

func (l *link) TryRead(buf []byte) (int, device.Offload, error) {
	for {
		p, closed := l.take()
		if closed {
			return 0, device.Offload{}, os.ErrClosed
		}
		if p == nil {
			return 0, device.Offload{}, device.ErrAgain
		}
		n := 0
		for _, part := range p.AsSlices() {
			n += copy(buf[n:], part)
		}
		off, fits := offload(p, n), n == p.Size()
		p.DecRef()
		if fits {
			return n, off, nil
		}
	}
}

// offload says what is left to do with a packet of n bytes.
func offload(p *stack.PacketBuffer, n int) (off device.Offload) {
	g := &p.GSOOptions
	if g.Type == stack.GSONone {
		return off
	}
	if g.NeedsCsum {
		off.NeedsCsum, off.CsumStart, off.CsumOffset = true, g.L3HdrLen, g.CsumOffset
	}
	if hdr := p.HeaderSize(); g.MSS > 0 && n-hdr > int(g.MSS) {
		off.GSO, off.HdrLen, off.GSOSize = device.GSOTCPv4, uint16(hdr), g.MSS
		if g.Type == stack.GSOTCPv6 {
			off.GSO = device.GSOTCPv6
		}
	}
	return off
}

func (l *link) Write(buf []byte, start int, off device.Offload) error {
	if start >= len(buf) {
		return nil
	}
	if off.GSO == device.GSOUDP {
		return device.ErrRefused
	}
	// What lacks its checksum was joined by the node, of packets whose checksums were right.
	if !off.NeedsCsum && !sound(buf[start:]) {
		return nil
	}
	protocol := header.IPVersion(buf[start:])
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(buf[start:])})
	defer p.DecRef()
	d := l.endpoint.dispatcher()
	switch {
	case d == nil:
		return os.ErrClosed
	case protocol == header.IPv4Version:
		d.DeliverNetworkPacket(ipv4.ProtocolNumber, p)
	case protocol == header.IPv6Version:
		d.DeliverNetworkPacket(ipv6.ProtocolNumber, p)
	}
	return nil
}

// sound reports whether the checksum of a packet is right, as far as there is one: the stack does not look at those of TCP and UDP.
func sound(p []byte) bool {
	h, ok := packet.Parse(p)
	switch {
	case !ok || h.Fragment:
		return true // the stack says what becomes of it
	case h.Proto == packet.ProtoUDP && h.Version == 4 && h.Transport+packet.UDPLen <= h.Total && p[h.Transport+packet.UDPSumOffset]|p[h.Transport+packet.UDPSumOffset+1] == 0:
		return true // it has none
	case h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP:
		return packet.TransportSumOK(p, h)
	}
	return true
}

// MaxSegments: TCP gets packets of any length. Datagrams must stay apart.
func (l *link) MaxSegments(g device.GSOType) int {
	if g == device.GSOTCPv4 || g == device.GSOTCPv6 {
		return device.MaxPacket
	}
	return 0
}

func (l *link) Close() error {
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	for ; l.count > 0; l.count-- {
		l.queue[l.first].DecRef()
		l.queue[l.first] = nil
		l.first = (l.first + 1) % queuePackets
	}
	l.bytes = 0
	l.mu.Unlock()
	if closed {
		return nil
	}
	close(l.wake)
	l.end()
	return nil
}

// endpoint is the interface as the stack sees it.
type endpoint struct {
	link *link
	mtu  atomic.Uint32
	to   atomic.Pointer[stack.NetworkDispatcher]
}

func (e *endpoint) dispatcher() stack.NetworkDispatcher {
	if d := e.to.Load(); d != nil {
		return *d
	}
	return nil
}

// WritePackets takes packets of the stack. Those for which there is no room are lost.
func (e *endpoint) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	n := 0
	for _, p := range list.AsSlice() {
		if !e.link.put(p) {
			break
		}
		n++
	}
	if n == 0 {
		return 0, &tcpip.ErrNoBufferSpace{}
	}
	return n, nil
}

func (e *endpoint) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		e.to.Store(nil)
		return
	}
	e.to.Store(&d)
}

func (e *endpoint) MTU() uint32       { return e.mtu.Load() }
func (e *endpoint) SetMTU(mtu uint32) { e.mtu.Store(mtu) }
func (e *endpoint) IsAttached() bool  { return e.to.Load() != nil }

func (e *endpoint) GSOMaxSize() uint32               { return device.MaxPacket }
func (e *endpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }
func (e *endpoint) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}
func (e *endpoint) MaxHeaderLength() uint16                 { return 0 }
func (e *endpoint) LinkAddress() tcpip.LinkAddress          { return "" }
func (e *endpoint) SetLinkAddress(tcpip.LinkAddress)        {}
func (e *endpoint) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (e *endpoint) AddHeader(*stack.PacketBuffer)           {}
func (e *endpoint) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (e *endpoint) Wait()                                   {}
func (e *endpoint) Close()                                  {}
func (e *endpoint) SetOnCloseAction(func())                 {}

// Package device is the virtual network interface: packets that the kernel sends
// into the VPN are read from a Device, and packets from the VPN are written to it.
//
// It reads and writes packets, and has no notion of routes, nodes or keys.
package device

import (
	"errors"

	"tincan/internal/packet"
)

// ErrAgain is returned by TryRead when no packet is waiting.
var ErrAgain = errors.New("no packet is waiting")

// ErrRefused is returned by Write when the device does not accept a super-packet. Its segments,
// written one by one, may be accepted.
var ErrRefused = errors.New("the device does not accept this super-packet")

// GSOType is how a super-packet is segmented.
type GSOType uint8

const (
	GSONone  GSOType = iota // one ordinary packet
	GSOTCPv4                // TCP over IPv4
	GSOTCPv6                // TCP over IPv6
	GSOUDP                  // UDP (kernel "USO"), IPv4 or IPv6
)

// Offload describes work that the kernel has left to the reader, or that the writer
// leaves to the kernel. The zero value is an ordinary, finished packet.
type Offload struct {
	GSO        GSOType
	NeedsCsum  bool   // the transport checksum field holds only the pseudo-header sum
	HdrLen     uint16 // bytes of IP and transport header; set when GSO is not GSONone
	GSOSize    uint16 // transport payload bytes per segment; set when GSO is not GSONone
	CsumStart  uint16 // offset of the transport header, when NeedsCsum
	CsumOffset uint16 // offset of the checksum field from CsumStart, when NeedsCsum
}

// Headers finds the transport header of the super-packet p, which starts with its IP header, and the length of all headers; 0 if
// p is too short for them. What the kernel says about the latter may include payload.
func (o Offload) Headers(p []byte) (transport int, proto uint8, hdrLen int) {
	transport = int(o.CsumStart)
	if !o.NeedsCsum {
		h, _ := packet.Parse(p)
		transport = h.Transport
	}
	proto = packet.ProtoTCP
	if o.GSO == GSOUDP {
		return transport, packet.ProtoUDP, transport + packet.UDPLen
	}
	if transport+packet.TCPLen > len(p) {
		return transport, proto, 0
	}
	return transport, proto, transport + int(p[transport+12]>>4)*4
}

// Headroom is the number of bytes before a packet that Write may overwrite.
const Headroom = 16

// anySegments is what MaxSegments returns if only [MaxPacket] is a limit.
const anySegments = MaxPacket

// MaxPacket is the largest super-packet that Read returns or Write takes, in bytes.
const MaxPacket = 65535

// CarriesFrames reports whether what d reads and writes begins with an Ethernet header.
func CarriesFrames(d Device) bool {
	f, ok := d.(interface{ frames() bool })
	return ok && f.frames()
}

// Device is a virtual interface. One goroutine may read while another writes;
// neither Read nor Write may be called from two goroutines at once.
type Device interface {
	// Name is the interface's name as the kernel knows it ("" if it has none).
	Name() string
	// Read waits for a packet and puts it at buf[0:n]. buf must hold MaxPacket
	// bytes. On a tun device a packet starts with its IP header, on a tap
	// device with its Ethernet header.
	Read(buf []byte) (n int, off Offload, err error)
	// TryRead is Read without waiting: it returns ErrAgain if there is no packet.
	TryRead(buf []byte) (n int, off Offload, err error)
	// Write delivers the packet buf[start:]. start must be at least Headroom;
	// the bytes just before it are overwritten, the packet is not.
	Write(buf []byte, start int, off Offload) error
	// MaxSegments is how many segments a super-packet of the given type may have for Write
	// to accept it, 0 if it accepts none.
	MaxSegments(GSOType) int
	// Close ends a waiting Read with an error and removes a non-persistent interface.
	Close() error
}

package device

import (
	"encoding/binary"
	"errors"
)

// The virtio_net_hdr that stands before each packet of a Linux tun device with
// IFF_VNET_HDR (linux/virtio_net.h). All fields are in the machine's byte order:
//
//	0 flags u8 | 1 gso_type u8 | 2 hdr_len u16 | 4 gso_size u16 | 6 csum_start u16 | 8 csum_offset u16
const vnetHdrLen = 10

const (
	vnetNeedsCsum = 1 // flags

	vnetGSONone  = 0 // gso_type
	vnetGSOTCPv4 = 1
	vnetGSOTCPv6 = 4
	vnetGSOUDP   = 5
	vnetGSOECN   = 0x80
)

var errVnetHdr = errors.New("virtio header does not fit its packet")

// putVnetHdr writes off as a header into h[:vnetHdrLen].
func putVnetHdr(h []byte, off Offload) {
	_ = h[vnetHdrLen-1]
	h[0], h[1] = 0, vnetGSONone
	switch off.GSO {
	case GSOTCPv4:
		h[1] = vnetGSOTCPv4
	case GSOTCPv6:
		h[1] = vnetGSOTCPv6
	case GSOUDP:
		h[1] = vnetGSOUDP
	}
	if off.NeedsCsum {
		h[0] = vnetNeedsCsum
	} else {
		off.CsumStart, off.CsumOffset = 0, 0
	}
	if off.GSO == GSONone {
		off.HdrLen, off.GSOSize = 0, 0
	}
	ne := binary.NativeEndian
	ne.PutUint16(h[2:], off.HdrLen)
	ne.PutUint16(h[4:], off.GSOSize)
	ne.PutUint16(h[6:], off.CsumStart)
	ne.PutUint16(h[8:], off.CsumOffset)
}

// parseVnetHdr reads the header h of the packet pkt. Everything in the result
// lies inside of pkt; a super-packet that has only one segment is given as an
// ordinary packet.
func parseVnetHdr(h, pkt []byte) (Offload, error) {
	_ = h[vnetHdrLen-1]
	var off Offload
	ne := binary.NativeEndian
	if h[0]&vnetNeedsCsum != 0 {
		off.NeedsCsum = true
		off.CsumStart, off.CsumOffset = ne.Uint16(h[6:]), ne.Uint16(h[8:])
		if int(off.CsumStart)+int(off.CsumOffset)+2 > len(pkt) {
			return Offload{}, errVnetHdr
		}
	}
	switch h[1] &^ vnetGSOECN {
	case vnetGSONone:
		return off, nil
	case vnetGSOTCPv4:
		off.GSO = GSOTCPv4
	case vnetGSOTCPv6:
		off.GSO = GSOTCPv6
	case vnetGSOUDP:
		off.GSO = GSOUDP
	default:
		return Offload{}, errVnetHdr
	}
	// hdr_len is only a hint: for forwarded packets the kernel puts the length
	// of its first buffer there. The true length is in the packet itself.
	if !off.NeedsCsum {
		return Offload{}, errVnetHdr
	}
	hdr := int(off.CsumStart) + 8
	if off.GSO != GSOUDP {
		if len(pkt) < int(off.CsumStart)+20 {
			return Offload{}, errVnetHdr
		}
		hdr = int(off.CsumStart) + int(pkt[off.CsumStart+12]>>4)*4
		if hdr < int(off.CsumStart)+20 {
			return Offload{}, errVnetHdr
		}
	}
	size := ne.Uint16(h[4:])
	if size == 0 || hdr > len(pkt) {
		return Offload{}, errVnetHdr
	}
	if len(pkt)-hdr <= int(size) {
		off.GSO = GSONone
		return off, nil
	}
	off.HdrLen, off.GSOSize = uint16(hdr), size
	return off, nil
}

package device

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

var errNoHeadroom = errors.New("no headroom before the packet, or no packet")

// complete turns the packet buf[start:], which is to be written, into one that a device without offloads
// accepts.
func complete(buf []byte, start int, off Offload) error {
	if start < Headroom || start >= len(buf) {
		return errNoHeadroom
	}
	if off.GSO != GSONone {
		return ErrRefused
	}
	if off.NeedsCsum {
		finishChecksum(buf[start:], off)
	}
	return nil
}

// finishChecksum replaces the pseudo-header sum in a packet by the complete
// Internet checksum (RFC 1071), as a network card would. It leaves packets
// whose offsets point outside alone.
func finishChecksum(pkt []byte, off Offload) {
	start, field := int(off.CsumStart), int(off.CsumStart)+int(off.CsumOffset)
	if field+2 > len(pkt) {
		return
	}
	var sum, carry uint64
	b := pkt[start:]
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	var tail [8]byte
	copy(tail[:], b)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(tail[:]), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	c := ^uint16(sum)
	if c == 0 { // in UDP zero means "no checksum"; 0xffff is the same number
		c = 0xffff
	}
	binary.BigEndian.PutUint16(pkt[field:], c)
}

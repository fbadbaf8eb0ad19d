package flow

import (
	"encoding/binary"

	"tincan/internal/packet"
	"tincan/internal/policy"
)

// parsed is what the filter must know of a packet.
type parsed struct {
	src, dst         policy.Addr
	srcPort, dstPort uint16 // of an ICMP query both are its id
	proto            uint8
	kind             kind
	flags            uint8 // of TCP
	v6               bool
	group            bool // the destination is a group, or everybody
	plain            bool // there is nothing between the IP header and the transport header
	hops             uint8

	fragment fragment
	offset   uint16 // of a later fragment, in units of 8 bytes; of a first one where the next may begin
	id       uint32 // of the fragments

	data []byte // of ICMP: the whole message
}

// kind is what a packet is for the filter.
type kind uint8

const (
	ordinary  kind = iota // it belongs to a flow, or opens one
	query                 // of ICMP, such as an echo request
	answer                // to such a query
	icmpError             // about another packet, which data quotes
	message               // of ICMP, which stands for itself
)

// fragment says which part of a packet this one is.
type fragment uint8

const (
	whole fragment = iota
	first
	later // it has no transport header
)

const (
	protoSCTP    = 132
	maxHeaders   = 8    // extension headers of IPv6
	maxFragments = 8192 // the offsets that a fragment can have, in units of 8 bytes
	sctpLen      = 12
	icmpLen      = 8
	quotedLen    = 8 // of what follows the IP header of a packet that an error quotes
)

// parse reads a packet. It returns false for what contradicts itself, hides where it goes (source routes), or has its
// transport header not in its first fragment.
func parse(p []byte) (d parsed, ok bool) { return parseIP(p, false) }

// parseQuoted reads the beginning of a packet, which an ICMP error has quoted. It may be cut off after 8 bytes of what
// follows its IP header.
func parseQuoted(p []byte) (d parsed, ok bool) {
	d, ok = parseIP(p, true)
	return d, ok && d.fragment != later && d.kind != icmpError
}

func parseIP(p []byte, quoted bool) (d parsed, ok bool) {
	switch packet.Version(p) {
	case 4:
		return d, d.parse4(p, quoted)
	case 6:
		return d, d.parse6(p, quoted)
	}
	return d, false
}

func (d *parsed) parse4(p []byte, quoted bool) bool {
	if len(p) < packet.IPv4Len {
		return false
	}
	hdr, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if hdr < packet.IPv4Len || hdr > len(p) || total < hdr {
		return false
	}
	if total <= len(p) {
		p = p[:total]
	} else if !quoted {
		return false
	}
	if hdr > packet.IPv4Len && sourceRoute(p[packet.IPv4Len:hdr]) {
		return false
	}
	src, dst := binary.BigEndian.Uint32(p[12:]), binary.BigEndian.Uint32(p[16:])
	d.src, d.dst = addr4(src), addr4(dst)
	d.group = dst>>28 == 0xe || dst == 0xffffffff
	d.proto, d.hops, d.plain = p[9], p[8], hdr == packet.IPv4Len
	if src>>28 == 0xe || src == 0xffffffff || d.proto == packet.ProtoICMPv6 {
		return false
	}
	frag := binary.BigEndian.Uint16(p[6:])
	const more = 0x2000
	if !d.part(frag&0x1fff, frag&more != 0, len(p)-hdr, uint32(binary.BigEndian.Uint16(p[4:]))) {
		return quoted
	}
	return d.fragment == later || d.transport(p[hdr:], quoted)
}

// part takes note of a fragment: its offset in units of 8 bytes, whether more follow, and how many bytes it has. It is false
// if no fragment can be like that.
func (d *parsed) part(offset uint16, more bool, size int, id uint32) bool {
	if offset == 0 && !more {
		return true
	}
	d.id, d.plain = id, false
	if more && size%8 != 0 || size == 0 || int(offset)+(size+7)/8 > maxFragments {
		return false
	}
	if offset > 0 {
		d.fragment, d.offset = later, offset
		return true
	}
	d.fragment, d.offset = first, uint16(size/8)
	return true
}

// addr4 is an address of IPv4 as addresses are compared.
func addr4(a uint32) policy.Addr { return policy.Addr{Lo: 0xffff<<32 | uint64(a)} }

// sourceRoute tells whether these options of IPv4 say that the packet goes elsewhere than to its destination, or
// cannot be read.
func sourceRoute(options []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(options) > 0 {
		switch options[0] {
		case end:
			return false
		case nop:
			options = options[1:]
			continue
		case loose, strict:
			return true
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return true
		}
		options = options[options[1]:]
	}
	return false
}

func (d *parsed) parse6(p []byte, quoted bool) bool {
	if len(p) < packet.IPv6Len {
		return false
	}
	total := packet.IPv6Len + int(binary.BigEndian.Uint16(p[4:]))
	if total <= len(p) {
		p = p[:total]
	} else if !quoted {
		return false
	}
	d.src, d.dst, d.v6 = addr6(p[8:]), addr6(p[24:]), true
	d.group = p[24] == 0xff
	d.proto, d.hops, d.plain = p[6], p[7], true
	if p[8] == 0xff || mapped(d.src) || mapped(d.dst) {
		return false
	}
	at, fragmented := packet.IPv6Len, false
	for n := 0; ; n++ {
		switch d.proto {
		case packet.ProtoHopByHop:
			if n > 0 {
				return false
			}
		case packet.ProtoRouting, packet.ProtoDestOptions:
		case packet.ProtoFragment:
			if fragmented || at+8 > len(p) {
				return false
			}
			fragmented = true
			field := binary.BigEndian.Uint16(p[at+2:])
			if !d.part(field>>3, field&1 != 0, len(p)-at-8, binary.BigEndian.Uint32(p[at+4:])) {
				return false
			}
		case packet.ProtoICMP:
			return false
		default:
			return d.transport(p[at:], quoted)
		}
		if n == maxHeaders || at+8 > len(p) {
			return false
		}
		size := 8 + 8*int(p[at+1])
		if d.proto == packet.ProtoFragment {
			size = 8
		}
		if d.proto == packet.ProtoRouting && p[at+3] != 0 { // segments left: it goes on from there
			return false
		}
		d.proto, d.plain = p[at], false
		if at += size; at > len(p) {
			return false
		}
		if d.fragment == later {
			return true
		}
	}
}

func addr6(b []byte) policy.Addr {
	return policy.Addr{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
}

// mapped tells whether an address of IPv6 looks like one of IPv4, which no packet may have.
func mapped(a policy.Addr) bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// transport reads what follows all IP headers.
func (d *parsed) transport(t []byte, quoted bool) bool {
	least := 0
	switch d.proto {
	case packet.ProtoTCP:
		least = packet.TCPLen
	case packet.ProtoUDP:
		least = packet.UDPLen
	case protoSCTP:
		least = sctpLen
	case packet.ProtoICMP, packet.ProtoICMPv6:
		least = icmpLen
	default:
		return true
	}
	if quoted {
		least = quotedLen
	}
	if len(t) < least {
		return false
	}
	if d.proto == packet.ProtoICMP || d.proto == packet.ProtoICMPv6 {
		return d.icmp(t)
	}
	d.srcPort, d.dstPort = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	if quoted {
		return true
	}
	switch d.proto {
	case packet.ProtoTCP:
		d.flags = t[13]
		hdr := int(t[12]>>4) * 4
		return hdr >= packet.TCPLen && hdr <= len(t) && possible(d.flags)
	case packet.ProtoUDP:
		n := int(binary.BigEndian.Uint16(t[4:]))
		return n >= packet.UDPLen && (n <= len(t) || d.fragment == first)
	}
	return true
}

// possible tells whether a TCP segment may have these flags.
func possible(flags uint8) bool {
	const all = packet.FlagSYN | packet.FlagFIN | packet.FlagRST | packet.FlagACK
	switch flags & all {
	case packet.FlagSYN, packet.FlagSYN | packet.FlagACK, packet.FlagACK, packet.FlagACK | packet.FlagFIN,
		packet.FlagRST, packet.FlagRST | packet.FlagACK:
		return true
	}
	return false
}

// icmp reads a message of ICMP or ICMPv6.
func (d *parsed) icmp(t []byte) bool {
	d.data = t
	typ := t[0]
	if d.v6 {
		switch {
		case typ == 128:
			d.kind = query
		case typ == 129:
			d.kind = answer
		case typ >= 1 && typ <= 4:
			d.kind = icmpError
		case typ < 128: // an error that nobody knows
			return false
		default:
			d.kind = message
		}
	} else {
		switch typ {
		case 8, 13, 15, 17:
			d.kind = query
		case 0, 14, 16, 18:
			d.kind = answer
		case 3, 11, 12:
			d.kind = icmpError
		default:
			d.kind = message
		}
	}
	if d.kind == query || d.kind == answer {
		d.srcPort = binary.BigEndian.Uint16(t[4:])
		d.dstPort = d.srcPort
	}
	return d.kind != icmpError || d.fragment == whole
}

package subnet

import "strconv"

// AppendLong appends the text of s as tinc 1.0 writes it: with the prefix length and the weight
// in any case, IPv6 addresses in eight groups.
func (s Subnet) AppendLong(dst []byte) []byte {
	switch s.kind {
	case MAC:
		dst = appendGroups(dst, s.addr[:6], 1)
	case IPv4:
		dst = s.Addr().AppendTo(dst)
	case IPv6:
		dst = appendGroups(dst, s.addr[:], 2)
	default:
		return s.Append(dst)
	}
	if s.kind != MAC {
		dst = strconv.AppendUint(append(dst, '/'), uint64(s.bits), 10)
	}
	return strconv.AppendInt(append(dst, '#'), int64(s.Weight), 10)
}

// appendGroups appends b in hexadecimal, size bytes at a time, without leading zeros.
func appendGroups(dst, b []byte, size int) []byte {
	for i := 0; i < len(b); i += size {
		if i > 0 {
			dst = append(dst, ':')
		}
		v := uint64(0)
		for _, x := range b[i : i+size] {
			v = v<<8 | uint64(x)
		}
		dst = strconv.AppendUint(dst, v, 16)
	}
	return dst
}

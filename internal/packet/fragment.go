package packet

import "encoding/binary"

// AppendFragment appends to dst one fragment of the IPv4 packet p, of at most
// mtu bytes, with the part of p's payload that begins at offset (0 at first,
// in bytes, a multiple of 8). It returns where the next fragment begins, 0
// after the last. ok is false, and dst unchanged, if p is not IPv4, carries IP options or
// DF, or if mtu leaves no room for 8 bytes of payload. p may itself be a
// fragment. p and dst must not overlap.
func AppendFragment(dst, p []byte, mtu, offset int) (out []byte, next int, ok bool) {
	h, ok := Parse(p)
	room := (mtu - IPv4Len) &^ 7
	if !ok || h.Version != 4 || h.DF || h.Transport != IPv4Len || room < 8 {
		return dst, 0, false
	}
	payload := p[IPv4Len:h.Total]
	if offset < 0 || offset%8 != 0 || offset >= len(payload) && offset > 0 {
		return dst, 0, false
	}
	end := min(offset+room, len(payload))

	// The offset field counts in units of 8 bytes; its flags share the word.
	field := binary.BigEndian.Uint16(p[offIPv4Frag:])
	at := int(field&0x1fff) + offset/8
	if at > 0x1fff {
		return dst, 0, false
	}
	field = field&^0x1fff | uint16(at)
	if end < len(payload) {
		field |= flagMF
		next = end
	}
	start := len(dst)
	dst = append(dst, p[:IPv4Len]...)
	dst = append(dst, payload[offset:end]...)
	f := dst[start:]
	binary.BigEndian.PutUint16(f[offIPv4Len:], uint16(len(f)))
	binary.BigEndian.PutUint16(f[offIPv4Frag:], field)
	FixIPv4Sum(f)
	return dst, next, true
}

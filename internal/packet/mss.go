package packet

import (
	"encoding/binary"
	"math/bits"
)

// Kinds of TCP options.
const (
	optEnd = 0
	optNop = 1
	optMSS = 2
)

// minMSS is the smallest maximum segment size that is written: an MTU that
// leaves less is ignored.
const minMSS = 64

// ClampMSS lowers the maximum segment size that a TCP connection request (SYN)
// in the IP packet p announces, so that its segments fit in IP packets of mtu
// bytes, and keeps the TCP checksum right. It looks at TCP over IPv4, over IPv6
// and over IPv4 in IPv4, and finds the option at any position (tinc 1.1
// only if it is the first). It reports whether it changed p.
func ClampMSS(p []byte, mtu int) bool {
	h, ok := Parse(p)
	if !ok || h.Later {
		return false
	}
	start, end := h.Transport, h.Total
	if h.Version == 4 && h.Proto == ProtoIPIP {
		inner, ok := Parse(p[start:end])
		if !ok || inner.Version != 4 || inner.Later {
			return false
		}
		h.Proto = inner.Proto
		start, end = start+inner.Transport, start+inner.Total
	}
	if h.Proto != ProtoTCP {
		return false
	}
	mss := mtu - start - TCPLen
	if mss < minMSS || mss > 0xffff {
		return false
	}
	return clampTCP(p[start:end], uint16(mss))
}

// clampTCP is ClampMSS for the TCP header at the start of t.
func clampTCP(t []byte, mss uint16) bool {
	tcp, ok := ParseTCP(t)
	if !ok || tcp.Flags&FlagSYN == 0 {
		return false
	}
	for at := TCPLen; at < tcp.Len; {
		switch t[at] {
		case optEnd:
			return false
		case optNop:
			at++
			continue
		}
		if at+1 >= tcp.Len {
			return false
		}
		size := int(t[at+1])
		if size < 2 || at+size > tcp.Len {
			return false
		}
		if t[at] != optMSS || size != 4 {
			at += size
			continue
		}
		old := binary.BigEndian.Uint16(t[at+2:])
		if old <= mss {
			return false
		}
		binary.BigEndian.PutUint16(t[at+2:], mss)
		was, is := old, mss
		if at%2 == 1 { // the value lies across two words of the sum
			was, is = bits.ReverseBytes16(was), bits.ReverseBytes16(is)
		}
		sum := binary.BigEndian.Uint16(t[TCPSumOffset:])
		binary.BigEndian.PutUint16(t[TCPSumOffset:], UpdateSum(sum, was, is))
		return true
	}
	return false
}

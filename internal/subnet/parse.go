package subnet

import (
	"fmt"
	"net/netip"
	"strings"

	"tincan/internal/scan"
)

// maxText is how many characters of a subnet tinc reads; the rest is cut off.
const maxText = 63

// Parse reads a subnet as a peer may send it: a MAC address, an IPv4 or an IPv6
// prefix, each with an optional "#weight". Like tinc it accepts set host bits, and
// numbers in every form that C's scanf takes.
func Parse(text string) (Subnet, error) {
	s, why := parse(text)
	if why != "" {
		return Subnet{}, fmt.Errorf("subnet %.64q: %s", text, why)
	}
	return s, nil
}

// ParseLocal reads a subnet of the local configuration. Unlike [Parse] it
// refuses a prefix with host bits, which is nearly always a slip of the pen.
func ParseLocal(text string) (Subnet, error) {
	s, err := Parse(text)
	if err != nil {
		return Subnet{}, err
	}
	if !s.HostBitsZero() {
		return Subnet{}, fmt.Errorf("subnet %.64q: the address has host bits set for the prefix length %d; the network is %v",
			text, s.bits, s.Prefix().Masked())
	}
	return s, nil
}

func parse(text string) (s Subnet, why string) {
	if len(text) > maxText {
		text = text[:maxText]
	}
	weight := DefaultWeight
	text, w, found := strings.Cut(text, "#")
	if found {
		var ok bool
		if weight, ok = wholeInt(w); !ok {
			return s, "the weight is not a number"
		}
	}
	text, length, hasLength := strings.Cut(text, "/")
	bits := 0
	if hasLength {
		var ok bool
		if bits, ok = wholeInt(length); !ok {
			return s, "the prefix length is not a number"
		}
	}

	if mac, ok := parseMAC(text); ok {
		if hasLength {
			return s, "a MAC address has no prefix length"
		}
		s = FromMAC(mac)
		s.Weight = weight
		return s, ""
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return s, "neither a MAC, an IPv4 nor an IPv6 address"
	}
	if !hasLength {
		bits = addr.BitLen()
	}
	if bits < 0 || bits > addr.BitLen() {
		return s, fmt.Sprintf("the prefix length is not within 0 and %d", addr.BitLen())
	}
	s = FromPrefix(netip.PrefixFrom(addr, bits))
	s.Weight = weight
	return s, ""
}

// parseMAC reads six hexadecimal groups as scanf("%hx:...") does; of each group
// only the lowest eight bits count.
func parseMAC(text string) (mac [6]byte, ok bool) {
	for i := range mac {
		if i > 0 {
			if text == "" || text[0] != ':' {
				return mac, false
			}
			text = text[1:]
		}
		var v uint64
		if v, text, ok = scan.Hex(text); !ok {
			return mac, false
		}
		mac[i] = byte(v)
	}
	return mac, text == ""
}

// wholeInt reads a number that fills the whole text.
func wholeInt(text string) (int, bool) {
	v, rest, ok := scan.Int(text, 0)
	return v, ok && rest == ""
}

package wire

import (
	"net/netip"
	"strconv"
	"unique"

	"tincan/internal/subnet"
)

// Address is the pair of words that a request has for an address and a port. Most are
// numeric. Whatever else a peer sends (a host name, "unspec") is kept and passed on
// verbatim, but never used to send a packet. The zero Address is "unspec
// unspec", an address that is not set. Addresses are comparable.
type Address struct {
	ap     netip.AddrPort // valid if numeric; then opaque is zero
	opaque unique.Handle[words]
}

// words are those of an address that is not numeric. There are few, and many addresses.
type words struct{ host, port string }

const unspec = "unspec"

// maxOpaque is the longest word kept of an address that is not numeric, in bytes. It
// fits every host name.
const maxOpaque = 255

// AddressOf returns the address of a socket: an IPv4-mapped one as IPv4, and
// without a zone. An invalid ap gives the zero Address.
func AddressOf(ap netip.AddrPort) Address {
	if !ap.IsValid() {
		return Address{}
	}
	return Address{ap: netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())}
}

// ParseAddress returns the address that the two words of a request stand for. It
// cannot fail: what is not numeric is opaque. An IPv4-mapped address stays
// IPv6; a zone is dropped. Forms that only some C libraries know (10.1, service names)
// are opaque. An opaque word that could not be a host name, being too long, makes the address unset.
func ParseAddress(host, port string) Address {
	if a, err := netip.ParseAddr(host); err == nil {
		if p, err := strconv.ParseUint(port, 10, 16); err == nil {
			return Address{ap: netip.AddrPortFrom(a.WithZone(""), uint16(p))}
		}
	}
	if host == unspec && port == unspec || len(host) > maxOpaque || len(port) > maxOpaque {
		return Address{}
	}
	return Address{opaque: unique.Make(words{host, port})}
}

// Addr returns the numeric address; false if a is opaque or not set.
func (a Address) Addr() (netip.AddrPort, bool) { return a.ap, a.ap.IsValid() }

// IsUnspec tells whether the address is not set.
func (a Address) IsUnspec() bool { return a == Address{} }

// WithPort returns a with another port; an address that is not numeric is unchanged.
func (a Address) WithPort(port uint16) Address {
	if a.ap.IsValid() {
		a.ap = netip.AddrPortFrom(a.ap.Addr(), port)
	}
	return a
}

// Words returns the two words that stand for a in a request.
func (a Address) Words() (host, port string) {
	switch {
	case a.ap.IsValid():
		return string(subnet.AppendAddr(nil, a.ap.Addr())), strconv.Itoa(int(a.ap.Port()))
	case a.IsUnspec():
		return unspec, unspec
	}
	w := a.opaque.Value()
	return w.host, w.port
}

// Append appends the two words, separated by a blank.
func (a Address) Append(dst []byte) []byte {
	if a.ap.IsValid() {
		dst = subnet.AppendAddr(dst, a.ap.Addr())
		return strconv.AppendUint(append(dst, ' '), uint64(a.ap.Port()), 10)
	}
	host, port := a.Words()
	return append(append(append(dst, host...), ' '), port...)
}

// String returns the two words, separated by a blank.
func (a Address) String() string { return string(a.Append(nil)) }

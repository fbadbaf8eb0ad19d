//go:build !linux

package netwatch

import "net/netip"

// RouteTo says where packets to an address go: to this machine itself, or out of the interface
// that has the address which the system would use towards it. dev is "" if that cannot be said.
func RouteTo(to netip.Addr, _ int) (here bool, dev string) {
	to = to.Unmap()
	from := Towards(to)
	for i, p := range Addresses() {
		switch p.Addr().Unmap() {
		case to:
			return true, ""
		case from:
			dev = i.Name
		}
	}
	return false, dev
}

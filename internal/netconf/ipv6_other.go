//go:build !linux

package netconf

// IPv6Off reports whether the system lets an interface have no addresses of IPv6. Elsewhere than on Linux
// the attempt shows it.
func IPv6Off(string) bool { return false }

//go:build !linux

package netdiag

import (
	"errors"
	"net/netip"

	"tincan/internal/netwatch"
)

// routeTo names the interface that the kernel sends packets for an address to, as far
// as the address that they would carry tells.
func routeTo(a netip.Addr) (string, error) {
	from := netwatch.Towards(a)
	if !from.IsValid() {
		return "", errors.New("the system does not know where to send it")
	}
	for dev, p := range netwatch.Addresses() {
		if p.Addr() == from {
			return dev.Name, nil
		}
	}
	return "", nil
}

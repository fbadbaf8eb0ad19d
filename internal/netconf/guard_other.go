//go:build !linux

package netconf

import "net/netip"

// Guard would keep packets for the networks of a VPN from leaving by another route. Here it
// does nothing.
type Guard struct{}

// NewGuard returns a guard that does nothing.
func NewGuard(string) (*Guard, error) { return &Guard{}, nil }

// Networks are none.
func (*Guard) Networks() []netip.Prefix { return nil }

// Set does nothing.
func (*Guard) Set([]netip.Prefix) error { return nil }

// Restore does nothing.
func (*Guard) Restore() (int, error) { return 0, nil }

// Close does nothing.
func (*Guard) Close() error { return nil }

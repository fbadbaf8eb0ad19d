//go:build !linux

package gateway

import "net/netip"

// Gateway makes this machine an exit node. It cannot be made on this system.
type Gateway struct{}

// Up returns [ErrNotSupported].
func Up(Config) (*Gateway, []string, error) { return nil, nil, ErrNotSupported }

// Possible returns [ErrNotSupported].
func Possible() error { return ErrNotSupported }

// SetResolvers does nothing.
func (*Gateway) SetResolvers([]netip.Addr) error { return nil }

// Close does nothing.
func (*Gateway) Close() error { return nil }

// FindUplinks finds none.
func FindUplinks(string) Uplinks { return Uplinks{} }

// FindResolvers finds none.
func FindResolvers() []netip.Addr { return nil }

// Clear does nothing.
func Clear(string) error { return nil }

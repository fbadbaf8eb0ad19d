//go:build !linux && !darwin && !freebsd && !windows

package netconf

import (
	"net/netip"

	"tincan/internal/config"
)

// Link is a configured interface. There is none on this system.
type Link struct{}

// Up returns [ErrNotSupported], or what is wrong with cfg.
func Up(cfg Config) (*Link, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return nil, ErrNotSupported
}

// AddRoute returns [ErrNotSupported], or why p may not be routed at all.
func (*Link) AddRoute(p netip.Prefix) error {
	if err := config.Routable(p); err != nil {
		return err
	}
	return ErrNotSupported
}

// RemoveRoute returns [ErrNotSupported].
func (*Link) RemoveRoute(netip.Prefix) error { return ErrNotSupported }

// Close does nothing.
func (*Link) Close() error { return nil }

//go:build !(linux || darwin || windows || freebsd || openbsd)

package door

import (
	"errors"
	"net/netip"

	"tincan/internal/device"
	"tincan/internal/roster"
)

// Door lets devices in. On this system there is none: the module of WireGuard does not support it.
type Door struct{ device.Device }

// Open fails.
func Open(Config) (*Door, error) {
	return nil, errors.New("WireGuard is not supported on this system")
}

// Port is 0.
func (*Door) Port() uint16 { return 0 }

// Set does nothing.
func (*Door) Set(roster.DoorSecret, []Device) error { return nil }

// Detach does nothing.
func (*Door) Detach(netip.Addr) {}

// Sessions are none.
func (*Door) Sessions() []Session { return nil }

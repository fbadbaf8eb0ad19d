// Package door lets devices into the VPN that have WireGuard and no tincan: telephones, routers. It runs WireGuard in this
// process (golang.zx2c4.com/wireguard), with the packet path in place of an interface.
//
// To the packet path a [Door] is a second virtual interface: what devices send is read from it, and what is for them is
// written to it. WireGuard itself sees to it that a device sends from its own addresses only.
//
// A door says when it hears from a device that it was not attached to ([Config.Active]), so that its node can announce the
// device's addresses. It hears of packets at once, and of a handshake without packets a moment later.
//
// Which devices there are, who is their door, and what is announced, others decide.
package door

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/roster"
)

// Device is a device that may come in.
type Device struct {
	Name  node.Name
	Key   roster.WireGuardKey
	Addrs []netip.Addr
}

func (d Device) equal(o Device) bool {
	return d.Name == o.Name && d.Key == o.Key && slices.Equal(d.Addrs, o.Addrs)
}

// Session is what a door knows of a device that has been there.
type Session struct {
	Name     node.Name
	Endpoint string    // its address, as text
	Last     time.Time // its last handshake
	Rx, Tx   uint64    // bytes from and to it
}

// Config is what a door works with.
type Config struct {
	Port uint16 // UDP; 0: any
	Mark uint32 // for the sockets, 0: none
	// Active is called when a device has sent something authentic, and was not attached. If it reports false it is called
	// again when the device sends more. It must not block.
	Active func(Device) bool
	// Failed gets errors of the sockets; may be nil.
	Failed func(error)
}

// Package netconf gives the VPN's network interface its addresses and routes,
// for networks that have no tinc-up script to do it.
//
// It changes nothing but the one interface and the routes through it, refuses
// what would cut the machine off from its network, and undoes its changes. It has no notion
// of nodes: the caller decides which subnets are routed.
package netconf

import (
	"errors"
	"fmt"
	"net/netip"
)

// Config is how the interface is to be.
type Config struct {
	Interface string         // its name
	Addresses []netip.Prefix // own addresses, each with the prefix that is reached through the interface
	MTU       int            // bytes of IP packet, 0: as it is
	// Gateways of routes that have one, on an interface with an Ethernet behind it.
	Gateways map[netip.Prefix]netip.Addr
}

// ErrNotSupported is returned where interfaces cannot be configured.
var ErrNotSupported error = &hinted{errors.New("interfaces cannot be configured on this system"), "write a tinc-up script that sets address and routes"}

// hinted is an error with a hint for the user.
type hinted struct {
	error
	tip string
}

// Hint is one sentence of advice.
func (e *hinted) Hint() string { return e.tip }

func (e *hinted) Unwrap() error { return e.error }

// check finds what can be wrong before anything is changed.
func (c Config) check() error {
	if c.Interface == "" {
		return errors.New("no interface to configure")
	}
	for _, a := range c.Addresses {
		addr := a.Addr()
		switch {
		case !a.IsValid() || addr.Is4In6():
			return fmt.Errorf("%v is no address with a prefix length", a)
		case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback():
			return fmt.Errorf("%v cannot be the address of an interface", addr)
		case addr == a.Masked().Addr() && addr.Is4() && a.Bits() < 31:
			return &hinted{fmt.Errorf("%v is the address of the network %v itself", addr, a.Masked()), "choose another address in it"}
		}
		if addr.Is6() && c.MTU != 0 && c.MTU < 1280 {
			return fmt.Errorf("an interface with the IPv6 address %v needs an MTU of at least 1280 bytes, not %d", addr, c.MTU)
		}
	}
	if c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535) {
		return fmt.Errorf("an interface cannot have an MTU of %d bytes", c.MTU)
	}
	return nil
}

//go:build !linux

package netwatch

import "net/netip"

// Gateways are not known here.
func Gateways(string) map[netip.Addr]string { return nil }

// Routed is not known here.
func Routed(string) []netip.Prefix { return nil }

// Neighbours are not known here.
func Neighbours(string) map[netip.Addr]string { return nil }

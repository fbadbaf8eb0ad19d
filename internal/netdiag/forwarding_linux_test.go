package netdiag

import (
	"net/netip"
	"testing"
)

// The address that the interface should have is not behind this machine when it has got lost, and so the default route leads to it.
func TestTheOwnAddressIsNotBehindThisMachine(t *testing.T) {
	own := netip.MustParsePrefix("198.51.100.7/24")
	single := netip.PrefixFrom(own.Addr(), 32)
	q := Question{Interface: "vpn0"}
	if dev, err := leadsTo(single, netip.Addr{}); err == nil && dev != "" && dev != loopback { // there is a default route
		if _, off := forwardingOff(dev, false); off && len(Forwarding(q, []netip.Prefix{single})) == 0 {
			t.Error("the address of another machine is not behind this one")
		}
	}
	q.Own = []netip.Prefix{own}
	if list := Forwarding(q, []netip.Prefix{single}); len(list) > 0 {
		t.Errorf("its own address: %v", list)
	}
}

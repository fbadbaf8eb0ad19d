package mesh

import (
	"net/netip"
	"testing"
)

func TestWhoIsOnOurSideOfTheRouter(t *testing.T) {
	for _, c := range []struct {
		name, local, remote string
		want                bool
	}{
		{"somebody in the internet", "192.168.1.2", "198.51.100.2", false},
		{"somebody in the LAN", "192.168.1.2", "192.168.1.3", true},
		{"somebody in the same house", "192.168.1.2", "192.168.7.3", true},
		{"somebody in the provider's network", "192.168.1.2", "10.1.2.3", false},
		{"somebody behind the provider's NAT", "192.168.1.2", "100.64.1.3", false},
		{"somebody with IPv6", "2001:db8::1", "2001:db8::2", true},
		{"this machine", "127.0.0.1", "127.0.0.1", true},
		{"an IPv4-mapped address", "::ffff:192.168.1.2", "::ffff:192.168.1.3", true},
		{"an unknown one", "192.168.1.2", "", true},
	} {
		remote, _ := netip.ParseAddr(c.remote)
		if got := sameSide(netip.MustParseAddr(c.local), remote); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

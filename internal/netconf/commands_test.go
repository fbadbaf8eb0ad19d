package netconf

import (
	"net/netip"
	"strings"
	"testing"
)

// What would be run on systems that these tests do not run on.
func TestCommandsOfOtherSystems(t *testing.T) {
	v4, v6 := netip.MustParsePrefix("10.7.0.5/16"), netip.MustParsePrefix("fd07::5/64")
	for _, c := range []struct {
		got  []string
		want string
	}{
		{macOS.up("utun5", 1400), "ifconfig utun5 mtu 1400 up"},
		{macOS.up("utun5", 0), "ifconfig utun5 up"},
		{macOS.addr("utun5", v4), "ifconfig utun5 inet 10.7.0.5/16 10.7.0.5 alias"},
		{macOS.addr("utun5", v6), "ifconfig utun5 inet6 fd07::5/64 alias"},
		{macOS.dropAddr("utun5", v4), "ifconfig utun5 inet 10.7.0.5 -alias"},
		{macOS.route("utun5", v4.Masked()), "route -q -n add -inet 10.7.0.0/16 -interface utun5"},
		{macOS.dropRoute("utun5", v6.Masked()), "route -q -n delete -inet6 fd07::/64 -interface utun5"},
		{freeBSD.addr("home", v4), "ifconfig home inet 10.7.0.5/16 alias"},
		{freeBSD.route("home", v6.Masked()), "route -q -n add -inet6 fd07::/64 -interface home"},
		{windows.addr("home", v4), "netsh interface ipv4 add address home 10.7.0.5/16 store=active"},
		{windows.dropAddr("home", v6), "netsh interface ipv6 delete address home fd07::5 store=active"},
		{windows.route("home", v4.Masked()), "netsh interface ipv4 add route 10.7.0.0/16 home store=active"},
		{windows.dropRoute("home", v4.Masked()), "netsh interface ipv4 delete route 10.7.0.0/16 home store=active"},
	} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
	if windows.up != nil || !macOS.pointToPoint || freeBSD.pointToPoint {
		t.Error("who wants what")
	}
}

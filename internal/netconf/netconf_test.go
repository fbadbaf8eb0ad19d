package netconf

import (
	"net/netip"
	"strings"
	"testing"
)

func TestConfigurationsThatCannotBe(t *testing.T) {
	addr := func(s ...string) (out []netip.Prefix) {
		for _, s := range s {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no interface", Config{}, "no interface"},
		{"the address of the network", Config{Interface: "x", Addresses: addr("10.0.0.0/24")}, "10.0.0.0 is the address of the network 10.0.0.0/24 itself"},
		{"multicast", Config{Interface: "x", Addresses: addr("224.0.0.1/24")}, "cannot be the address"},
		{"loopback", Config{Interface: "x", Addresses: addr("::1/128")}, "cannot be the address"},
		{"no address", Config{Interface: "x", Addresses: []netip.Prefix{{}}}, "no address"},
		{"MTU", Config{Interface: "x", MTU: 20}, "MTU of 20"},
		{"MTU too small for IPv6", Config{Interface: "x", MTU: 1200, Addresses: addr("fd00::1/64")}, "at least 1280"},
	} {
		if _, err := Up(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestRoutesThatMustNotBe(t *testing.T) {
	for p, want := range map[string]bool{
		"10.1.0.0/16": true, "fd00:1::/32": true, "192.0.2.1/32": true, "0.0.0.0/1": false, "128.0.0.0/1": false, "2000::/3": false,
		"0.0.0.0/0": false, "::/0": false, "127.0.0.0/8": false, "224.0.0.0/4": false, "ff00::/8": false,
		"fe80::/64": false, "169.254.0.0/16": false,
	} {
		if err := Routable(netip.MustParsePrefix(p)); (err == nil) != want {
			t.Errorf("%s: %v", p, err)
		}
	}
	if Routable(netip.Prefix{}) == nil {
		t.Error("a prefix that is none may be routed")
	}
}

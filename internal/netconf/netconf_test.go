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

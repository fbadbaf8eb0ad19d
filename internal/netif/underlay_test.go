package netif

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(words ...string) (list []netip.Prefix) {
	for _, w := range words {
		list = append(list, netip.MustParsePrefix(w))
	}
	return list
}

func TestWhichSubnetsOfOthersGetARoute(t *testing.T) {
	around := underlay{
		onLink: prefixes("192.168.1.0/24", "127.0.0.0/8", "fd00:1::/64"),
		nodes: []NodeAddress{ // sorted
			{netip.MustParseAddr("10.9.0.3"), "carol"}, {netip.MustParseAddr("172.20.255.255"), "dave"},
			{netip.MustParseAddr("203.0.113.5"), "bob"}, {netip.MustParseAddr("fd00:2::1"), "eve"},
		},
	}
	for p, want := range map[string]string{
		"10.1.0.0/16":         "",
		"172.31.0.0/16":       "",
		"100.64.0.0/10":       "",
		"192.168.2.0/24":      "",
		"fd12:3456:789a::/48": "",
		"10.9.0.4/32":         "",
		"172.20.0.0/17":       "",

		"8.8.8.8/32":       "not a private network",
		"203.0.113.0/24":   "not a private network",
		"0.0.0.0/0":        "not a private network",
		"::/0":             "not a private network",
		"172.0.0.0/8":      "not a private network", // more than the private part
		"2001:db8::/32":    "not a private network",
		"169.254.0.0/16":   "not a private network",
		"127.0.0.1/32":     "not a private network",
		"192.168.1.128/25": "overlaps with 192.168.1.0/24 of this machine",
		"192.168.0.0/16":   "overlaps with 192.168.1.0/24 of this machine",
		"fd00:1::5/128":    "overlaps with fd00:1::/64 of this machine",
		"10.9.0.0/16":      "it contains the real address 10.9.0.3 of carol",
		"10.9.0.3/32":      "it contains the real address 10.9.0.3 of carol",
		"172.20.0.0/16":    "it contains the real address 172.20.255.255 of dave",
		"fd00:2::/32":      "it contains the real address fd00:2::1 of eve",
	} {
		got := around.refuses(netip.MustParsePrefix(p))
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	own := prefixes("10.7.0.1/16", "fd07::1/128")
	for p, want := range map[string]bool{
		"10.7.3.0/24": true, "10.7.0.0/16": true, "10.7.9.9/32": true, "10.0.0.0/8": false, "10.8.0.0/16": false, "fd07::1/128": true, "fd07::2/128": false,
	} {
		if covered(netip.MustParsePrefix(p), own) != want {
			t.Errorf("%s is covered by %v: %v", p, own, !want)
		}
	}
}

package rootless

import (
	"errors"
	"net/netip"
	"testing"

	"tincan/internal/proxyserver"
)

// someNode is what a node knows: bob has 10.7.0.2, this node 10.7.0.1, carol a network; what leaves by exit nodes.
type someNode struct{}

func (someNode) Lookup(host string) []netip.Addr {
	switch host {
	case "bob":
		return []netip.Addr{netip.MustParseAddr("10.7.0.2")}
	case "self":
		return []netip.Addr{netip.MustParseAddr("10.7.0.1")}
	}
	return nil
}

func (someNode) Owner(a netip.Addr) (string, bool) {
	switch {
	case a == netip.MustParseAddr("10.7.0.1"):
		return "self", true
	case a == netip.MustParseAddr("10.7.0.2"):
		return "bob", false
	case netip.MustParsePrefix("192.168.5.0/24").Contains(a):
		return "carol", false
	}
	return "", false
}

func (someNode) LeavesBy(a netip.Addr) (string, bool) {
	switch {
	case netip.MustParsePrefix("203.0.113.0/24").Contains(a), netip.MustParsePrefix("169.254.0.0/16").Contains(a), a == netip.MustParseAddr("10.7.0.1"):
		return "bob", true
	case netip.MustParsePrefix("198.51.100.0/24").Contains(a), netip.MustParsePrefix("2001:db8::/32").Contains(a):
		return "", true
	}
	return "", false
}

func TestWhereProxiesLead(t *testing.T) {
	n := inner{known: someNode{}}
	for host, why := range map[string]string{
		"bob": "", "10.7.0.2": "", "::ffff:10.7.0.2": "", "192.168.5.7": "", "203.0.113.9": "",
		"self": "this is an address of the node itself", "10.7.0.1": "this is an address of the node itself",
		"198.51.100.1": "none of the exit nodes for this address works", "2001:db8::1": "none of the exit nodes for this address works",
		"192.0.2.1": "no node of the network has this address",
		"127.0.0.1": "this is an address of the machine itself", "0.0.0.0": "this is an address of the machine itself", "::": "this is an address of the machine itself",
		"169.254.169.254": "link-local and multicast addresses are not in the network", "ff02::1": "link-local and multicast addresses are not in the network",
	} {
		_, err := n.Resolve(host)
		refused := new(proxyserver.Refusal)
		switch {
		case why == "" && err != nil:
			t.Errorf("%s: %v", host, err)
		case why != "" && (!errors.As(err, &refused) || refused.Why != why):
			t.Errorf("%s: %v, and not: %s", host, err, why)
		}
	}
	if _, err := n.Resolve("example.org"); !errors.Is(err, proxyserver.ErrNoHost) {
		t.Errorf("a host that is no node: %v", err)
	}
}

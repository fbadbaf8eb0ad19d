package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/names"
	"tincan/internal/netif"
)

// kept are the rules of a system that has some.
type kept struct {
	set []names.Link // by domain there is one at most
	err error
}

func (k *kept) Set(l names.Link) error {
	if k.err != nil {
		return k.err
	}
	k.set = []names.Link{l}
	return nil
}

func (k *kept) Clear(domain string) (bool, error) {
	n := len(k.set)
	k.set = slices.DeleteFunc(k.set, func(l names.Link) bool { return l.Domain == domain })
	return len(k.set) < n, nil
}

func (k *kept) String() string { return "the rules" }

// Where a system has rules for domains, they follow the address of the node, and nothing is left of them.
func TestTheRulesOfASystemFollowTheAddress(t *testing.T) {
	d := &Daemon{log: newLogger(nil, 0)}
	defer d.log.close()
	settings := config.Settings{Names: config.NamesAuto, Ifconfig: []netip.Prefix{netip.MustParsePrefix("10.88.0.1/16")}}
	d.current.Store(&confdir.Network{Settings: settings})
	d.netif = netif.New("vpn0", netif.Log{Printf: d.log.printf, Failed: d.log.failed}, nil)
	rules := &kept{set: []names.Link{{Domain: "home.internal"}}} // of a node that was killed
	n := &naming{d: d, domain: "home.internal", rules: rules}
	n.clearRules()
	if len(rules.set) > 0 {
		t.Error("what an earlier node has left is still there")
	}
	at := func(s string) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(s)} }
	for _, addr := range []string{"10.88.0.1:9653", "10.88.0.7:9653"} {
		n.tell(at(addr))
		if len(rules.set) != 1 || rules.set[0].Server.String() != addr || rules.set[0].Domain != "home.internal" || !slices.Equal(rules.set[0].Reverse, []string{"88.10.in-addr.arpa"}) {
			t.Errorf("at %s: %+v", addr, rules.set)
		}
		if n.view.By != "the rules" || n.unasked != "" {
			t.Errorf("status: %+v, %q", n.view, n.unasked)
		}
	}
	rules.err = errors.New("no other port than 53")
	n.tell(at("10.88.0.8:9653"))
	if len(rules.set) > 0 || n.view.By != "" || !strings.Contains(n.unasked, "no other port than 53") {
		t.Errorf("refused: %+v, %+v, %q", rules.set, n.view, n.unasked)
	}
	rules.err = nil
	n.tell(at("10.88.0.8:9653"))
	n.tell(nil) // the interface has lost its address
	if len(rules.set) > 0 || n.view.By != "" {
		t.Errorf("without an address: %+v, %+v", rules.set, n.view)
	}
	n.tell(at("10.88.0.9:9653"))
	n.untell()
	if len(rules.set) > 0 {
		t.Errorf("after the end: %+v", rules.set)
	}
}

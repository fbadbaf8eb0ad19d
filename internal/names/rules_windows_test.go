package names

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// It runs under Wine: see test/wine.
func TestNameResolutionPolicy(t *testing.T) {
	const place = `SOFTWARE\tincan-test\DnsPolicyConfig`
	key, _, err := registry.CreateKey(registry.LOCAL_MACHINE, place, registry.ALL_ACCESS)
	if err != nil {
		t.Fatal(err)
	}
	key.Close()
	table := policyTable(place)
	l := Link{Server: netip.MustParseAddrPort("10.88.0.1:9653"), Domain: "home.internal", Reverse: []string{"88.10.in-addr.arpa"}}
	if err := table.Set(l); err == nil || !strings.Contains(err.Error(), "no other port than 53") {
		t.Errorf("another port: %v", err)
	}
	for _, server := range []string{"10.88.0.1:53", "10.88.0.2:53"} { // the second after a kill -9
		l.Server = netip.MustParseAddrPort(server)
		if err := table.Set(l); err != nil {
			t.Fatal(err)
		}
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, table.rule(l.Domain), registry.QUERY_VALUE)
		if err != nil {
			t.Fatal(err)
		}
		names, _, _ := k.GetStringsValue("Name")
		at, _, _ := k.GetStringValue("GenericDNSServers")
		options, _, _ := k.GetIntegerValue("ConfigOptions")
		k.Close()
		if !slices.Equal(names, []string{".home.internal", ".88.10.in-addr.arpa"}) || at != l.Server.Addr().String() || options != 8 {
			t.Errorf("%v at %s, options %d", names, at, options)
		}
	}
	for _, want := range []bool{true, false} {
		if found, err := table.Clear(l.Domain); found != want || err != nil {
			t.Errorf("%v, %v", found, err)
		}
	}
}

package netwatch

import (
	"net/netip"
	"slices"
	"testing"
)

// Every machine has a loopback interface.
var loopback = netip.MustParsePrefix("127.0.0.1/8")

func TestTheMachinesAddressesAndNetworks(t *testing.T) {
	name := ""
	for dev, p := range Addresses() {
		if p == loopback {
			name = dev.Name
			break
		}
	}
	if name == "" {
		t.Fatalf("%v is not seen", loopback)
	}
	if got := Networks(""); !slices.Contains(got, loopback.Masked()) {
		t.Errorf("the networks %v are without that of %s", got, name)
	}
	if got := Networks(name); slices.Contains(got, loopback.Masked()) {
		t.Errorf("the networks without %s are %v", name, got)
	}
}

func TestOurAddressTowardsAnother(t *testing.T) {
	for to, want := range map[netip.Addr]netip.Addr{
		loopback.Addr(): loopback.Addr(),
		{}:              {}, // where the kernel would take the loopback
	} {
		if got := Towards(to); got != want {
			t.Errorf("towards %v: %v, want %v", to, got, want)
		}
	}
}

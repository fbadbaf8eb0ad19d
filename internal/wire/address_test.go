package wire

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesAreKeptAsTincKeepsThem(t *testing.T) {
	// Forms that come from the C library of the machine the vectors were made on;
	// here they are opaque, and so written as they were read.
	libc := map[string]bool{
		"10.0.0.1 http": true, "10.0.0.1 65536": true, "10.0.0.1 70000": true, "10.0.0.1 ": true,
		"10.1 655": true, "0x0a000001 655": true, "127.1 655": true, "010.0.0.1 655": true,
	}
	var v struct {
		Cases []struct {
			Address, Port string
			Family        int
			OutAddress    string `json:"out_address"`
			OutPort       string `json:"out_port"`
		}
	}
	load(t, "tinc11-address.json", &v)
	for _, c := range v.Cases {
		a := ParseAddress(c.Address, c.Port)
		ap, numeric := a.Addr()
		if libc[c.Address+" "+c.Port] {
			if host, port := a.Words(); numeric || host != c.Address || port != c.Port {
				t.Errorf("%q %q became %v", c.Address, c.Port, a)
			}
			continue
		}
		if numeric != (c.Family != 255) || numeric && ap.Addr().Is4() != (c.Family == 2) {
			t.Errorf("%q %q: numeric %v, %v; want family %d", c.Address, c.Port, numeric, ap, c.Family)
		}
		if host, port := a.Words(); host != c.OutAddress || port != c.OutPort || a.String() != c.OutAddress+" "+c.OutPort {
			t.Errorf("%q %q is written as %q %q (%q), want %q %q", c.Address, c.Port, host, port, a, c.OutAddress, c.OutPort)
		}
	}
}

func TestAddressOfSocket(t *testing.T) {
	for _, c := range []struct{ socket, want string }{
		{"[::ffff:10.0.0.1]:655", "10.0.0.1 655"},
		{"[fe80::1%eth0]:655", "fe80::1 655"},
		{"10.0.0.1:0", "10.0.0.1 0"},
	} {
		if got := AddressOf(netip.MustParseAddrPort(c.socket)); got.String() != c.want {
			t.Errorf("%s became %v, want %s", c.socket, got, c.want)
		}
	}
	unset := AddressOf(netip.AddrPort{})
	if unset != (Address{}) || unset.String() != "unspec unspec" || !unset.IsUnspec() {
		t.Errorf("no address became %v", unset)
	}
	if ParseAddress("unspec", "unspec") != unset {
		t.Error("an unset address does not read as such")
	}
}

func TestAddressWithPort(t *testing.T) {
	if a := ParseAddress("10.0.0.1", "655").WithPort(656); a != ParseAddress("10.0.0.1", "656") {
		t.Errorf("became %v", a)
	}
	if a := ParseAddress("host", "655").WithPort(656); a != ParseAddress("host", "655") {
		t.Errorf("an opaque address became %v", a)
	}
}

func TestOverlongOpaqueAddressIsUnset(t *testing.T) {
	if a := ParseAddress(strings.Repeat("x", maxOpaque), "655"); a.IsUnspec() {
		t.Error("a long host name was lost")
	}
	if a := ParseAddress(strings.Repeat("x", maxOpaque+1), "655"); !a.IsUnspec() {
		t.Error("an impossible host name was kept")
	}
}

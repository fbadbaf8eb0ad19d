package device

import "testing"

func TestNamesOfInterfacesOnOtherSystems(t *testing.T) {
	for _, c := range []struct{ family, wanted, want string }{
		{"utun", "", "utun"}, {"utun", "home", "utun"}, {"utun", "utun", "utun"}, {"utun", "utun7", "utun7"}, {"utun", "utun7x", "utun"},
		{"tun", "tun3", "tun3"}, {"tun", "tunnel", "tun"},
	} {
		if got := familyName(c.family, c.wanted); got != c.want {
			t.Errorf("%s with %q: %q", c.family, c.wanted, got)
		}
	}
	if freeName("") != "tincan" || freeName("home") != "home" {
		t.Error("a name that may be any")
	}
}

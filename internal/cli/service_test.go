package cli

import (
	"path/filepath"
	"regexp"
	"testing"

	"tincan/internal/config"
)

// Every network has a service of its own, also when only its directory is known.
func TestNamesOfServices(t *testing.T) {
	name := func(net, conf string) string {
		t.Helper()
		s, err := (&app{place: config.Place{Net: net, Conf: conf}}).serviceName()
		if err != nil || !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(s) {
			t.Errorf("net %q, directory %q: %q, %v", net, conf, s, err)
		}
		return s
	}
	for _, c := range []struct{ net, conf, want string }{
		{"", "", "tincan"}, {".", "", "tincan"}, {"home", "", "tincan-home"}, {"home", "/srv/vpn", "tincan-home"},
	} {
		if got := name(c.net, c.conf); got != c.want {
			t.Errorf("net %q, directory %q: %q, want %q", c.net, c.conf, got, c.want)
		}
	}
	seen := map[string]string{}
	for _, dir := range []string{"", "/srv/a/tinc", "/srv/b/tinc", "/srv/a-tinc", "/srv/a.b", "/srv/ab", "/", "/srv/mein Netz (alt)/ä'"} {
		s := name("", dir)
		if other, ok := seen[s]; ok {
			t.Errorf("%q and %q share the service %s", dir, other, s)
		}
		seen[s] = dir
	}
	here, err := filepath.Abs("vpn")
	if err != nil || name("", "vpn") != name("", here) || name("", here+"/") != name("", here) {
		t.Errorf("one directory has several names: %s %s (%v)", name("", "vpn"), name("", here), err)
	}
}

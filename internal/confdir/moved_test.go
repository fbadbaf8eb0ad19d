package confdir

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/config"
	"tincan/internal/fixture"
)

func sandboxed(t *testing.T, conf, own string) (Layout, *Network, []config.Warning) {
	t.Helper()
	l, err := Place{Conf: t.TempDir()}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{l.Hosts(), l.Cache()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fixture.Put(t, l.TincConf(), "Name = bob\n"+conf)
	fixture.Put(t, l.Host("bob"), own)
	n, warnings, err := Load(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, n, warnings
}

// TestANodeInASandboxMovesToAnotherAddress: it may not write tinc.conf.
func TestANodeInASandboxMovesToAnotherAddress(t *testing.T) {
	const conf = "AutoAddress = yes\nIfconfig = 10.7.0.5/16\nIfconfig = fd00:7::5/64\n"
	l, _, _ := sandboxed(t, conf, "")
	for name, c := range map[string]struct{ from, to, want string }{
		"in the network":         {"10.7.0.5", "10.7.9.9", "10.7.9.9/16 fd00:7::5/64"},
		"of IPv6":                {"fd00:7::5", "fd00:7::9", "10.7.0.5/16 fd00:7::9/64"},
		"outside of the network": {"10.7.0.5", "10.8.0.5", "10.7.0.5/16 fd00:7::5/64"},
		"of another line":        {"10.7.0.6", "10.7.9.9", "10.7.0.5/16 fd00:7::5/64"},
	} {
		if err := SaveMoved(l, map[netip.Addr]netip.Addr{netip.MustParseAddr(c.from): netip.MustParseAddr(c.to)}); err != nil {
			t.Fatal(err)
		}
		n, _, err := Load(l, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range n.Settings.Ifconfig {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	fixture.Put(t, filepath.Join(l.Cache(), "address.moved"), "x y\n10.7.0.5\n10.7.0.5 10.7.0.7 z\n")
	if got := Moved(l); len(got) > 0 {
		t.Errorf("out of a broken file: %v", got)
	}
}

// TestTheOwnHostFileRunsNoPrograms: a node at Sandbox = high can write it, and the next
// start reads it with all rights.
func TestTheOwnHostFileRunsNoPrograms(t *testing.T) {
	_, n, warnings := sandboxed(t, "ScriptsInterpreter = /bin/sh\n",
		"Port = 700\nProxy = exec /tmp/x\nScriptsInterpreter = /tmp/x\nSandbox = off\nGraphDumpFile = |/tmp/x\nDevice = /tmp/x\nEd25519PrivateKeyFile = /tmp/x\n")
	s := n.Settings
	if s.Proxy.Kind != config.NoProxy || s.ScriptsInterpreter != "/bin/sh" || s.GraphDumpFile != "" || s.Device == "/tmp/x" || s.PrivateKeyFile == "/tmp/x" || n.Own.Port != "700" {
		t.Errorf("in effect: %+v", s)
	}
	said := 0
	for _, w := range warnings {
		if strings.Contains(w.Text, "ignored in a host file") {
			said++
		}
	}
	if said != 6 {
		t.Errorf("warnings: %v", warnings)
	}
}

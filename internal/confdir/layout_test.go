package confdir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/internal/fixture"
)

func TestLayout(t *testing.T) {
	for _, c := range []struct {
		name              string
		place             Place
		base, pid, socket string
	}{
		{"no net", Place{}, "/etc/tinc", "/var/run/tinc.pid", "/var/run/tinc.socket"},
		{"net", Place{Net: "vpn"}, "/etc/tinc/vpn", "/var/run/tinc.vpn.pid", "/var/run/tinc.vpn.socket"},
		{"dot means none", Place{Net: "."}, "/etc/tinc", "/var/run/tinc.pid", "/var/run/tinc.socket"},
		{"directory alone keeps everything together", Place{Conf: "/n"}, "/n", "/n/pid", "/n/pid.socket"},
		{"directory and net: the net names the pid file", Place{Net: "vpn", Conf: "/n"}, "/n", "/var/run/tinc.vpn.pid", "/var/run/tinc.vpn.socket"},
		{"pid file by hand", Place{Net: "vpn", PidFile: "/p/x.pid"}, "/etc/tinc/vpn", "/p/x.pid", "/p/x.socket"},
		{"pid file without ending", Place{Conf: "/n", PidFile: "x"}, "/n", "x", "x.socket"},
		{"own roots", Place{Net: "vpn", Roots: Roots{Sysconf: "/s", Run: "/r"}}, "/s/tinc/vpn", "/r/tinc.vpn.pid", "/r/tinc.vpn.socket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := c.place.Layout()
			if err != nil {
				t.Fatal(err)
			}
			if l.ConfBase != c.base || l.PidFile != c.pid || l.Socket() != c.socket {
				t.Errorf("got %s %s %s", l.ConfBase, l.PidFile, l.Socket())
			}
		})
	}
}

func TestNetNames(t *testing.T) {
	for _, s := range []string{".hid", "a/b", `a\b`, "a\nb", "..", "\x7f"} {
		if _, err := CheckNetName(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
	for _, s := range []string{"a b", "a$b", "a`b", "a%b", "a:b", "a*", "<", `"`} {
		if unsafe, err := CheckNetName(s); err != nil || !unsafe {
			t.Errorf("%q: unsafe %v, %v", s, unsafe, err)
		}
	}
	for _, s := range []string{"", "vpn", "a.b", "a-b", "näh"} {
		if unsafe, err := CheckNetName(s); err != nil || unsafe {
			t.Errorf("%q: unsafe %v, %v", s, unsafe, err)
		}
	}
}

func TestLayoutFallsBackToTheConfigurationDirectory(t *testing.T) {
	base := t.TempDir()
	place := Place{Net: "vpn", Conf: base, Roots: Roots{Run: filepath.Join(base, "none"), Log: filepath.Join(base, "none")}}
	l, err := place.Layout()
	if err != nil {
		t.Fatal(err)
	}
	d, warnings := l.ForDaemon()
	if d.PidFile != filepath.Join(base, "pid") || d.LogFile != filepath.Join(base, "log") || len(warnings) != 1 {
		t.Errorf("daemon: %+v, %v", d, warnings)
	}
	if c := l.ForClient(); c.PidFile != l.PidFile {
		t.Errorf("client looks at %s though nothing is there", c.PidFile)
	}
	if err := os.WriteFile(d.PidFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c := l.ForClient(); c.PidFile != d.PidFile {
		t.Errorf("client looks at %s", c.PidFile)
	}
}

func TestNetworks(t *testing.T) {
	etc := t.TempDir()
	for _, f := range []string{"tinc/tinc.conf", "tinc/vpn/tinc.conf", "tinc/empty/x", "tinc/.hidden/tinc.conf"} {
		fixture.Put(t, filepath.Join(etc, f), "")
	}
	nets, err := Networks(Roots{Sysconf: etc})
	slices.Sort(nets)
	if err != nil || !slices.Equal(nets, []string{".", "vpn"}) {
		t.Errorf("got %v, %v", nets, err)
	}
}

// tree writes files given as "PATH\nTEXT" below a new directory.
func tree(t *testing.T, files ...string) Layout {
	t.Helper()
	base := t.TempDir()
	for _, f := range files {
		name, text, _ := strings.Cut(f, "\n")
		fixture.Put(t, filepath.Join(base, name), text)
	}
	l, err := Place{Conf: base}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

package service

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tincan/internal/cli/env"
	"tincan/internal/cli/launch"
	"tincan/internal/confdir"
	"tincan/packaging"
)

// Every network has a service of its own, also when only its directory is known.
func TestNamesOfServices(t *testing.T) {
	name := func(net, conf string) string {
		t.Helper()
		s, err := serviceName(&env.Env{Place: confdir.Place{Net: net, Conf: conf}})
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

// A node that was removed from its network ends with a status that systemd does not answer with a new start.
func TestSystemdLetsRestWhoWasRemoved(t *testing.T) {
	if want := fmt.Sprintf("\nRestartPreventExitStatus=%d\n", launch.StatusRemoved); !strings.Contains(packaging.Unit, want) {
		t.Errorf("the unit lacks %q", want)
	}
}

// launchd starts what has failed again, and not what was told to stop.
func TestLaunchdLetsRestWhatWasToldToStop(t *testing.T) {
	text := regexp.MustCompile(`{{[^}]*}}`).ReplaceAllString(packaging.Launchd, "")
	in := xml.NewDecoder(strings.NewReader(text))
	var words []string // elements and text, in order
	for {
		token, err := in.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			words = append(words, e.Name.Local)
		case xml.CharData:
			words = append(words, strings.Fields(string(e))...)
		}
	}
	got := strings.Join(words, " ")
	for _, want := range []string{"key RunAtLoad true", "key KeepAlive dict key SuccessfulExit false"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

func TestLinksOfRunLevelsGo(t *testing.T) {
	etc := t.TempDir()
	for link, to := range map[string]string{
		"rc2.d/S50tincan-home": "/etc/init.d/tincan-home", "rc6.d/K02tincan-home": "/etc/init.d/tincan-home",
		"rc2.d/S50tincan-home2": "/etc/init.d/tincan-home2", "rc3.d/S50tincan-home": "/etc/init.d/other",
	} {
		link = filepath.Join(etc, link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(to, link)); err != nil {
			t.Skip("NOT TESTED: no symbolic links here:", err)
		}
	}
	removeRunLevelLinks(etc, "tincan-home")
	left, _ := filepath.Glob(filepath.Join(etc, "*", "*"))
	if want := filepath.Join(etc, "rc2.d/S50tincan-home2") + " " + filepath.Join(etc, "rc3.d/S50tincan-home"); strings.Join(left, " ") != want {
		t.Errorf("left: %v", left)
	}
}

package env

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/confdir"
)

// -n is needed only where several networks could be meant.
func TestTheOnlyNetworkIsMeant(t *testing.T) {
	for _, c := range []struct {
		nets       []string
		given      confdir.Place
		want, hint string
	}{
		{nil, confdir.Place{}, "", "make one with: tincan init NAME"},
		{[]string{"home"}, confdir.Place{}, "home", ""},
		{[]string{"home"}, confdir.Place{Net: "work"}, "work", "choose one with -n NETWORK; there are: home"},
		{[]string{"home"}, confdir.Place{Net: "."}, ".", "choose one with -n NETWORK; there are: home"},
		{[]string{"home"}, confdir.Place{PidFile: "/p"}, "", "choose one with -n NETWORK; there are: home"},
		{[]string{"home", "work"}, confdir.Place{}, "", "choose one with -n NETWORK; there are: home work"},
		{[]string{".", "home"}, confdir.Place{}, ".", ""},
	} {
		etc := t.TempDir()
		for _, net := range c.nets {
			dir := filepath.Join(etc, "tinc", net)
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "tinc.conf"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		e := &Env{Place: c.given}
		e.Place.Roots.Sysconf = etc
		e.TheOnlyNetwork()
		_, err := e.Existing()
		hint := ""
		if h := interface{ Hint() string }(nil); errors.As(err, &h) {
			hint = h.Hint()
		}
		if e.Place.Net != c.want || !strings.HasPrefix(hint, c.hint) || (err == nil) != (c.hint == "") {
			t.Errorf("%v, given %+v: network %q, %v, hint %q", c.nets, c.given, e.Place.Net, err, hint)
		}
	}
}

package daemon

import (
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/node"
)

func TestWhoWasSeenIsRemembered(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	must(t, confdir.MakeDir(l.Cache(), 0o755))
	s := newSeen(&l)
	if !s.at("bob").IsZero() {
		t.Error("bob has been seen before the first start")
	}
	before := time.Now().Truncate(time.Second)
	s.node("bob", true)
	s.node("carol", true)
	s.node("carol", false)
	s.write()
	again := newSeen(&l)
	for _, n := range []node.Name{"bob", "carol"} {
		if at := again.at(n); at.Before(before) || at.After(time.Now()) {
			t.Errorf("%s was seen at %v", n, at)
		}
	}
	if !again.at("dave").IsZero() {
		t.Error("dave was never there")
	}
}

func FuzzParseSeen(f *testing.F) {
	f.Add([]byte("bob 1764446400\nno-name 3\nx y z\ncarol -1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(parseSeen(b)) > maxSeen {
			t.Error("too many")
		}
	})
}

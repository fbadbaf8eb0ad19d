package keydist

import (
	"strings"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
)

// dave is let in by alice, who may be gone when he starts.
func TestEverybodyHearsOfANewcomerAtOnce(t *testing.T) {
	w := newWorld(t)
	heard := make(chan node.Name, 10)
	alice := w.member("alice", 1, hostText(1), nil)
	alice.write("dave", "Subnet = 10.1.4.1\n"+edLine(4))
	bob := w.member("bob", 2, hostText(2), func(c *Config) {
		c.Vouched = func(name node.Name, key keys.PublicKey, by node.Name) {
			if key == keys.FromSeed([32]byte{4}).Public() && by == "alice" {
				heard <- name
			}
		}
	}).run()
	alice.run()
	alice.Watch("bob", mustSubnet(t, bob.addr.String()))
	alice.Vouch("dave")
	select {
	case name := <-heard:
		if name != "dave" {
			t.Errorf("heard of %s", name)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("bob has heard of nobody")
	}
	if l := bob.cfg.Store.Learned(); len(l) != 1 || l[0].Node != "dave" || l[0].By != "alice" {
		t.Errorf("bob has learned %v", l)
	}
	if got := bob.file("hosts/dave"); got != "" {
		t.Errorf("hosts/dave is written: %q", got)
	}
}

// What counts as somebody's word for a newcomer, and what does not.
func TestWhoseWordCounts(t *testing.T) {
	text := vouchedText + "dave\n" + edLine(4)
	signed := func(by node.Name, seed byte, text string) []byte {
		return append([]byte(SignWith(keys.FromSeed([32]byte{seed}), by)([]byte(text))+"\n"), text...)
	}
	old := keys.SignFile(keys.FromSeed([32]byte{1}), "alice", time.Now().Add(-2*vouchFor), []byte(text))
	for name, c := range map[string]struct {
		body    []byte
		prepare func(*world, *member)
		ok      bool
	}{
		"a member's":                     {body: signed("alice", 1, text), ok: true},
		"with another key":               {body: signed("alice", 66, text)},
		"for oneself":                    {body: signed("dave", 4, text)},
		"of a stranger":                  {body: signed("mallory", 66, text)},
		"old":                            {body: old},
		"changed":                        {body: []byte(strings.Replace(string(signed("alice", 1, text)), edLine(4), edLine(66), 1))},
		"about somebody else":            {body: signed("alice", 1, vouchedText+"eve\n"+edLine(4))},
		"a host file of one's own":       {body: signed("alice", 1, hostText(1))},
		"of one whom nobody vouches for": {body: signed("alice", 1, text), prepare: func(w *world, _ *member) { w.hearsay["alice"] = true }},
		"about one who was removed": {body: signed("alice", 1, text), prepare: func(_ *world, m *member) {
			m.write("dave", edLine(4))
			m.cfg.Store.Survey()
			m.remove("dave")
		}},
		"about too many": {body: signed("alice", 1, text), prepare: func(_ *world, m *member) {
			m.cfg.Store.mu.Lock()
			defer m.cfg.Store.mu.Unlock()
			for i := range maxVouched {
				m.cfg.Store.load().Learned[node.Name("n"+strings.Repeat("x", i+1))] = learnedKey{By: "alice"}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.member("alice", 1, hostText(1), nil)
			m := w.member("bob", 2, hostText(2), nil)
			if c.prepare != nil {
				c.prepare(w, m)
			}
			err := m.believe("dave", c.body)
			if (err == nil) != c.ok {
				t.Fatalf("believed: %v", err)
			}
			if _, learned := m.cfg.Store.load().Learned["dave"]; learned != c.ok {
				t.Errorf("dave's key is kept: %t", learned)
			}
		})
	}
}

func FuzzVouch(f *testing.F) {
	w := &world{keys: map[node.Name]*keys.PublicKey{}}
	k := keys.FromSeed([32]byte{1})
	pub := k.Public()
	w.keys["alice"] = &pub
	text := vouchedText + "dave\n" + edLine(4)
	f.Add([]byte(SignWith(k, "alice")([]byte(text)) + "\n" + text))
	f.Add([]byte("Signature = alice 1 x\n" + text))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := New(Config{Store: &Store{Self: "bob"}, Self: "bob", Engine: w})
		_ = m.believe("eve", body)
		if len(m.cfg.Store.load().Learned) > 0 {
			t.Fatal("the key of eve is learned from what nobody has signed")
		}
	})
}

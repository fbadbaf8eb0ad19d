package keydist

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
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
	case <-time.After(30 * time.Second):
		t.Fatal("bob has heard of nobody")
	}
	if l := bob.cfg.Store.Learned(); len(l) != 1 || l[0].Node != "dave" || l[0].By != "alice" {
		t.Errorf("bob has learned %v", l)
	}
	if got := bob.file("hosts/dave"); got != "" {
		t.Errorf("hosts/dave is written: %q", got)
	}
}

// A node that was stopped in between goes on telling.
func TestANewcomerIsToldOfAfterARestart(t *testing.T) {
	w := newWorld(t)
	alice := w.member("alice", 1, hostText(1), nil)
	alice.write("dave", edLine(4))
	alice.Vouch("dave")
	alice.write("erin", edLine(5))
	alice.Vouch("erin")
	alice.remove("erin")
	since := alice.vouches[0].at
	cfg := alice.cfg
	cfg.Store = &Store{Layout: cfg.Store.Layout, Self: "alice"}
	again := &member{w: w, name: "alice", addr: alice.addr, dir: alice.dir, Monitor: New(cfg)}
	again.run()
	again.mu.Lock()
	defer again.mu.Unlock()
	if len(again.vouches) != 1 || again.vouches[0].name != "dave" || since.Sub(again.vouches[0].at) > time.Second {
		t.Errorf("after a restart others are told of %v", again.vouches)
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

// rsaBlock is the host file of a node of tinc 1.0.
func rsaBlock(t *testing.T) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.PublicKey)}))
}

// A node of tinc 1.0 has an RSA key only. That is taken from who has let it in, if no key of it is known, and no more than that.
func TestANewcomerOfTinc10IsHeardOf(t *testing.T) {
	old := rsaBlock(t)
	text := vouchedText + "dave\nSubnet = 10.1.4.1\nAddress = 192.0.2.7\n" + old
	word := func(by node.Name, seed byte) []byte {
		return append([]byte(SignWith(keys.FromSeed([32]byte{seed}), by)([]byte(text))+"\n"), text...)
	}
	for name, c := range map[string]struct {
		body    []byte
		prepare func(*world, *member)
		want    string
	}{
		"from a member":                    {body: word("alice", 1), want: old},
		"from a stranger":                  {body: word("mallory", 66)},
		"from one whom nobody vouches for": {body: word("alice", 1), prepare: func(w *world, _ *member) { w.hearsay["alice"] = true }},
		"about a node whose Ed25519 key is known": {body: word("alice", 1), prepare: func(w *world, _ *member) {
			k := keys.FromSeed([32]byte{4}).Public()
			w.keys["dave"], w.hearsay["dave"] = &k, true
		}},
		"about one with a host file": {body: word("alice", 1), want: "Subnet = 10.9.9.9\n", prepare: func(_ *world, m *member) {
			m.write("dave", "Subnet = 10.9.9.9\n")
		}},
		"about one who was removed": {body: word("alice", 1), prepare: func(_ *world, m *member) {
			m.write("dave", edLine(4))
			m.cfg.Store.Survey()
			m.remove("dave")
		}},
		"about too many": {body: word("alice", 1), prepare: func(_ *world, m *member) {
			m.cfg.Store.mu.Lock()
			defer m.cfg.Store.mu.Unlock()
			for i := range maxVouched {
				m.cfg.Store.load().Files[node.Name("n"+strings.Repeat("x", i+1))] = file{By: "alice"}
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
			_ = m.believe("dave", c.body)
			if got := m.file("hosts/dave"); got != c.want {
				t.Errorf("hosts/dave is %q, want %q", got, c.want)
			}
		})
	}
}

// What stands on somebody's word alone goes with that node, and gives way to what the node proves itself.
func TestWhatWasVouchedForIsNoOwnersWord(t *testing.T) {
	w := newWorld(t)
	w.member("alice", 1, hostText(1), nil)
	m := w.member("bob", 2, hostText(2), nil)
	m.write("alice", hostText(1))
	s := m.cfg.Store
	if _, _, err := s.Survey(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []node.Name{"dave", "erin", "frank"} {
		if fresh, err := s.takeVouched(n, []byte(rsaBlock(t)), "alice"); err != nil || !fresh {
			t.Fatalf("%s: %t, %v", n, fresh, err)
		}
	}
	m.write("erin", m.file("hosts/erin")+"Subnet = 10.1.5.1\n") // by hand
	if outcome, err := s.Offer("frank", "frank", []byte(hostText(6))); outcome != Stored || err != nil {
		t.Errorf("frank's own file: %v, %v", outcome, err)
	}
	m.remove("alice")
	_, dropped, err := s.Survey()
	if err != nil || len(dropped) != 1 || dropped[0] != "dave" {
		t.Errorf("dropped: %v, %v", dropped, err)
	}
	for _, r := range s.Removed() {
		if r.Node != "alice" {
			t.Errorf("%s counts as removed by the owner", r.Node)
		}
	}
	if m.file("hosts/dave") != "" || m.file("hosts/erin") == "" || m.file("hosts/frank") != hostText(6) {
		t.Error("the wrong files are there")
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

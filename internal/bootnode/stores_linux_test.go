package bootnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/node"
)

// stores runs a test with both kinds of store. again opens the same store once more, as another process or another boot node does.
func stores(t *testing.T, test func(t *testing.T, again func() *Store)) {
	t.Parallel()
	t.Run("directory", func(t *testing.T) {
		t.Parallel()
		l, err := confdir.Place{Conf: t.TempDir()}.Layout()
		if err != nil {
			t.Fatal(err)
		}
		test(t, func() *Store { return opened(t, l, StoreURL{}) })
	})
	t.Run("etcd", func(t *testing.T) {
		t.Parallel()
		at := startStore(t).at
		test(t, func() *Store {
			l, err := confdir.Place{Conf: t.TempDir()}.Layout()
			if err != nil {
				t.Fatal(err)
			}
			return opened(t, l, at)
		})
	})
}

func opened(t *testing.T, l confdir.Layout, at StoreURL) *Store {
	t.Helper()
	s, err := OpenStoreAt(l, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// used is a try to use a token.
type used struct {
	*testing.T
	*Store
	token string
}

// by is the error when a node uses the token, with a key and an address.
func (u used) by(name, key, address string) error {
	return u.use(u.Context(), u.token, claimant{node.Name(name), key}, func(others []Claim) (Claim, error) {
		for _, o := range others {
			if string(o.Name) == name && o.Key != key {
				return Claim{}, ErrTaken
			}
		}
		return Claim{Name: node.Name(name), Key: key, Subnets: []string{address}}, nil
	}, func() error { return nil })
}

// left is how many uses the token has, and who has joined.
func (u used) left() (left int, joined string) {
	u.Helper()
	tokens, err := u.List()
	if err != nil {
		u.Fatal(err)
	}
	i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == u.token })
	if i < 0 {
		return -99, ""
	}
	slices.Sort(tokens[i].Joined)
	return tokens[i].Left, fmt.Sprint(tokens[i].Joined)
}

func TestStores(t *testing.T) {
	stores(t, func(t *testing.T, again func() *Store) {
		s := again()
		secret := secretOf(t, "mazgouvqu7avyv25o2g7w33yjr7olvsf")
		add := func(l Limits) Token {
			t.Helper()
			token, err := s.Add(secret, l)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		token := add(Limits{Label: "three", Uses: 3, Old: true})
		one, two := used{t, s, token.ID}, used{t, again(), token.ID}
		check := func(what string, u used, left int, joined string) {
			t.Helper()
			if l, j := u.left(); l != left || j != joined {
				t.Errorf("%s: %d left, joined %s; not %d, %s", what, l, j, left, joined)
			}
		}
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		refused := func(err error, why string) {
			t.Helper()
			if !errors.As(err, new(Refusal)) || !strings.Contains(err.Error(), why) {
				t.Errorf("%v, not %q", err, why)
			}
		}

		// One identity, and one list of tokens.
		if a, err := one.Pin(); err != nil {
			t.Error(err)
		} else if b, _ := two.Pin(); a != b {
			t.Errorf("pins %s and %s", a, b)
		}
		if _, a, err := one.SelfSigned(); err != nil {
			t.Error(err)
		} else if _, b, _ := two.SelfSigned(); a != b {
			t.Errorf("certificates %s and %s", a, b)
		}
		check("new", two, 3, "[]")

		// Uses are counted, by whichever was asked; who repeats is not counted.
		ok(one.by("alice", "A", "10.7.0.2"))
		ok(two.by("alice", "A", "10.7.0.2"))
		check("alice", one, 2, "[alice]")
		ok(two.by("bob", "B", "10.7.0.3"))
		check("bob", one, 1, "[alice bob]")

		// What could not be stored, or was refused, is not counted.
		broken := errors.New("the disk is full")
		err := one.use(t.Context(), token.ID, claimant{"carol", "C"}, func([]Claim) (Claim, error) { return Claim{Name: "carol", Key: "C"}, nil },
			func() error { return broken })
		if !errors.Is(err, broken) {
			t.Error(err)
		}
		err = one.use(t.Context(), token.ID, claimant{"carol", "C"}, func([]Claim) (Claim, error) { return Claim{}, ErrTaken },
			func() error { t.Error("admitted"); return nil })
		refused(err, "another key")
		check("carol", two, 1, "[alice bob]")

		// The same text again, as a service adds it that starts: who has joined counts.
		add(Limits{Label: "three", Uses: 3, Old: true})
		check("added once more", two, 1, "[alice bob]")
		add(Limits{Label: "three", Uses: 4, Old: true})
		check("with more uses", two, 2, "[alice bob]")
		ok(two.by("carol", "D", "10.7.0.4"))
		ok(one.by("dave", "D", "10.7.0.5"))
		check("the last", two, 0, "[alice bob carol dave]")
		refused(one.by("eve", "E", "10.7.0.6"), "used up")
		ok(one.by("bob", "B", "10.7.0.3"))
		add(Limits{Label: "three", Uses: 2, Old: true})
		check("with less", two, 0, "[alice bob carol dave]")

		// Released: the use stays counted.
		for i, want := range []bool{true, false} {
			if found, err := two.Release("bob"); found != want || err != nil {
				t.Errorf("released for the %d. time: %v, %v", i+1, found, err)
			}
		}
		add(Limits{Label: "three", Uses: 5, Old: true})
		check("released", one, 1, "[alice carol dave]")
		ok(one.by("bob", "another", "10.7.0.3"))
		check("used up", two, 0, "[alice bob carol dave]")

		// Only the one that it is for, and only in time.
		add(Limits{Uses: Unlimited, Name: "zoe"})
		refused(two.by("yann", "Y", "10.7.0.7"), "for another node")
		ok(two.by("zoe", "Z", "10.7.0.7"))
		check("unlimited", one, Unlimited, "[alice bob carol dave zoe]")
		add(Limits{Uses: Unlimited, Expires: time.Now().Add(-time.Second)})
		refused(two.by("zoe", "Z", "10.7.0.7"), "expired")

		// Revoked at one, refused by the other. Its nonces are not kept any longer.
		token = add(Limits{Label: "old", Uses: Unlimited, Old: true})
		n, _ := newNonce(newRand())
		ok(one.spend(t.Context(), token.ID, n))
		if err := one.spend(t.Context(), token.ID, n); !errors.Is(err, errReplay) {
			t.Errorf("the same nonce: %v", err)
		}
		m, _ := newNonce(newRand())
		ok(one.spend(t.Context(), token.ID, m))
		if gone, err := one.Revoke("old"); err != nil || len(gone) != 1 {
			t.Errorf("%v, %v", gone, err)
		}
		refused(two.by("frank", "F", "10.7.0.8"), "revoked")
		check("revoked", two, -99, "")
		for i := range MaxTokens {
			secret, _ = NewSecret(newRand())
			add(Limits{Label: fmt.Sprint(i), Uses: 1})
		}
		secret, _ = NewSecret(newRand())
		if _, err := s.Add(secret, Limits{Uses: 1}); err == nil {
			t.Error("one token too many")
		}
	})
}

// What is kept once is made by whoever comes first, however many come.
func TestAllSeeWhatIsKeptOnce(t *testing.T) {
	stores(t, func(t *testing.T, again func() *Store) {
		const crowd = 8
		got := make(chan string, crowd)
		for i := range crowd {
			s := again()
			go func() {
				data, err := s.once(context.Background(), "thing", func() ([]byte, error) { return []byte{byte(i)}, nil })
				got <- fmt.Sprint(data, err)
			}()
		}
		first := <-got
		for range crowd - 1 {
			if one := <-got; one != first || !strings.Contains(one, "<nil>") {
				t.Errorf("%s and %s", first, one)
			}
		}
	})
}

func TestStoreURLs(t *testing.T) {
	dir := t.TempDir()
	for text, says := range map[string]string{
		"":                              "",
		"etcd://h/p":                    "etcd://h:2379/p",
		"etcd://h1:1,h2,[fd00::1]/a/b/": "etcd://h1:1,h2:2379,[fd00::1]:2379/a/b",
		"etcd://[fd00::1]:99/p":         "etcd://[fd00::1]:99/p",
		"etcds://h/p?ca=/a%26b&cert=/c%20d&key=/e":        "etcds://h:2379/p?ca=/a%26b&cert=/c d&key=/e",
		"etcds://boot@h/p?password-file=/pw":              "etcds://boot@h:2379/p?password-file=/pw",
		"etcd://a%40b@h/p?password-file=" + dir + "/../x": "etcd://a@b@h:2379/p?password-file=" + filepath.Clean(dir+"/../x"),
	} {
		u, err := ParseStoreURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if u.String() != says {
			t.Errorf("%s is %s, not %s", text, u, says)
		}
		if again, err := ParseStoreURL(u.String()); err != nil || again.String() != u.String() {
			t.Errorf("%s: once more %s, %v", text, again, err)
		}
	}
	for text, why := range map[string]string{
		"/var/lib":                    "HOST:2379/PREFIX",
		"http://h/p":                  "HOST:2379/PREFIX",
		"etcd://h":                    "prefix",
		"etcd://h/":                   "prefix",
		"etcd://h/a b":                "prefix",
		"etcd:///p":                   "no HOST",
		"etcd://h,/p":                 "no HOST",
		"etcd://h:0/p":                "no HOST",
		"etcd://h:x/p":                "no HOST",
		"etcd://a:b:c/p":              "no HOST",
		"etcd://boot:secret@h/p":      "no password in it",
		"etcd://boot@h/p":             "password-file",
		"etcd://h/p?password-file=/x": "USER@",
		"etcd://h/p?ca=/x":            "etcds://",
		"etcds://h/p?cert=/x":         "belong together",
		"etcds://h/p?ca=":             "no value",
		"etcds://h/p?insecure=1":      "no option",
	} {
		if u, err := ParseStoreURL(text); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, %v; not %q", text, u, err, why)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the password: %v", err)
		}
	}
	for text, exposed := range map[string]bool{"etcd://127.0.0.1,[::1],localhost/p": false, "etcd://127.0.0.1,192.0.2.1/p": true, "etcds://192.0.2.1/p": false, "etcd://h/p": true} {
		if u, err := ParseStoreURL(text); err != nil || u.Exposed() != exposed {
			t.Errorf("%s: exposed %v, %v", text, u.Exposed(), err)
		}
	}
}

func TestThePasswordIsInAFileOfItsOwn(t *testing.T) {
	l, err := confdir.Place{Conf: t.TempDir()}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "password")
	u, err := ParseStoreURL("etcd://boot@127.0.0.1/p?password-file=" + path)
	if err != nil {
		t.Fatal(err)
	}
	open := func(text string, mode os.FileMode) error {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenStoreAt(l, u)
		return err
	}
	if err := open("secret\n", 0o600); err != nil {
		t.Error(err)
	}
	for text, mode := range map[string]os.FileMode{"secret\n": 0o640, "\n": 0o600, "": 0o600, strings.Repeat("x", 2000): 0o600} {
		if err := open(text, mode); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.10q with mode %v: %v", text, mode, err)
		}
	}
}

func FuzzParseStoreURL(f *testing.F) {
	for _, text := range []string{"etcd://h/p", "etcds://u@h:1,[::1]/a/b?ca=/x&password-file=/y", "etcd://", "etcd://[::1/p", "etcds://h/p?ca=%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseStoreURL(text)
		if err != nil {
			return
		}
		if again, err := ParseStoreURL(u.String()); err != nil || again.String() != u.String() {
			t.Errorf("%q is %q, and then %q, %v", text, u, again, err)
		}
	})
}

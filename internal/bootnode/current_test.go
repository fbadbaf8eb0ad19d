package bootnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/limit"
	"tincan/internal/node"
	"tincan/internal/rate"
)

func TestJoiningWithAGeneratedToken(t *testing.T) {
	b := newBoot(t)
	secret, token := b.token(Limits{Label: "spring", Uses: 2})
	j, err := join(t, b.newcomer("alice", secret, Current))
	b.must(err)
	if j.Boot != "boot" || j.NetName != "home" || !netip.MustParsePrefix("10.7.0.0/16").Contains(j.Address.Addr()) || j.Address.Bits() != 16 {
		t.Errorf("%+v", j)
	}
	if len(j.Hosts) != 1 || string(j.Hosts["boot"]) != b.hosts()["boot"] {
		t.Errorf("hosts %q", j.Hosts)
	}
	if got := b.hosts()["alice"]; !strings.Contains(got, "Subnet = "+j.Address.Addr().String()+"\n") || !strings.Contains(got, "Ed25519PublicKey") {
		t.Errorf("stored %q", got)
	}
	logs := strings.Join(b.said(), "\n")
	for _, want := range []string{"alice joined", "127.0.0.1", "spring", token.ID, j.Address.Addr().String(), "key "} {
		if !strings.Contains(logs, want) {
			t.Errorf("%q is not in the log %q", want, logs)
		}
	}
	if strings.Contains(logs, secret.Reveal()) {
		t.Error("the token is in the log")
	}
}

func TestJoiningWithATokenOfAPerson(t *testing.T) {
	b := newBoot(t)
	_, err := b.store.Add(secretOf(t, "our summer house"), unlimited())
	b.must(err)
	if _, err := join(t, b.newcomer("alice", secretOf(t, "our summer house"), Current)); err != nil {
		t.Fatal(err)
	}
	if _, err := join(t, b.newcomer("bob", secretOf(t, "our winter house"), Current)); err == nil {
		t.Fatal("another token is accepted")
	}
}

func TestABootNodeLeadsNothingOfTheInternetIntoTheVPN(t *testing.T) {
	for _, network := range []string{"64.0.0.0/2", "8.8.0.0/16", "10.0.0.0/7", "2001:db8::/64"} {
		b := newBoot(t)
		b.server.Network.Ranges = []netip.Prefix{netip.MustParsePrefix(network).Masked()}
		secret, _ := b.token(unlimited())
		_, err := join(t, b.newcomer("alice", secret, Current))
		if !errors.As(err, new(PublicAddressError)) {
			t.Errorf("%s: %v", network, err)
		}
	}
}

func TestNewcomersAreGivenThoseWhoCanBeDialled(t *testing.T) {
	b := newBoot(t)
	b.must(os.WriteFile(b.layout.Host("carol"), []byte("Address = 192.0.2.3\nSubnet = 10.7.0.3\n"+keyLine(3)), 0o644))
	b.must(os.WriteFile(b.layout.Host("dave"), []byte("Subnet = 10.7.0.4\n"+keyLine(4)), 0o644))
	secret, _ := b.token(unlimited())
	j, err := join(t, b.newcomer("alice", secret, Current))
	if err != nil || len(j.Hosts) != 2 || j.Hosts["carol"] == nil {
		t.Errorf("hosts %q, %v", j.Hosts, err)
	}
}

// Each case is one newcomer that must not get in.
func TestTokensThatAreNotGood(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		spoil  func(b *boot, token Token)
		why    string
	}{
		"expired":          {Limits{Uses: Unlimited, Expires: time.Now().Add(-time.Second)}, nil, ""},
		"used up":          {Limits{Uses: 1}, func(b *boot, _ Token) {}, "used up"},
		"revoked":          {unlimited(), func(b *boot, token Token) { n, err := b.store.Revoke(token.ID); b.must(err); _ = n }, ""},
		"of another label": {Limits{Label: "x", Uses: 5}, func(b *boot, _ Token) { _, err := b.store.Revoke("x"); b.must(err) }, ""},
		"for another node": {Limits{Uses: 5, Name: "zoe"}, nil, "another node"},
	} {
		for _, p := range []Protocol{Current, Generation1, Generation2} {
			t.Run(name+" by "+string(p), func(t *testing.T) {
				b := newBoot(t, Generation1, Generation2)
				c.limits.Old = true
				secret, token := b.token(c.limits)
				if name == "used up" {
					_, err := join(t, b.newcomer("first", secret, p))
					b.must(err)
				}
				if c.spoil != nil {
					c.spoil(b, token)
				}
				b.said()
				before := len(b.hosts())
				_, err := join(t, b.newcomer("alice", secret, p))
				if err == nil || len(b.hosts()) != before {
					t.Errorf("let in: %v", err)
				}
				if c.why != "" && !strings.Contains(err.Error(), c.why) {
					t.Errorf("%v does not say why", err)
				}
				if logs := b.said(); len(logs) != 1 {
					t.Errorf("logged %q", logs)
				}
			})
		}
	}
}

func TestSomebodyWhoMissedTheAnswerAsksAgain(t *testing.T) {
	b := newBoot(t)
	secret, _ := b.token(Limits{Uses: 1})
	alice := b.newcomer("alice", secret, Current)
	first, err := join(t, alice)
	b.must(err)
	alice.Host = append(alice.Host, "Address = 192.0.2.77\n"...) // only the node itself may change its file
	second, err := join(t, alice)
	b.must(err)
	if first.Address != second.Address {
		t.Errorf("address %v, then %v", first.Address, second.Address)
	}
	if got := b.hosts()["alice"]; !strings.Contains(got, "192.0.2.77") || strings.Count(got, "Subnet") != 1 {
		t.Errorf("stored %q", got)
	}
	thief := b.newcomer("alice", secret, Current)
	thief.Key = keys.FromSeed([32]byte{99})
	thief.Host = []byte("Ed25519PublicKey = " + thief.Key.Public().String() + "\n")
	if _, err := join(t, thief); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("the name was given to another key: %v", err)
	}
}

func TestOnlyTheOwnerOfAKeyBringsItIn(t *testing.T) {
	b := newBoot(t)
	secret, _ := b.token(unlimited())
	mallory := b.newcomer("mallory", secret, Current)
	mallory.Key = keys.FromSeed([32]byte{99})
	if _, err := join(t, mallory); err == nil {
		t.Error("somebody brings in the key of somebody else")
	}
	mallory.Key = nil
	if _, err := join(t, mallory); err == nil {
		t.Error("a key comes in without a signature")
	}
	if len(b.hosts()) != 1 {
		t.Error("a host file was stored")
	}
}

func TestUnacceptableNewcomers(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"the boot node's own name":        func(r *Request) { r.Name = "boot" },
		"a path as a name":                func(r *Request) { r.Name = "../tinc-up" },
		"a name with a line break":        func(r *Request) { r.Name = "a\nScriptsInterpreter" },
		"a name that is a pattern":        func(r *Request) { r.Name = "a(" },
		"no name":                         func(r *Request) { r.Name = "" },
		"a name longer than a file name":  func(r *Request) { r.Name = node.Name(strings.Repeat("a", 256)) },
		"no key":                          func(r *Request) { r.Host, r.Key = []byte("Port = 1\n"), nil },
		"binary data":                     func(r *Request) { r.Host = []byte("\x00\xff\x7f") },
		"a default route":                 func(r *Request) { r.Host = append(r.Host, "Subnet = 0.0.0.0/0\n"...) },
		"half of one":                     func(r *Request) { r.Host = append(r.Host, "Subnet = 128.0.0.0/1\n"...) },
		"a subnet outside of the network": func(r *Request) { r.Host = append(r.Host, "Subnet = 192.168.1.0/24\n"...) },
		"the boot node's address":         func(r *Request) { r.Host = append(r.Host, "Subnet = 10.7.0.1\n"...) },
		"a private key in the file":       func(r *Request) { r.Host = append(r.Host, keys.MarshalPrivatePEM(keys.FromSeed([32]byte{1}))...) },
		"a hundred addresses":             func(r *Request) { r.Host = append(r.Host, strings.Repeat("Address = 192.0.2.1\n", 100)...) },
	} {
		for _, p := range []Protocol{Current, Generation1, Generation2} {
			if name == "no key" && p != Current {
				continue // the old programs make such files
			}
			t.Run(name+" by "+string(p), func(t *testing.T) {
				b := newBoot(t, Generation1, Generation2)
				limits := unlimited()
				limits.Old = true
				secret, _ := b.token(limits)
				r := b.newcomer("alice", secret, p)
				if p != Current {
					r.Key = nil
				}
				change(&r)
				var err error
				if p == Generation1 { // names that no client would put into a URL
					err = b.raw1(secret, string(r.Name), r.Host)
				} else {
					_, err = join(t, r)
				}
				if err == nil {
					t.Error("let in")
				}
				b.refusedOnce("")
			})
		}
	}
}

// raw1 sends a request of generation 1 with any name at all.
func (b *boot) raw1(secret Secret, name string, host []byte) error {
	n, err := newNonce(newRand())
	b.must(err)
	path := "/" + n.String() + "/"
	for _, c := range []byte(name) {
		path += fmt.Sprintf("%%%02x", c)
	}
	status, _, body := b.do("POST", path, seal1(secret.oldKey(), n, name, host))
	if status == 200 {
		return nil
	}
	return fmt.Errorf("%d %s", status, body)
}

// What may be left out is left out, and said.
func TestSettingsThatDoHarmAreLeftOut(t *testing.T) {
	b := newBoot(t)
	secret, _ := b.token(unlimited())
	r := b.newcomer("alice", secret, Current)
	r.Host = append(r.Host, "Cipher = none\nScriptsInterpreter = /bin/sh\n"...)
	_, err := join(t, r)
	b.must(err)
	if got := b.hosts()["alice"]; strings.Contains(got, "Cipher") || strings.Contains(got, "Scripts") {
		t.Errorf("stored %q", got)
	}
	if logs := strings.Join(b.said(), "\n"); strings.Count(logs, "left out") != 2 {
		t.Errorf("logged %q", logs)
	}
}

// A recorded request works once, also after a restart, and for no other name.
func TestReplayedRequests(t *testing.T) {
	t.Run("generation 1", func(t *testing.T) {
		b := newBoot(t, Generation1)
		limits := unlimited()
		limits.Old = true
		secret, _ := b.token(limits)
		n, _ := newNonce(newRand())
		path, body := "/"+n.String()+"/alice", seal1(secret.oldKey(), n, "alice", []byte("Port = 1\n"))
		if status, _, _ := b.do("POST", path, body); status != 200 {
			t.Fatal(status)
		}
		b.must(os.Remove(b.layout.Host("alice")))
		b.said()
		if status, _, answer := b.do("POST", path, body); status != 403 || len(answer) > 0 {
			t.Errorf("status %d, %q", status, answer)
		}
		b.refusedOnce("used before")
		b.serve(nil) // once more, as after a restart
		if status, _, _ := b.do("POST", path, body); status != 403 {
			t.Errorf("after a restart: status %d", status)
		}
		b.refusedOnce("used before")
		path = "/" + strings.ToUpper(n.String()) + "/mallory"
		if status, _, _ := b.do("POST", path, seal1(secret.oldKey(), n, "mallory", []byte("Port = 1\n"))); status != 403 {
			t.Errorf("another message under the nonce: status %d", status)
		}
		b.refusedOnce("used before")
	})
	t.Run("generation 2", func(t *testing.T) {
		b := newBoot(t, Generation2)
		limits := unlimited()
		limits.Old = true
		secret, _ := b.token(limits)
		body, _ := seal2(newRand(), secret.oldKey(), envelope{"alice", []byte("Port = 1\n")})
		if status, _, _ := b.do("POST", "/", body); status != 200 {
			t.Fatal(status)
		}
		b.must(os.Remove(b.layout.Host("alice")))
		b.said()
		if status, _, _ := b.do("POST", "/", body); status != 401 {
			t.Errorf("status %d", status)
		}
		b.refusedOnce("used before")
	})
	t.Run("the protocol of tincan", func(t *testing.T) {
		b := newBoot(t)
		secret, _ := b.token(unlimited())
		tap := newTap(t, b)
		r := b.newcomer("alice", secret, Current)
		r.URLs[0] = tap.url
		_, err := join(t, r)
		b.must(err)
		b.must(os.Remove(b.layout.Host("alice")))
		b.said()
		hello, ask := tap.bodies[0], tap.bodies[1]
		if status, _, _ := b.do("POST", pathJoin, ask); status != 403 {
			t.Errorf("the same session: status %d", status)
		}
		b.refusedOnce("no such session")
		_, _, reply := b.do("POST", pathHello, hello)
		if status, _, _ := b.do("POST", pathJoin, append(reply[:sessionSize:sessionSize], ask[sessionSize:]...)); status != 403 {
			t.Errorf("in a new session: status %d", status)
		}
		b.refusedOnce("does not know a token")
	})
}

// tap passes requests on to a boot node, and keeps them.
type tap struct {
	url    URL
	bodies [][]byte
}

func newTap(t *testing.T, b *boot) *tap {
	x := &tap{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		x.bodies = append(x.bodies, body.Bytes())
		status, _, answer := b.do(r.Method, r.URL.Path, body.Bytes())
		w.WriteHeader(status)
		w.Write(answer)
	}))
	t.Cleanup(s.Close)
	x.url, _ = ParseURL(s.URL)
	return x
}

func TestReflectedRequests(t *testing.T) {
	secret, _ := NewSecret(newRand())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		w.Header().Set("X-Node", "alice")
		w.Write(body.Bytes())
	}))
	defer s.Close()
	u, _ := ParseURL(s.URL)
	for _, p := range []Protocol{Current, Generation1, Generation2} {
		r := Request{URLs: []URL{u}, Token: secret, Protocol: p, Name: "alice", Host: []byte("Port = 1\n")}
		if j, err := join(t, r); err == nil {
			t.Errorf("%s: joined %+v", p, j)
		}
	}
}

// A false boot node that has the token is still bound by names.
func TestAnswersThatWouldWriteElsewhere(t *testing.T) {
	secret, _ := NewSecret(newRand())
	for _, name := range []string{"../tinc-up", "", "alice", "a b", "a/b", ".."} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := parseNonce(strings.Split(r.URL.Path, "/")[1])
			w.Header().Set("X-Node", name)
			w.Write(seal1(secret.oldKey(), n, name, []byte("Port = 1\n")))
		}))
		u, _ := ParseURL(s.URL)
		if _, err := join(t, Request{URLs: []URL{u}, Token: secret, Protocol: Generation1, Name: "alice", Host: []byte("Port = 2\n")}); err == nil {
			t.Errorf("a boot node called %q is believed", name)
		}
		s.Close()
	}
	hosts, err := archive{"alice": nil, "../x": nil, "bob": []byte("x"), "Carol": nil}.of("alice")
	if err != nil || len(hosts) != 1 || hosts["bob"] == nil {
		t.Errorf("%q, %v", hosts, err)
	}
	for name, a := range map[string]archive{"for somebody else": {"bob": nil, "carol": nil}, "our own alone": {"alice": nil}} {
		if _, err := a.of("alice"); err == nil {
			t.Errorf("an archive %s is accepted", name)
		}
	}
}

func TestWrongBootNodes(t *testing.T) {
	b, other := newBoot(t), newBoot(t)
	secret, _ := b.token(unlimited())
	pin, err := other.store.Pin()
	b.must(err)
	r := b.newcomer("alice", secret, Current)
	r.URLs[0].keyPin = pin
	if _, err := join(t, r); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("another key is accepted: %v", err)
	}
	r.URLs[0].keyPin, _ = b.store.Pin()
	if _, err := join(t, r); err != nil {
		t.Error(err)
	}
	// Somebody without the token cannot answer in the place of the boot node.
	r = other.newcomer("bob", secret, Current)
	if _, err := join(t, r); err == nil {
		t.Error("a boot node without the token is believed")
	}
}

func TestTLSWithAPin(t *testing.T) {
	b := newBoot(t)
	cert, pin, err := b.store.SelfSigned()
	b.must(err)
	again, samePin, err := b.store.SelfSigned()
	if err != nil || samePin != pin || !bytes.Equal(cert.Certificate[0], again.Certificate[0]) {
		t.Error("the certificate is recreated each time")
	}
	b.serve(tlsOf(cert))
	secret, _ := b.token(unlimited())
	r := b.newcomer("alice", secret, Current)
	if _, err := join(t, r); err == nil {
		t.Error("an unknown certificate is accepted")
	}
	r.URLs[0], err = ParseURL(b.url.String() + "#sha256=" + pin)
	b.must(err)
	if _, err := join(t, r); err != nil {
		t.Error(err)
	}
	r = b.newcomer("bob", secret, Current)
	r.URLs[0].certPin = "AAAA"
	if _, err := join(t, r); err == nil {
		t.Error("another certificate is accepted")
	}
}

func TestOldProtocolsAreOffUnlessAskedFor(t *testing.T) {
	b := newBoot(t)
	limits := unlimited()
	limits.Old = true
	secret, _ := b.token(limits)
	for _, p := range []Protocol{Generation1, Generation2} {
		r := b.newcomer("alice", secret, p)
		if _, err := join(t, r); err == nil {
			t.Errorf("%s works", p)
		}
		b.refusedOnce("old protocols are off")
	}
	// And a token that is not for them does not work when they are on.
	b = newBoot(t, Generation1, Generation2)
	secret, _ = b.token(unlimited())
	for _, p := range []Protocol{Generation1, Generation2} {
		if _, err := join(t, b.newcomer("alice", secret, p)); err == nil {
			t.Errorf("%s works with a token that is not for it", p)
		}
		b.refusedOnce("token")
	}
}

func TestSeveralBootNodes(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	gone, _ := ParseURL(dead.Addr().String())
	b := newBoot(t)
	secret, _ := b.token(unlimited())

	r := b.newcomer("alice", secret, Current)
	r.URLs = []URL{gone, b.url}
	if j, err := join(t, r); err != nil || j.URL != b.url {
		t.Errorf("%v, %v", j.URL, err)
	}
	r.URLs = []URL{gone, gone}
	if _, err := join(t, r); err == nil || !strings.Contains(err.Error(), "all boot nodes failed") {
		t.Error(err)
	}
	// What one of them says counts, whichever was asked last.
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	old, _ := ParseURL(web.URL)
	for _, urls := range [][]URL{{gone, old}, {old, gone}} {
		r.URLs = urls
		if _, err := join(t, r); !errors.Is(err, ErrNotCurrent) {
			t.Errorf("%v: %v", urls, err)
		}
	}
	// A boot node that starts late is found, one that refuses is not asked again.
	strict := newBoot(t)
	r = b.newcomer("bob", secret, Current)
	r.URLs, r.Timeout, r.pause = []URL{gone, strict.url}, 10*time.Second, 20*time.Millisecond
	go func() {
		time.Sleep(200 * time.Millisecond)
		l, err := net.Listen("tcp", dead.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		b.server.Serve(t.Context(), l)
	}()
	if _, err := join(t, r); err != nil {
		t.Error(err)
	}
	if logs := strict.said(); len(logs) != 1 {
		t.Errorf("the one that refused was asked %d times", len(logs))
	}
}

func TestTwoHundredAtOnce(t *testing.T) {
	crowd := 200
	if testing.Short() { // the race detector makes each ten times as expensive
		crowd = 50
	}
	for _, p := range []Protocol{Current, Generation1, Generation2} {
		t.Run(string(p), func(t *testing.T) {
			b := newBoot(t, Generation1, Generation2)
			limits := unlimited()
			limits.Uses, limits.Old = crowd, true
			secret, token := b.token(limits)
			var wg sync.WaitGroup
			var mu sync.Mutex
			addrs := map[netip.Addr]string{}
			for i := range crowd {
				wg.Go(func() {
					name := fmt.Sprintf("node%d", i)
					r := b.newcomer(name, secret, p)
					r.Timeout = 5 * time.Minute // on a busy machine an attempt may take too long; then it asks again, as everybody does
					r.Key = keys.FromSeed([32]byte{7, byte(i)})
					r.Host = []byte("Ed25519PublicKey = " + r.Key.Public().String() + "\n")
					j, err := join(t, r)
					mu.Lock()
					defer mu.Unlock()
					if err != nil {
						t.Errorf("%s: %v", name, err)
					} else if other := addrs[j.Address.Addr()]; other != "" && p == Current {
						t.Errorf("%s and %s both have %v", name, other, j.Address)
					}
					addrs[j.Address.Addr()] = name
				})
			}
			wg.Wait()
			hosts := b.hosts()
			if len(hosts) != crowd+1 {
				t.Errorf("%d host files", len(hosts))
			}
			for name, text := range hosts {
				if !strings.HasSuffix(text, "\n") || !strings.Contains(text, "Ed25519PublicKey = ") {
					t.Errorf("the file of %s is torn: %q", name, text)
				}
			}
			tokens, err := b.store.List()
			if err != nil || len(tokens) != 1 || tokens[0].ID != token.ID || tokens[0].Left != 0 {
				t.Errorf("%v, %v", tokens, err)
			}
			b.said()
			if _, err := join(t, b.newcomer("late", secret, p)); err == nil {
				t.Error("the two hundred and first gets in")
			}
		})
	}
}

func TestTheSameNameTwentyTimesAtOnce(t *testing.T) {
	b := newBoot(t)
	secret, _ := b.token(unlimited())
	var wg sync.WaitGroup
	var mu sync.Mutex
	in := 0
	for i := range 20 {
		wg.Go(func() {
			r := b.newcomer("alice", secret, Current)
			r.Key = keys.FromSeed([32]byte{8, byte(i)})
			r.Host = []byte("Ed25519PublicKey = " + r.Key.Public().String() + "\n")
			if _, err := join(t, r); err == nil {
				mu.Lock()
				in++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if in != 1 {
		t.Errorf("%d nodes have the name", in)
	}
}

func TestLargeBodiesCostNothing(t *testing.T) {
	b := newBoot(t, Generation1, Generation2)
	n, _ := newNonce(newRand())
	for _, path := range []string{"/" + n.String() + "/alice", pathHello, pathJoin} {
		for _, announced := range []bool{true, false} {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			body := &zeros{left: 100 << 20}
			req, err := http.NewRequest("POST", b.url.base+path, body)
			b.must(err)
			if announced {
				req.ContentLength = 100 << 20
			}
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				res.Body.Close()
				if res.StatusCode != http.StatusRequestEntityTooLarge {
					t.Errorf("%s: status %d", path, res.StatusCode)
				}
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
				t.Errorf("%s: %d bytes of memory were used", path, grown)
			}
			if body.unread() < 50<<20 {
				t.Errorf("%s: most of it was read", path)
			}
			b.refusedOnce("the body has")
		}
	}
}

type zeros struct {
	mu   sync.Mutex
	left int
}

func (z *zeros) Read(p []byte) (int, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.left == 0 {
		return 0, fmt.Errorf("the end")
	}
	n := min(len(p), z.left)
	clear(p[:n])
	z.left -= n
	return n, nil
}

func (z *zeros) unread() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.left
}

func TestWrongRequestsOfOneAddressAreLimited(t *testing.T) {
	b := newBoot(t)
	secret, _ := b.token(unlimited())
	wrong, _ := NewSecret(newRand())
	for range 10 { // ten mistakes are human
		if _, err := join(t, b.newcomer("alice", wrong, Current)); err == nil {
			t.Fatal("let in")
		}
	}
	if _, err := join(t, b.newcomer("alice", secret, Current)); err != nil {
		t.Fatal(err)
	}
	var last error
	for range 40 {
		_, last = join(t, b.newcomer("bob", wrong, Current))
	}
	if last == nil || !strings.Contains(last.Error(), "429") {
		t.Errorf("the fiftieth guess: %v", last)
	}
	if logs := b.said(); len(logs) > logLimit.Burst+10 {
		t.Errorf("%d lines were logged", len(logs))
	}
}

func TestSlowClientsAreShownTheDoor(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	b := newBoot(t)
	var conns []net.Conn
	for _, begin := range []string{"", "POST /", "POST " + pathHello + " HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\n\r\nabc"} {
		c, err := net.Dial("tcp", b.url.base[len("http://"):])
		b.must(err)
		fmt.Fprint(c, begin)
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(ioTimeout + 5*time.Second))
		buf := make([]byte, 1000)
		for {
			if _, err := c.Read(buf); err != nil {
				if err, ok := err.(net.Error); ok && err.Timeout() {
					t.Error("it is still connected")
				}
				break
			}
		}
	}
	time.Sleep(100 * time.Millisecond)
	if logs := b.said(); len(logs) != 3 {
		t.Errorf("logged %q", logs)
	}
}

func TestStoreKeepsSecretsToItself(t *testing.T) {
	b := newBoot(t, Generation1)
	secret, token := b.token(Limits{Label: "test", Uses: Unlimited, Old: true})
	b.store.SelfSigned()
	_, err := join(t, b.newcomer("alice", secret, Generation1))
	b.must(err)
	dir := b.layout.ConfBase + "/boot"
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) < 4 {
		t.Errorf("only %d files", len(entries))
	}
	for _, e := range entries {
		info, _ := e.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
		data, _ := os.ReadFile(dir + "/" + e.Name())
		if bytes.Contains(data, []byte(secret.Reveal())) {
			t.Errorf("the text of a token stands in %s", e.Name())
		}
	}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, token), fmt.Sprintf("%v %+v", token, &token)} {
		if strings.Contains(text, secret.Reveal()) || strings.Contains(text, fmt.Sprint(token.Shared[:4])) {
			t.Errorf("printed %q", text)
		}
	}
	// A second look at the same directory sees the same key.
	s, err := OpenStoreAt(b.layout, StoreURL{})
	b.must(err)
	one, _ := b.store.Pin()
	if two, _ := s.Pin(); one != two || len(one) != 24 {
		t.Errorf("pins %q and %q", one, two)
	}
}

func TestWeakTokens(t *testing.T) {
	for text, weak := range map[string]bool{
		"MY TOKEN":                     true,
		"secret":                       true,
		"correct horse battery staple": true,
		"1234567890123456789012345678": true,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": true,
		"summer2026summer2026":             true,
		"0f3b5c7d9e1a2b4c6d8e0f1a2b3c4d5e": false,
		"hXk29dPqLm4ZtR7vWc3B":             false,
		"KjWqXvTzRbNmLpDfGhScVkQwZxJtYrBn": false, // what run makes
	} {
		if secretOf(t, text).Weak() != weak {
			t.Errorf("%q: weak %v, %v bits", text, !weak, secretOf(t, text).bits())
		}
	}
	for range 20 {
		s, _ := NewSecret(newRand())
		if s.Weak() || len(s.Reveal()) != 32 {
			t.Errorf("generated token of %v bits, generated %v", s.bits(), s.generated())
		}
	}
	if secretOf(t, strings.Repeat("a", 32)).generated() {
		t.Error("any 32 letters count as generated")
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"boot.example.org":              "http://boot.example.org:8655",
		"192.0.2.1:80":                  "http://192.0.2.1:80",
		"[2001:db8::1]:8655":            "http://[2001:db8::1]:8655",
		"http://boot.example.org:8655/": "http://boot.example.org:8655",
		"https://boot.example.org/a/b/": "https://boot.example.org:8655/a/b",
		"https://x:1#sha256=AB":         "https://x:1",
		"http://x:1#key=AB":             "http://x:1",
		"https://x:1#sha256=AB&key=CD":  "https://x:1",
		"ftp://x":                       "",
		"http://x#sha256=AB":            "", // there is no certificate
		"https://x#md5=AB":              "",
		"http://user:password@x":        "",
		"":                              "",
		"http://":                       "",
		"http://x?a=b":                  "",
	} {
		u, err := ParseURL(text)
		if (err != nil) != (want == "") || u.String() != want {
			t.Errorf("%q: %q, %v", text, u, err)
		}
	}
}

func TestRangesOf(t *testing.T) {
	for name, c := range map[string]struct{ conf, up, want string }{
		"of tincan":    {"Name = a\nIfconfig = 10.7.0.1/16\n", "", "[10.7.0.0/16]"},
		"two families": {"Ifconfig = 10.7.0.1/16\nIfconfig = fd00::1/64\n", "", "[10.7.0.0/16 fd00::/64]"},
		"of tinc-boot": {"Name = a\n", "#!/bin/bash\nip addr add 172.173.61.251/16 dev $INTERFACE\nip link set dev $INTERFACE up\n", "[172.173.0.0/16]"},
		"nothing":      {"Name = a\n", "", "[]"},
	} {
		l, err := confdir.Place{Conf: t.TempDir()}.Layout()
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(l.TincConf(), []byte(c.conf), 0o644)
		if c.up != "" {
			os.WriteFile(l.Script("tinc-up"), []byte(c.up), 0o755)
		}
		if got := fmt.Sprint(RangesOf(l)); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestLongAnswers(t *testing.T) {
	for _, size := range []int{0, 1, maxRecord - 100, maxRecord, 3 * maxRecord} {
		psk := [32]byte{1}
		s := &session{salt: make([]byte, saltSize), seed: [32]byte{2}}
		s.static, _ = noiseSuite.GenerateKeypair(newRand())
		n, hello, err := newNewcomer(newRand())
		if err != nil {
			t.Fatal(err)
		}
		copy(s.hello[:], hello)
		_, reply, err := s.start(nil)
		if err != nil {
			t.Fatal(err)
		}
		token, _ := NewSecret(newRand())
		psk = token.shared(s.salt)
		message, receive, err := n.ask(reply, "", token, request{Name: "alice"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, send, err := s.finish([32]byte{}, message); err == nil || send != nil {
			t.Error("another token opens it")
		}
		r, _, send, err := s.finish(psk, message)
		if err != nil || r.Name != "alice" {
			t.Fatal(r, err)
		}
		want := answer{Node: "boot", Hosts: map[string][]byte{"boot": bytes.Repeat([]byte{'x'}, size)}}
		sealed, err := sealAnswer(send, want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := openAnswer(receive, sealed)
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func FuzzServe(f *testing.F) {
	f.Add("POST", "/2801b6d403e4d445869c616f93ed10f7d48a2396ecb4183e/node1", []byte("body"))
	f.Add("POST", pathHello, bytes.Repeat([]byte{9}, 32))
	f.Add("POST", pathJoin, bytes.Repeat([]byte{9}, 100))
	f.Add("GET", "//..%2f/x/", []byte{})
	b := &boot{}
	l, err := confdir.Place{Conf: f.TempDir()}.Layout()
	if err != nil {
		f.Fatal(err)
	}
	os.Mkdir(l.Hosts(), 0o755)
	os.WriteFile(l.Host("boot"), []byte("Subnet = 10.7.0.1\nAddress = 192.0.2.1\n"), 0o644)
	b.store, err = OpenStore(l)
	if err != nil {
		f.Fatal(err)
	}
	secret, _ := NewSecret(newRand())
	b.store.Add(secret, Limits{Uses: Unlimited, Old: true})
	s := &Server{Network: &Network{Layout: l, Name: "boot"}, Store: b.store, Old: []Protocol{Generation1, Generation2}}
	if err := s.open(f.Context()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		s.failures = limit.Buckets{Limit: rate.Limit{Burst: 100, Every: 1}}
		r, err := http.NewRequestWithContext(context.Background(), method, "http://x/", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.URL.Path, r.RemoteAddr = path, "192.0.2.1:1"
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == 200 && path != pathHello {
			t.Errorf("%s %q: let in", method, path)
		}
	})
}

func FuzzOpenAnswer(f *testing.F) {
	f.Add([]byte{0, 1, 2}, []byte(`{"a":"eA=="}`))
	f.Fuzz(func(t *testing.T, sealed, plain []byte) {
		cs, err := handshake(true, mustKey(), newRand(), nil)
		if err != nil || cs == nil {
			t.Fatal(err)
		}
		var key [32]byte
		if _, err := openArchive(key, sealed, "alice"); err == nil {
			t.Error("opened without the key")
		}
		var n nonce
		body := oldCipher(key).Seal(n[:], n[:], plain, nil)
		if hosts, err := openArchive(key, body, "alice"); err == nil && hosts["alice"] != nil {
			t.Error("our own host file is in it")
		}
	})
}

func TestATokenThatWasReadOut(t *testing.T) {
	made, err := NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := made.Reveal()
	for _, written := range []string{
		text, strings.ToUpper(text), made.Groups(), " " + strings.ReplaceAll(strings.ToUpper(made.Groups()), " ", "-") + " ",
		strings.ReplaceAll(text, "o", "0"), strings.ReplaceAll(text, "l", "1"), strings.ReplaceAll(text, "i", "1"),
	} {
		if s, err := ParseSecret(written); err != nil || s != made || s.Mistyped() {
			t.Errorf("%d characters in another way of writing were not recognised: %v", len(written), err)
		}
	}
	other := "a"
	if text[5] == 'a' {
		other = "b"
	}
	for name, wrong := range map[string]string{
		"another letter": text[:5] + other + text[6:], "two exchanged": text[:3] + text[4:5] + text[3:4] + text[5:],
	} {
		if s, err := ParseSecret(wrong); err != nil || wrong != text && !s.Mistyped() {
			t.Errorf("%s: not told from a wrong token", name)
		}
	}
	for _, chosen := range []string{"MY TOKEN", "a-b c", "0123456789abcdef0123456789abcdef", "correct horse battery staple"} {
		s, err := ParseSecret(chosen)
		if err != nil || s.Reveal() != chosen || s.Groups() != chosen || s.Mistyped() {
			t.Errorf("%q became %q", chosen, s.Reveal())
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add("abcd-efgh ijkl")
	f.Add("MY TOKEN")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err != nil {
			return
		}
		if !s.generated() && s.Reveal() != text {
			t.Errorf("%q became %q", text, s.Reveal())
		}
		if again, err := ParseSecret(s.Groups()); err != nil || again != s {
			t.Errorf("%q: its groups are another token", text)
		}
	})
}

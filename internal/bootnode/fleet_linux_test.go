package bootnode

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/etcd"
	"tincan/internal/fixture"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// etcdStore is a store in a real etcd.
type etcdStore struct {
	*fixture.Etcd
	at StoreURL
}

func startStore(t testing.TB) etcdStore {
	t.Helper()
	e := fixture.StartEtcd(t, false)
	at, err := ParseStoreURL("etcd://" + e.Endpoint + "/tincan/home")
	if err != nil {
		t.Fatal(err)
	}
	at.attempt = time.Minute // the machine may be busy
	return etcdStore{e, at}
}

// fleet makes boot nodes that share a store, boot1, boot2 and so on, and know each other.
func fleet(t *testing.T, at StoreURL, n int, old ...Protocol) (all []*boot) {
	t.Helper()
	for i := range n {
		all = append(all, newBootAt(t, at, node.Name(fmt.Sprintf("boot%d", i+1)), byte(i+1), old...))
	}
	for _, b := range all {
		for _, o := range all {
			data, err := os.ReadFile(o.layout.Host(o.server.Network.Name))
			if err == nil {
				err = os.WriteFile(b.layout.Host(o.server.Network.Name), data, 0o644)
			}
			b.must(err)
		}
	}
	return all
}

// who is a newcomer with a key that follows from two numbers.
func who(name string, a, b byte, secret Secret, urls ...URL) Request {
	key := keys.FromSeed([32]byte{a, b, 9})
	return Request{
		URLs: urls, Token: secret, Protocol: Current, Name: node.Name(name), Key: key, Assign: true, Attempt: 2 * time.Minute,
		Host: []byte("Ed25519PublicKey = " + key.Public().String() + "\n"),
	}
}

// Three boot nodes are asked at once by many, who all know a token for some of them.
func TestThreeBootNodesAdmitNoneTooMany(t *testing.T) {
	t.Parallel()
	crowd, uses := 60, 25
	if testing.Short() {
		crowd, uses = 24, 10
	}
	boots := fleet(t, startStore(t).at, 3)
	secret, token := boots[0].token(Limits{Label: "some", Uses: uses})
	var mu sync.Mutex
	var wg sync.WaitGroup
	in := map[string]Joined{}
	addresses := map[netip.Addr]string{}
	for i := range crowd {
		wg.Go(func() {
			name := fmt.Sprintf("node%d", i)
			j, err := join(t, who(name, 1, byte(i), secret, boots[i%3].url))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if !strings.Contains(err.Error(), "used up") {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			if other := addresses[j.Address.Addr()]; other != "" {
				t.Errorf("%s and %s both have %v", name, other, j.Address)
			}
			in[name], addresses[j.Address.Addr()] = j, name
		})
	}
	wg.Wait()
	if len(in) != uses {
		t.Errorf("%d of %d uses", len(in), uses)
	}
	tokens, err := boots[2].store.List()
	if err != nil || len(tokens) != 1 || tokens[0].ID != token.ID || tokens[0].Left != 0 || len(tokens[0].Joined) != uses {
		t.Errorf("%+v, %v", tokens, err)
	}
	// Who has missed the answer asks another one: it is the same node with the same address, and no use.
	for i := range crowd {
		name := fmt.Sprintf("node%d", i)
		j, err := join(t, who(name, 1, byte(i), secret, boots[(i+1)%3].url))
		was, joined := in[name]
		if joined && (err != nil || j.Address != was.Address) || !joined && err == nil {
			t.Errorf("%s once more: %v, %v; before %v", name, j.Address, err, was.Address)
		}
	}
}

// One name and one address, and who wants them at three boot nodes.
func TestANameAndAnAddressAreGivenOnce(t *testing.T) {
	t.Parallel()
	boots := fleet(t, startStore(t).at, 3)
	secret, _ := boots[0].token(unlimited())
	race := func(request func(i int) Request) (won int) {
		var wg sync.WaitGroup
		var n atomic.Int32
		for i := range 12 {
			wg.Go(func() {
				if _, err := join(t, request(i)); err == nil {
					n.Add(1)
				} else if !strings.Contains(err.Error(), "belongs to") && !strings.Contains(err.Error(), "another key") {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return int(n.Load())
	}
	if n := race(func(i int) Request {
		r := who(fmt.Sprintf("node%d", i), 3, byte(i), secret, boots[i%3].url)
		r.Assign, r.Host = false, append(r.Host, "Subnet = 10.7.9.0/24\n"...)
		if i%2 == 1 { // within it
			r.Host = append(r.Host, "Subnet = 10.7.9.7\n"...)
		}
		return r
	}); n != 1 {
		t.Errorf("%d nodes have overlapping subnets", n)
	}
	if n := race(func(i int) Request { return who("alice", 2, byte(i), secret, boots[i%3].url) }); n != 1 {
		t.Errorf("%d nodes have one name", n)
	}
	// A range that is nearly full is filled to the last address.
	full := fleet(t, startStore(t).at, 3)
	secret, _ = full[0].token(unlimited())
	for _, b := range full {
		b.server.Network.Ranges = mustPrefix("10.7.0.0/28") // 14 addresses, three of them those of the boot nodes
	}
	for i := range 12 {
		_, err := join(t, who(fmt.Sprintf("small%d", i), 4, byte(i), secret, full[i%3].url))
		if i < 11 && err != nil || i == 11 && err == nil {
			t.Errorf("the %d. node: %v", i+1, err)
		}
	}
}

func TestAnOldRequestIsReplayedNowhere(t *testing.T) {
	t.Parallel()
	boots := fleet(t, startStore(t).at, 2, Generation1, Generation2)
	secret, token := boots[0].token(Limits{Label: "old", Uses: 5, Old: true})
	n, err := newNonce(newRand())
	boots[0].must(err)
	r := who("alice", 5, 0, secret)
	body := seal1(*token.Old, n, "alice", r.Host)
	for i, want := range []int{http.StatusOK, http.StatusForbidden} {
		if status, _, _ := boots[i].do("POST", "/"+n.String()+"/alice", body); status != want {
			t.Errorf("boot node %d: %d", i+1, status)
		}
	}
	sealed, err := seal2(newRand(), *token.Old, envelope{"bob", who("bob", 5, 1, secret).Host})
	boots[0].must(err)
	for i, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		if status, _, _ := boots[i].do("POST", "/", sealed); status != want {
			t.Errorf("boot node %d: %d", i+1, status)
		}
	}
}

// Without its store a boot node says so, to everybody, at once; when the store is back it goes on by itself.
func TestAStoreThatIsGone(t *testing.T) {
	t.Parallel()
	e := startStore(t)
	e.at.attempt = 0
	b := fleet(t, e.at, 1, Generation1, Generation2)[0]
	secret, _ := b.token(Limits{Label: "test", Uses: 5, Old: true})
	refuses := func(why string) {
		t.Helper()
		for _, p := range []Protocol{Current, Generation1, Generation2} {
			_, err := join(t, func() Request { r := b.newcomer("alice", secret, p); r.Attempt = time.Minute; return r }())
			if !errors.Is(err, ErrUnavailable) || p != Generation1 && !strings.Contains(err.Error(), noStore) {
				t.Errorf("%s: %v", p, err)
			}
			logs := strings.Join(b.said(), "\n")
			if !strings.Contains(logs, "etcd does not answer: "+e.Endpoint+": ") || !strings.Contains(logs, why) || strings.Contains(logs, secret.Reveal()) {
				t.Errorf("%s: logged %q", p, logs)
			}
		}
		b.said()
	}
	e.Kill()
	refuses("refused")
	// A boot node that starts now serves, too, and keeps its key and certificate.
	pin, err := b.store.Pin()
	b.must(err)
	again := opened(t, b.layout, e.at)
	if other, err := again.Pin(); err != nil || other != pin {
		t.Errorf("pin %s, %v", other, err)
	}
	if _, err := b.store.List(); !errors.As(err, new(*UnavailableError)) {
		t.Errorf("token list: %v", err)
	}
	e.Start()
	// It asks again by itself, and while it waits it tries another one.
	r := b.newcomer("alice", secret, Current)
	r.Timeout, r.pause = 2*time.Minute, 50*time.Millisecond
	if _, err := join(t, r); err != nil {
		t.Error(err)
	}
	e.Pause()
	refuses("takes too long")
	e.Resume()
	r = b.newcomer("bob", secret, Current)
	r.Timeout, r.pause = 2*time.Minute, 50*time.Millisecond
	if _, err := join(t, r); err != nil {
		t.Error(err)
	}
	if tokens, err := b.store.List(); err != nil || len(tokens) != 1 || tokens[0].Left != 3 {
		t.Errorf("%+v, %v", tokens, err)
	}
}

// unreliable is a proxy before an etcd, which loses answers, or is slow.
type unreliable struct {
	lose  atomic.Int32 // so many answers to transactions that change something
	delay atomic.Int64
}

func (u *unreliable) serve(t *testing.T, endpoint string) string {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: endpoint}
	proxy := httputil.NewSingleHostReverseProxy(target)
	return listening(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(u.delay.Load()))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if strings.Contains(string(body), "request_put") && u.lose.Add(-1) >= 0 {
			proxy.ServeHTTP(discard{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	})
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// The answer to the transaction that has admitted somebody is lost: it costs one use, whoever asks again.
func TestALostAnswerCostsNoUse(t *testing.T) {
	t.Parallel()
	e := startStore(t)
	var u unreliable
	through := u.serve(t, e.Endpoint)
	for name, endpoints := range map[string]string{"one member": through, "two members": through + "," + e.Endpoint} {
		t.Run(name, func(t *testing.T) {
			at, err := ParseStoreURL("etcd://" + endpoints + "/" + strings.ReplaceAll(name, " ", "-"))
			if err != nil {
				t.Fatal(err)
			}
			at.attempt = time.Minute
			boots := fleet(t, at, 2)
			secret, _ := boots[0].token(Limits{Label: "test", Uses: 3})
			u.lose.Store(1)
			r := who("alice", 6, 0, secret, boots[0].url)
			first, err := join(t, r)
			if strings.Contains(name, "two") && err != nil || strings.Contains(name, "one") && !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
			r.URLs = []URL{boots[1].url}
			r.Timeout, r.pause = 2*time.Minute, 50*time.Millisecond
			j, err := join(t, r)
			if err != nil || first.Address.IsValid() && j.Address != first.Address {
				t.Errorf("%v, %v", j.Address, err)
			}
			if tokens, err := boots[1].store.List(); err != nil || tokens[0].Left != 2 || fmt.Sprint(tokens[0].Joined) != "[alice]" {
				t.Errorf("%+v, %v", tokens, err)
			}
			// A slow one is slow, and counts as well.
			u.delay.Store(int64(200 * time.Millisecond))
			defer u.delay.Store(0)
			r = who("bob", 6, 1, secret, boots[0].url)
			r.Timeout, r.pause = 2*time.Minute, 50*time.Millisecond
			if _, err := join(t, r); err != nil {
				t.Error(err)
			}
		})
	}
}

// In a signed network the roster says whose a name is, and gives free what was removed.
func TestAFleetOfASignedNetwork(t *testing.T) {
	t.Parallel()
	boots := fleet(t, startStore(t).at, 2)
	r := &roll{keys: map[node.Name]keys.PublicKey{}}
	for _, b := range boots {
		b.server.Network.Members = r
	}
	secret, _ := boots[0].token(Limits{Label: "test", Uses: 3, Network: networkID})
	left := func(want int) {
		t.Helper()
		if tokens, err := boots[1].store.List(); err != nil || tokens[0].Left != want {
			t.Errorf("%+v, %v", tokens, err)
		}
	}
	r.refuse = Refusal("the token was withdrawn")
	if _, err := join(t, who("alice", 7, 0, secret, boots[0].url)); err == nil || !strings.Contains(err.Error(), "withdrawn") {
		t.Error(err)
	}
	left(3)
	r.refuse = nil
	j, err := join(t, who("alice", 7, 0, secret, boots[0].url))
	boots[0].must(err)
	left(2)
	delete(r.keys, "alice")
	if _, err := join(t, who("alice", 7, 1, secret, boots[1].url)); err == nil || !strings.Contains(err.Error(), "another key") {
		t.Errorf("before she was removed: %v", err)
	}
	r.removed = []string{keys.FromSeed([32]byte{7, 0, 9}).Public().String()}
	again := who("alice", 7, 1, secret, boots[1].url)
	again.Assign, again.Host = false, fmt.Appendf(again.Host, "Subnet = %v\n", j.Address.Addr())
	_, err = join(t, again)
	boots[1].must(err)
	left(1)
}

// TLS with certificates of both sides, and a user who may only do what boot nodes do.
func TestAStoreWithTLSAndAUser(t *testing.T) {
	t.Parallel()
	e := fixture.StartEtcd(t, true)
	grantUser(t, e, "boot", "tincan/home/")
	path := filepath.Join(t.TempDir(), "password")
	store := func(query string) StoreURL {
		t.Helper()
		u, err := ParseStoreURL("etcds://boot@" + e.Endpoint + "/tincan/home?password-file=" + path + query)
		if err != nil {
			t.Fatal(err)
		}
		u.attempt = time.Minute
		return u
	}
	password := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	password("right\n")
	whole := "&ca=" + e.CA + "&cert=" + e.Cert + "&key=" + e.Key
	b := fleet(t, store(whole), 1)[0]
	secret, _ := b.token(unlimited())
	_, err := join(t, b.newcomer("alice", secret, Current))
	b.must(err)
	for name, c := range map[string]struct{ password, query, says string }{
		"a wrong password":    {"wrong", whole, "authentication failed"},
		"another authority":   {"right", "&cert=" + e.Cert + "&key=" + e.Key, "certificate"},
		"without certificate": {"right", "&ca=" + e.CA, "certificate"},
	} {
		password(c.password)
		s := opened(t, b.layout, store(c.query))
		if _, err := s.List(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, not %q", name, err, c.says)
		} else if strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
	password("right")
	other, err := ParseStoreURL(strings.Replace(store(whole).String(), "tincan/home", "elsewhere", 1))
	b.must(err)
	if _, err := opened(t, b.layout, other).List(); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("another prefix: %v", err)
	}
}

// grantUser makes a user with the password "right", who may only read and write below a prefix, and turns authentication on.
func grantUser(t *testing.T, e *fixture.Etcd, user, prefix string) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(e.Cert, e.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(e.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}}
	b64 := base64.StdEncoding.EncodeToString
	for _, r := range [][2]string{
		{"user/add", `{"name":"root","password":"root of a test"}`}, {"role/add", `{"name":"root"}`}, {"user/grant", `{"user":"root","role":"root"}`},
		{"user/add", fmt.Sprintf(`{"name":%q,"password":"right"}`, user)}, {"role/add", `{"name":"boot"}`},
		{"role/grant", fmt.Sprintf(`{"name":"boot","perm":{"permType":"READWRITE","key":%q,"range_end":%q}}`, b64([]byte(prefix)), b64([]byte(etcd.Below(prefix))))},
		{"user/grant", fmt.Sprintf(`{"user":%q,"role":"boot"}`, user)}, {"enable", `{}`},
	} {
		var last string
		for range 200 { // it may have no leader yet
			res, err := client.Post("https://"+e.Endpoint+"/v3/auth/"+r[0], "application/json", strings.NewReader(r[1]))
			if err != nil {
				last = err.Error()
			} else {
				text, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if last = string(text); res.StatusCode == http.StatusOK || strings.Contains(last, "already") {
					last = ""
					break
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		if last != "" {
			t.Fatalf("%s: %s", r[0], last)
		}
	}
}

// listening serves until the test ends, and returns where.
func listening(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

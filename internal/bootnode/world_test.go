package bootnode

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flynn/noise"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// boot is a boot node in a directory of its own.
type boot struct {
	*testing.T
	layout confdir.Layout
	store  *Store
	server *Server
	url    URL

	mu   sync.Mutex
	logs []string
}

func keyLine(seed byte) string {
	return "Ed25519PublicKey = " + keys.FromSeed([32]byte{seed, 1}).Public().String() + "\n"
}

// newBoot makes the boot node "boot" of the network 10.7.0.0/16, and serves it.
func newBoot(t *testing.T, old ...Protocol) *boot {
	t.Helper()
	return newBootAt(t, StoreURL{}, "boot", 1, old...)
}

// newBootAt makes a boot node of that network, with its store at a place, and an address that ends with a number.
func newBootAt(t *testing.T, at StoreURL, name node.Name, number byte, old ...Protocol) *boot {
	t.Helper()
	l, err := confdir.Place{Conf: t.TempDir()}.Layout()
	if err == nil {
		err = os.Mkdir(l.Hosts(), 0o755)
	}
	if err == nil {
		err = os.WriteFile(l.TincConf(), fmt.Appendf(nil, "Name = %s\nIfconfig = 10.7.0.%d/16\n", name, number), 0o644)
	}
	if err == nil {
		err = os.WriteFile(l.Host(name), fmt.Appendf(nil, "Subnet = 10.7.0.%d\nAddress = 192.0.2.%[1]d\n%s", number, keyLine(0-number)), 0o644)
	}
	b := &boot{T: t, layout: l}
	b.must(err)
	b.store, err = OpenStoreAt(l, at)
	b.must(err)
	b.server = &Server{Network: &Network{Layout: l, Name: name, Ranges: RangesOf(l)}, Store: b.store, NetName: "home", Old: old}
	b.server.Log = func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.logs = append(b.logs, text)
	}
	b.serve(nil)
	return b
}

// announced is a listener that tells when it is used for the first time.
type announced struct {
	net.Listener
	ready chan struct{}
	once  sync.Once
}

func (a *announced) Accept() (net.Conn, error) {
	a.once.Do(func() { close(a.ready) })
	return a.Listener.Accept()
}

// serve starts the service until the end of the test. When it is called again a
// new server takes the place of the old one, as after a restart.
func (b *boot) serve(cert *tls.Config) {
	b.Helper()
	old := b.server
	b.server = &Server{Network: old.Network, Store: old.Store, NetName: old.NetName, Old: old.Old, Log: old.Log, TLS: cert}
	b.must(b.server.open(b.Context()))
	server := b.server
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	ctx, stop := context.WithCancel(b.Context())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- server.Serve(ctx, &announced{Listener: l, ready: ready}) }()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	select {
	case <-ready: // from here on what is in the server is not touched before somebody asks
	case err := <-done:
		done <- err
		b.Fatal("it does not begin")
	}
	scheme := "http://"
	if b.server.TLS != nil {
		scheme = "https://"
	}
	b.url, err = ParseURL(scheme + l.Addr().String())
	b.must(err)
}

func (b *boot) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// token makes a generated token.
func (b *boot) token(limits Limits) (Secret, Token) {
	b.Helper()
	secret, err := NewSecret(newRand())
	b.must(err)
	t, err := b.store.Add(secret, limits)
	b.must(err)
	return secret, t
}

func unlimited() Limits { return Limits{Label: "test", Uses: Unlimited} }

func secretOf(t testing.TB, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hosts reads the host files of the boot node.
func (b *boot) hosts() map[string]string {
	b.Helper()
	entries, err := os.ReadDir(b.layout.Hosts())
	b.must(err)
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(b.layout.Hosts() + "/" + e.Name())
		b.must(err)
		all[e.Name()] = string(data)
	}
	return all
}

// said returns what was logged and forgets it.
func (b *boot) said() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	logs := b.logs
	b.logs = nil
	return logs
}

// refusedOnce checks that one line was logged and that nobody was let in.
func (b *boot) refusedOnce(why string) {
	b.Helper()
	end := time.Now().Add(5 * time.Second)
	logs := b.said()
	for len(logs) == 0 && time.Now().Before(end) {
		time.Sleep(10 * time.Millisecond)
		logs = b.said()
	}
	if len(logs) != 1 || !strings.Contains(logs[0], "refused") || !strings.Contains(logs[0], why) {
		b.Errorf("logged %q instead of one line with %q", logs, why)
	}
	if n := len(b.hosts()); n != 1 {
		b.Errorf("there are %d host files", n)
	}
}

// newcomer is a request to join of a node with a key of its own.
func (b *boot) newcomer(name string, secret Secret, p Protocol) Request {
	key := keys.FromSeed([32]byte{name[0], byte(len(name)), name[len(name)-1]})
	return Request{
		URLs: []URL{b.url}, Token: secret, Protocol: p, Name: node.Name(name), Key: key,
		Host:   []byte("Port = 656\nEd25519PublicKey = " + key.Public().String() + "\n"),
		Assign: p == Current,
	}
}

func join(t testing.TB, r Request) (Joined, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // two hundred at once, on a busy machine
	defer cancel()
	return Join(ctx, r)
}

// do sends a request as it stands.
func (b *boot) do(method, path string, body []byte) (status int, header http.Header, answer []byte) {
	b.Helper()
	req, err := http.NewRequest(method, b.url.base, bytes.NewReader(body))
	b.must(err)
	decoded, query, _ := strings.Cut(path, "?")
	req.URL.Opaque = "//" + req.URL.Host + decoded
	req.URL.RawQuery = query
	res, err := http.DefaultTransport.RoundTrip(req)
	b.must(err)
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	b.must(err)
	return res.StatusCode, res.Header, answer
}

func vectors(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// plainText is a text of the vectors, which are text or base64.
type plainOf struct {
	Text *string `json:"text"`
	B64  []byte  `json:"b64"`
}

func (p plainOf) bytes() []byte {
	if p.Text != nil {
		return []byte(*p.Text)
	}
	return p.B64
}

func mustPrefix(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }

var randoms atomic.Uint64

// newRand is different at each call, and the same in each run.
func newRand() io.Reader {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], randoms.Add(1))
	return rand.NewChaCha8(seed)
}

func tlsOf(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

func mustKey() noise.DHKey {
	k, err := noiseSuite.GenerateKeypair(newRand())
	if err != nil {
		panic(err)
	}
	return k
}

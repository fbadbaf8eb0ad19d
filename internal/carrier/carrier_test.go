package carrier

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/config"
	"tincan/internal/fixture"
)

const secret = "/3vBqP0dZ8sLw1yTn"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs a server. Streams that it takes send back what comes, until the other end closes.
func serve(t testing.TB, m *fixture.Certificate) (port string, from chan netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	from = make(chan netip.AddrPort, 10)
	var paths Paths
	paths.Set([]string{secret})
	site, _, err := Site("")
	must(t, err)
	s := Server{Knows: paths.Know, Site: site, Wrap: func(c net.Conn) net.Conn { return c }, Take: func(s *Stream, a netip.AddrPort) {
		from <- a
		go func() {
			defer s.Close()
			io.Copy(s, s)
			s.CloseWrite()
		}()
	}}
	if m != nil {
		pair := m.Pair(t)
		s.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, from
}

// webServer runs a server of others with TLS until the test ends.
func webServer(t testing.TB, h http.Handler, c *tls.Config) (port string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = c
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func dial(t testing.TB, port, value string, roots *x509.CertPool) (*Stream, error) {
	t.Helper()
	c, err := config.ParseCarrier(value)
	must(t, err)
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := Client(ctx, conn, c, roots)
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// sendsBack checks that what is sent on s comes back.
func sendsBack(t testing.TB, s *Stream) {
	t.Helper()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make([]byte, 300_000)
	rand.Read(sent)
	go func() {
		for i, n := 0, 1; i < len(sent); i, n = i+n, n*3 { // in pieces of all sizes
			n = min(n, len(sent)-i)
			s.Write(sent[i : i+n])
		}
		s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
}

func TestAStreamOverTLS(t *testing.T) {
	m := fixture.GoodCertificate(t, "vpn.example.org")
	port, from := serve(t, &m)
	for name, c := range map[string]struct {
		value string
		roots *x509.CertPool
	}{
		"a certificate of an authority": {"wss://vpn.example.org" + secret, m.Roots},
		"one whose fingerprint counts":  {"wss://192.0.2.1" + secret + "#sha256=" + m.Fingerprint, nil},
		"another name in the greeting":  {"wss://192.0.2.1" + secret + "#sha256=" + m.Fingerprint + "&sni=www.example.com", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := dial(t, port, c.value, c.roots)
			must(t, err)
			if a := <-from; !a.Addr().IsLoopback() {
				t.Errorf("it came from %v", a)
			}
			sendsBack(t, s)
		})
	}
}

func TestAStreamByWayOfAReverseProxy(t *testing.T) {
	port, from := serve(t, nil)
	m := fixture.GoodCertificate(t, "vpn.example.org")
	backend, _ := url.Parse("http://127.0.0.1:" + port)
	port = webServer(t, httputil.NewSingleHostReverseProxy(backend), &tls.Config{Certificates: []tls.Certificate{m.Pair(t)}})
	s, err := dial(t, port, "wss://vpn.example.org"+secret, m.Roots)
	must(t, err)
	if a := <-from; a.Addr() != netip.MustParseAddr("127.0.0.1") || a.Port() != 0 {
		t.Errorf("it came from %v", a)
	}
	sendsBack(t, s)
}

func TestWhoAReverseProxySpeaksFor(t *testing.T) {
	for header, want := range map[string]string{
		"":                         "invalid AddrPort",
		"192.0.2.7":                "192.0.2.7:0",
		"192.0.2.7:1234":           "192.0.2.7:1234",
		"198.51.100.1, 192.0.2.7":  "192.0.2.7:0",
		"2001:db8::7":              "[2001:db8::7]:0",
		"192.0.2.7, unknown":       "invalid AddrPort",
		"::ffff:192.0.2.7":         "192.0.2.7:0",
		"192.0.2.7, fe80::1%evil0": "[fe80::1]:0",
	} {
		r := httptest.NewRequest("GET", secret, nil)
		if header != "" {
			r.Header.Set("X-Forwarded-For", header)
		}
		if got := (&Server{}).from(r).String(); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	m := fixture.GoodCertificate(t, "vpn.example.org")
	port, _ := serve(t, &m)
	old := fixture.NewCertificate(t, "vpn.example.org", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	oldPort, _ := serve(t, &old)
	early := fixture.NewCertificate(t, "vpn.example.org", time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour))
	earlyPort, _ := serve(t, &early)
	plain, _ := serve(t, nil)
	pair := []tls.Certificate{m.Pair(t)}
	port12 := webServer(t, http.NotFoundHandler(), &tls.Config{MaxVersion: tls.VersionTLS12, Certificates: pair})
	downPort := webServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }), &tls.Config{Certificates: pair})
	for name, c := range map[string]struct {
		port, value string
		roots       *x509.CertPool
		want        string
	}{
		"an unknown authority":   {port, "wss://vpn.example.org" + secret, x509.NewCertPool(), "add #sha256=FINGERPRINT"},
		"another host":           {port, "wss://other.example.org" + secret, m.Roots, "its certificate is for another host: vpn.example.org"},
		"an address":             {port, "wss://127.0.0.1" + secret, m.Roots, "not for this address"},
		"another fingerprint":    {port, "wss://127.0.0.1" + secret + "#sha256=" + strings.Repeat("00", 32), nil, "sha256=" + m.Fingerprint},
		"expired":                {oldPort, "wss://vpn.example.org" + secret, old.Roots, "its certificate expired on " + time.Now().Add(-24*time.Hour).UTC().Format(time.DateOnly)},
		"not yet valid":          {earlyPort, "wss://vpn.example.org" + secret, early.Roots, "is the clock of this machine right?"},
		"the wrong path":         {port, "wss://vpn.example.org/3vBqP0dZ8sLw1yTm", m.Roots, "status 404: it does not know the path"},
		"no TLS":                 {plain, "wss://vpn.example.org" + secret, m.Roots, "it does not speak TLS"},
		"only TLS 1.2":           {port12, "wss://vpn.example.org" + secret, m.Roots, "does not speak TLS 1.3"},
		"a proxy without a node": {downPort, "wss://vpn.example.org" + secret, m.Roots, "is the node running"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dial(t, c.port, c.value, c.roots)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the path: %v", err)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	c, _ := config.ParseCarrier("wss://vpn.example.org" + secret)
	if _, err := Client(ctx, here, c, nil); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("%v", err)
	}
}

// ask sends a raw request to a server without TLS and returns the raw answer, without its date.
func ask(t testing.TB, port, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	must(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, request)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, _ := io.ReadAll(r.Body)
	r.Header.Del("Date")
	return fmt.Sprint(r.Status, r.Header, string(body))
}

// Whoever does not know the secret sees the same, whatever is tried; and with the secret, what is no opening of a
// WebSocket sees it as well.
func TestVisitorsSeeAnOrdinarySite(t *testing.T) {
	port, from := serve(t, nil)
	const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	get := func(method, path, headers string) string {
		return ask(t, port, method+" "+path+" HTTP/1.1\r\nHost: vpn.example.org\r\n"+headers+"\r\n")
	}
	if home := get("GET", "/", ""); !strings.HasPrefix(home, "200 OK") || !strings.Contains(home, "It works") {
		t.Errorf("the home page: %s", home)
	}
	missing := get("GET", "/no/such/page", "")
	if !strings.HasPrefix(missing, "404") {
		t.Errorf("a page that is not there: %s", missing)
	}
	for name, got := range map[string]string{
		"a WebSocket at another path":        get("GET", "/no/such/page", upgrade),
		"the path with something after it":   get("GET", secret+"/", upgrade),
		"the path in part":                   get("GET", secret[:len(secret)-1], upgrade),
		"the path without a WebSocket":       get("GET", secret, ""),
		"the path with another version":      get("GET", secret, strings.Replace(upgrade, "13", "8", 1)),
		"the path with another protocol":     get("GET", secret, strings.Replace(upgrade, "websocket", "h2c", 1)),
		"the path with POST":                 get("POST", secret, upgrade+"Content-Length: 0\r\n"),
		"the path with a body":               ask(t, port, "GET "+secret+" HTTP/1.1\r\nHost: vpn.example.org\r\n"+upgrade+"Content-Length: 2\r\n\r\nhi"),
		"the path with HTTP/1.0, no upgrade": ask(t, port, "GET "+secret+" HTTP/1.1\r\nHost: vpn.example.org\r\nConnection: keep-alive\r\n\r\n"),
	} {
		if got != missing {
			t.Errorf("%s:\n%s\nis not\n%s", name, got, missing)
		}
	}
	select {
	case <-from:
		t.Error("a visitor got in")
	default:
	}
}

func TestTheSiteIsADirectory(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "pictures"), 0o755)
	os.WriteFile(filepath.Join(dir, "index.html"), []byte("<h1>Bread</h1>"), 0o644)
	os.WriteFile(filepath.Join(dir, "pictures", "rye.txt"), []byte("rye"), 0o644)
	os.Symlink("/etc/passwd", filepath.Join(dir, "outside"))
	h, release, err := Site(dir)
	must(t, err)
	defer release()
	for path, want := range map[string]string{
		"/": "200 <h1>Bread</h1>", "/pictures/rye.txt": "200 rye", "/pictures/": "404", "/outside": "500", "/../../etc/passwd": "4",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if got := strconv.Itoa(w.Code) + " " + w.Body.String(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	if _, _, err := Site(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that is not there is taken")
	}
}

func TestTheSiteIsThatOfAnotherServer(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "other ", r.URL.Path) }))
	defer other.Close()
	h, _, err := Site(other.URL)
	must(t, err)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Body.String() != "other /x" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestACertificateIsReadAgainWhenItHasChanged(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func(m fixture.Certificate) {
		must(t, os.WriteFile(certFile, m.Cert, 0o644))
		must(t, os.WriteFile(keyFile, m.Key, 0o600))
	}
	fingerprint := func(c *Certificate) string {
		pair, err := c.Get(nil)
		must(t, err)
		sum := sha256.Sum256(pair.Certificate[0])
		return hex.EncodeToString(sum[:])
	}
	first, second := fixture.GoodCertificate(t, "one.example.org"), fixture.GoodCertificate(t, "second.example.org")
	put(first)
	var failed error
	c, err := LoadCertificate(certFile, keyFile, func(err error) { failed = err })
	must(t, err)
	if fingerprint(c) != first.Fingerprint {
		t.Fatal("it is another one")
	}
	put(second)
	if fingerprint(c) != first.Fingerprint {
		t.Error("it looks at each greeting")
	}
	c.looked = time.Now().Add(-lookAgain)
	if fingerprint(c) != second.Fingerprint || failed != nil {
		t.Errorf("the new one is not used: %v", failed)
	}
	must(t, os.WriteFile(certFile, []byte("nonsense"), 0o644))
	c.looked = time.Now().Add(-lookAgain)
	if fingerprint(c) != second.Fingerprint || failed == nil {
		t.Errorf("one that cannot be read: %v", failed)
	}
	if err := c.Reload(); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Errorf("%v", err)
	}
	os.Remove(keyFile)
	if _, err := LoadCertificate(certFile, keyFile, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

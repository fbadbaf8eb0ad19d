package proxyserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"tincan/internal/fixture"
)

// machine is a network that is this machine. The host web is 127.0.0.1, as is every address; those of 192.0.2.0/24 are refused.
type machine struct{}

func (machine) Resolve(host string) ([]netip.Addr, error) {
	if host == "web" {
		host = "127.0.0.1"
	}
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return nil, ErrNoHost
	case netip.MustParsePrefix("192.0.2.0/24").Contains(a):
		return nil, &Refusal{host, "not in the network"}
	}
	return []netip.Addr{a}, nil
}

func (machine) DialContext(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, to.String())
}

func (machine) ListenPacket(network string, at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenPacket(network, at.String())
}

// serving runs one of the proxies of s, and returns its address.
func serving(t *testing.T, serve func(context.Context, net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// echo answers what it is told, after the word "echo ", once the client has said all.
func echo(t *testing.T) (port string) {
	t.Helper()
	_, port = fixture.Server(t, func(c net.Conn) {
		text, _ := io.ReadAll(c)
		fmt.Fprintf(c, "echo %s", text)
	})
	return port
}

// says sends a text, ends its direction, and returns the answer.
func says(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSOCKS(t *testing.T) {
	port := echo(t)
	for login, auth := range map[string]*proxy.Auth{"": nil, "anna:secret:word": {User: "anna", Password: "secret:word"}} {
		at := serving(t, (&Server{Network: machine{}, Login: login}).SOCKS)
		through := func(auth *proxy.Auth, to string) (net.Conn, error) {
			d, err := proxy.SOCKS5("tcp", at, auth, nil)
			if err != nil {
				t.Fatal(err)
			}
			return d.Dial("tcp", to)
		}
		for _, host := range []string{"127.0.0.1", "web"} {
			c, err := through(auth, fmt.Sprint(host, ":", port))
			if err != nil {
				t.Fatalf("login %q: %v", login, err)
			}
			if got := says(t, c, "hello"); got != "echo hello" {
				t.Errorf("login %q, host %s: %q", login, host, got)
			}
		}
		for to, want := range map[string]string{"192.0.2.1:80": "not allowed", "nowhere:80": "host unreachable", "127.0.0.1:1": "connection refused"} {
			if _, err := through(auth, to); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("login %q: %s: %v, want %q", login, to, err, want)
			}
		}
		if login != "" {
			for _, wrong := range []*proxy.Auth{nil, {User: "anna", Password: "secret"}} {
				if c, err := through(wrong, fmt.Sprint("web:", port)); err == nil {
					c.Close()
					t.Errorf("a client with the login %v gets in", wrong)
				}
			}
		}
	}
}

func TestDatagramsThroughSOCKS(t *testing.T) {
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := far.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = far.WriteTo(append([]byte("echo "), buf[:n]...), from)
		}
	}()
	at := serving(t, (&Server{Network: machine{}}).SOCKS)
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write([]byte{5, 1, 0})
	answer := make([]byte, 2+10)
	_, err = io.ReadFull(c, answer[:2])
	if err == nil {
		_, err = c.Write([]byte{5, cmdAssociate, 0, 1, 0, 0, 0, 0, 0, 0})
	}
	if err == nil {
		_, err = io.ReadFull(c, answer[2:])
	}
	if err != nil || answer[3] != replyDone {
		t.Fatalf("%v, %v", answer, err)
	}
	relay := &net.UDPAddr{IP: answer[6:10], Port: int(answer[10])<<8 | int(answer[11])}
	u, err := net.DialUDP("udp", nil, relay)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	head := append([]byte{0, 0, 0, addrName, 3}, "web"...)
	port := far.LocalAddr().(*net.UDPAddr).Port
	head = append(head, byte(port>>8), byte(port))
	_ = u.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = u.Write([]byte{0, 0, 7, addrIPv4, 127, 0, 0, 1, 0, 1, 'x'}) // a fragment, which is dropped
	if _, err := u.Write(append(head, "hello"...)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := u.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	host, from, payload, err := parseDatagram(buf[:n])
	if err != nil || host != "127.0.0.1" || int(from) != port || string(payload) != "echo hello" {
		t.Errorf("%s %d %q %v", host, from, payload, err)
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s%s", r.Method, r.Host, r.URL.Path, r.Header.Get("Proxy-Authorization"))
	}))
	defer server.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "secure") }))
	defer secure.Close()
	for _, login := range []string{"", "anna:secret"} {
		at := serving(t, (&Server{Network: machine{}, Login: login}).HTTP)
		client := func(login string) *http.Client {
			u := &url.URL{Scheme: "http", Host: at}
			if user, password, ok := strings.Cut(login, ":"); ok {
				u.User = url.UserPassword(user, password)
			}
			tr := secure.Client().Transport.(*http.Transport).Clone()
			tr.Proxy = http.ProxyURL(u)
			t.Cleanup(tr.CloseIdleConnections)
			return &http.Client{Transport: tr, Timeout: 20 * time.Second}
		}
		get := func(c *http.Client, url string) (int, string) {
			r, err := c.Get(url)
			if err != nil {
				return 0, err.Error()
			}
			defer r.Body.Close()
			b, _ := io.ReadAll(r.Body)
			return r.StatusCode, string(b)
		}
		host := strings.Replace(strings.TrimPrefix(server.URL, "http://"), "127.0.0.1", "web", 1)
		if status, text := get(client(login), "http://"+host+"/x"); status != 200 || text != "GET "+host+" /x" {
			t.Errorf("login %q: %d %s", login, status, text)
		}
		if status, text := get(client(login), secure.URL); status != 200 || text != "secure" {
			t.Errorf("login %q, CONNECT: %d %s", login, status, text)
		}
		if status, text := get(client(login), "http://192.0.2.1/"); status != http.StatusForbidden {
			t.Errorf("login %q, what is not in the network: %d %s", login, status, text)
		}
		if _, text := get(client(login), "https://192.0.2.1/"); !strings.Contains(text, "Forbidden") {
			t.Errorf("login %q, the same by CONNECT: %s", login, text)
		}
		if status, text := get(client(login), "http://nowhere/"); status != http.StatusBadGateway {
			t.Errorf("login %q, no such host: %d %s", login, status, text)
		}
		if login != "" {
			for _, wrong := range []string{"", "anna:wrong"} {
				if status, _ := get(client(wrong), server.URL); status != http.StatusProxyAuthRequired {
					t.Errorf("with the login %q: %d", wrong, status)
				}
			}
			continue
		}
		// A page of a browser that was led here must not get anything.
		if status, text := get(http.DefaultClient, "http://"+at+"/"); status != http.StatusBadRequest {
			t.Errorf("as a server: %d %s", status, text)
		}
	}
}

func TestConnectionsHaveLimits(t *testing.T) {
	port := echo(t)
	at := serving(t, (&Server{Network: machine{}, MaxConns: 2, Idle: 200 * time.Millisecond}).SOCKS)
	d, err := proxy.SOCKS5("tcp", at, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	to := fmt.Sprint("127.0.0.1:", port)
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an idle connection: %v", err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("a connection was closed as idle after %v", took)
	}
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	_ = open[2].SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := open[2].Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("a connection too many: %v", err)
	}
}

func TestParseForwarding(t *testing.T) {
	for text, want := range map[string]Forwarding{
		"8080:web:80":            {"", 8080, "web", 80},
		"0.0.0.0:8080:web:80":    {"0.0.0.0", 8080, "web", 80},
		":8080:web:80":           {"", 8080, "web", 80},
		"[::1]:22:[fd00::1]:22":  {"::1", 22, "fd00::1", 22},
		"22:127.0.0.1:22":        {"", 22, "127.0.0.1", 22},
		"*:1:home.internal.x:65": {"*", 1, "home.internal.x", 65},
	} {
		if got, err := ParseForwarding(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "80", "80:web", "80:web:", "80::80", "0:web:80", "80:web:65536", "a:80:b:80:c", "[::1:80:web:80", "[::1]80:web:80", "80:w/b:80", "80:web:80:"} {
		if got, err := ParseForwarding(text); err == nil {
			t.Errorf("%q is taken: %v", text, got)
		}
	}
}

func TestParseLogin(t *testing.T) {
	if got, err := ParseLogin(" anna:a:b\n"); err != nil || got != "anna:a:b" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", "anna", ":x", "anna:", "a:b\nc:d", strings.Repeat("a", 256) + ":b"} {
		if got, err := ParseLogin(text); err == nil {
			t.Errorf("%q is taken: %q", text, got)
		}
	}
}

// FuzzSOCKS: whatever a client says, what comes out is a host and a port, and what is answered is short.
func FuzzSOCKS(f *testing.F) {
	f.Add([]byte{5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, 0, 80}, false)
	f.Add([]byte{5, 2, 0, 2, 1, 4, 'a', 'n', 'n', 'a', 1, 'b', 5, 3, 0, 3, 3, 'w', 'e', 'b', 1, 187}, true)
	f.Add([]byte{5, 1, 0, 5, 1, 0, 4, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 22}, false)
	f.Add([]byte{4, 1, 0, 80}, false)
	f.Add([]byte{0, 0, 0, 3, 3, 'w', 'e', 'b', 0, 53, 'x'}, false)
	f.Fuzz(func(t *testing.T, data []byte, login bool) {
		s := &Server{Network: machine{}}
		if login {
			s.Login = "anna:b"
			if bytes.Contains(data, []byte("anna")) && !bytes.Contains(data, []byte{4, 'a', 'n', 'n', 'a', 1, 'b'}) {
				return // somebody who is told that it is wrong waits for a second
			}
		}
		var said bytes.Buffer
		if login && len(data) > 2 && data[0] == 5 && !bytes.Contains(data, []byte("anna")) {
			data = data[:min(len(data), 2+int(data[1]))] // the same
		}
		r, err := s.handshake(bufio.NewReader(bytes.NewReader(data)), &said)
		if err == nil {
			if e := checkHost(r.host); e != nil {
				t.Errorf("the host %q: %v", r.host, e)
			}
			if login && !bytes.Contains(data, []byte("anna")) {
				t.Error("somebody has got in without a login")
			}
		}
		if said.Len() > 32 {
			t.Errorf("%d bytes were answered", said.Len())
		}
		if host, _, payload, err := parseDatagram(data); err == nil && (checkHost(host) != nil || len(payload) > len(data)) {
			t.Errorf("a datagram for %q with %d bytes", host, len(payload))
		}
	})
}

// FuzzHTTPHead: whatever a client says, a proxy connects to a host and a port, or refuses.
func FuzzHTTPHead(f *testing.F) {
	f.Add([]byte("CONNECT web:443 HTTP/1.1\r\nHost: web:443\r\nProxy-Authorization: Basic YTpi\r\n\r\n"))
	f.Add([]byte("GET http://web:80/x?y HTTP/1.1\r\nHost: other\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
	f.Add([]byte("CONNECT [fd00::1]:443 HTTP/1.0\r\n\r\n"))
	f.Add([]byte("GET http://a@b:c@[::1]:99999/ HTTP/1.1\r\nHost: x\r\n\r\n"))
	s := &Server{Network: machine{}, Login: "a:b"}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		usual := uint16(443)
		if r.Method != http.MethodConnect {
			if checkPlain(r.URL) != nil {
				return
			}
			usual = 80
		}
		host, port, err := splitAddress(r.URL.Host, usual)
		if err == nil && (port == 0 || checkHost(host) != nil) {
			t.Errorf("%q: host %q, port %d", r.URL.Host, host, port)
		}
		if login := r.Header.Get("Proxy-Authorization"); login == "" && s.loggedIn(httptest.NewRecorder(), r) {
			t.Error("somebody has got in without a login")
		}
	})
}

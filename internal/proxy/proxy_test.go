package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tincan/internal/config"
	"tincan/internal/fixture"
)

// echo says hello and then repeats what it gets.
func echo(c net.Conn) { io.WriteString(c, "hello\n"); io.Copy(c, c) }

// pass connects c with target.
func pass(c net.Conn, target string) {
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	go io.Copy(out, c)
	io.Copy(c, out)
}

// httpProxy is a proxy that lets in those who have the login.
func httpProxy(login string) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil || r.Method != http.MethodConnect {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			return
		}
		want := ""
		if login != "" {
			want = "Basic " + base64.StdEncoding.EncodeToString([]byte(login))
		}
		if r.Header.Get("Proxy-Authorization") != want {
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.0 200 Connection established\r\nVia: test\r\n\r\n")
		pass(c, r.Host)
	}
}

// socks4Proxy is a proxy of version 4a that lets in bob only.
func socks4Proxy(c net.Conn) {
	r := bufio.NewReader(c)
	head := make([]byte, 8)
	io.ReadFull(r, head)
	user, _ := r.ReadString(0)
	host := net.IP(head[4:]).String()
	if host == "0.0.0.1" {
		name, _ := r.ReadString(0)
		host = map[string]string{"echo.test\x00": "127.0.0.1"}[name]
	}
	if user != "bob\x00" {
		c.Write([]byte{0, 93, 0, 0, 0, 0, 0, 0})
		return
	}
	c.Write([]byte{0, 90, 0, 0, 0, 0, 0, 0})
	pass(c, net.JoinHostPort(host, fmt.Sprint(int(head[2])<<8|int(head[3]))))
}

// socks5Proxy is a proxy that lets in bob with the password secret, and knows one name.
func socks5Proxy(c net.Conn) {
	r := bufio.NewReader(c)
	head := make([]byte, 2)
	io.ReadFull(r, head)
	methods := make([]byte, head[1])
	io.ReadFull(r, methods)
	if !bytes.Contains(methods, []byte{2}) {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, 2})
	io.ReadFull(r, head)
	user := make([]byte, head[1])
	io.ReadFull(r, user)
	n, _ := r.ReadByte()
	pass5 := make([]byte, n)
	io.ReadFull(r, pass5)
	if string(user) != "bob" || string(pass5) != "secret" {
		c.Write([]byte{1, 1})
		return
	}
	c.Write([]byte{1, 0})
	ask := make([]byte, 4)
	io.ReadFull(r, ask)
	host := ""
	switch ask[3] {
	case 1:
		ip := make([]byte, 4)
		io.ReadFull(r, ip)
		host = net.IP(ip).String()
	case 3:
		n, _ := r.ReadByte()
		name := make([]byte, n)
		io.ReadFull(r, name)
		host = map[string]string{"echo.test": "127.0.0.1"}[string(name)]
	}
	port := make([]byte, 2)
	io.ReadFull(r, port)
	c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 9})
	pass(c, net.JoinHostPort(host, fmt.Sprint(int(port[0])<<8|int(port[1]))))
}

func dial(ctx context.Context, host, port string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

// try connects by way of p and checks that the other end is there.
func try(t *testing.T, p config.Proxy, to Target) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := Connect(ctx, p, Own{Name: "alice", NetName: "home"}, to, dial)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, "ping")
	got := make([]byte, len("hello\nping"))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hello\nping" {
		t.Errorf("got %q, %v", got, err)
	}
	return nil
}

func TestProxies(t *testing.T) {
	host, port := fixture.Server(t, echo)
	var number uint16
	fmt.Sscan(port, &number)
	direct, named := Target{Host: host, Port: number}, Target{Host: "echo.test", Port: number}
	proxies := map[config.ProxyKind]func(net.Conn){
		config.HTTPProxy: httpProxy("bob:secret"), config.SOCKS4Proxy: socks4Proxy, config.SOCKS4AProxy: socks4Proxy, config.SOCKS5Proxy: socks5Proxy,
	}
	for _, c := range []struct {
		name           string
		kind           config.ProxyKind
		user, password string
		to             Target
		want           string // of the error
	}{
		{"http", config.HTTPProxy, "bob", "secret", direct, ""},
		{"http with a wrong password", config.HTTPProxy, "bob", "hunter2", direct, "another user and password"},
		{"http without a login", config.HTTPProxy, "", "", direct, "another user and password"},
		{"socks4", config.SOCKS4Proxy, "bob", "", direct, ""},
		{"socks4 with a wrong user", config.SOCKS4Proxy, "eve", "", direct, "refused the user"},
		{"socks4 to a name", config.SOCKS4Proxy, "bob", "", named, "cannot connect to names"},
		{"socks4 over IPv6", config.SOCKS4Proxy, "bob", "", Target{Host: "2001:db8::1", Port: 1}, "cannot connect to IPv6"},
		{"socks4a to a name", config.SOCKS4AProxy, "bob", "", named, ""},
		{"socks5", config.SOCKS5Proxy, "bob", "secret", direct, ""},
		{"socks5 to a name", config.SOCKS5Proxy, "bob", "secret", named, ""},
		{"socks5 with a wrong password", config.SOCKS5Proxy, "bob", "hunter2", direct, "authentication failed"},
		{"socks5 without a login", config.SOCKS5Proxy, "", "", direct, "no acceptable authentication"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host, port := fixture.Server(t, proxies[c.kind])
			err := try(t, config.Proxy{Kind: c.kind, Host: host, Port: port, User: c.user, Password: c.password}, c.to)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("the error is %v", err)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestStrangeProxies(t *testing.T) {
	for name, answer := range map[string]string{
		"not HTTP": "SSH-2.0-OpenSSH\r\n\r\n", "refused": "HTTP/1.1 403 Forbidden\r\n\r\n", "closed": "", "half": "HTTP/1.1 200 OK\r\n",
		"endless": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHead), "a status of its own": "HTTP/1.1 2000 OK\r\n\r\n",
	} {
		host, port := fixture.Server(t, func(c net.Conn) { io.CopyN(io.Discard, c, 20); io.WriteString(c, answer) })
		if err := try(t, config.Proxy{Kind: config.HTTPProxy, Host: host, Port: port}, Target{Host: "192.0.2.1", Port: 655}); err == nil {
			t.Errorf("%s was taken for success", name)
		} else if !strings.HasPrefix(err.Error(), "the proxy: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProxyThatSaysNothing(t *testing.T) {
	host, port := fixture.Server(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, kind := range []config.ProxyKind{config.HTTPProxy, config.SOCKS4Proxy, config.SOCKS5Proxy} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		_, err := Connect(ctx, config.Proxy{Kind: kind, Host: host, Port: port}, Own{}, Target{Host: "192.0.2.1", Port: 655}, dial)
		if cancel(); err == nil || !strings.Contains(err.Error(), "no answer in time") || time.Since(began) > time.Minute {
			t.Errorf("%v: %v after %v", kind, err, time.Since(began))
		}
	}
}

func TestHostsThatNoProxyIsGiven(t *testing.T) {
	for _, host := range []string{"", "-oProxyCommand=x", "a b", "a\r\nX-Injected: 1", "a/b", "$(id)", "a\x00b", strings.Repeat("a", 254)} {
		for _, kind := range []config.ProxyKind{config.HTTPProxy, config.SOCKS4AProxy, config.SOCKS5Proxy, config.ExecProxy} {
			_, err := Connect(t.Context(), config.Proxy{Kind: kind, Command: "cat"}, Own{}, Target{Host: host, Port: 655},
				func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("dialled") })
			if err == nil || !strings.Contains(err.Error(), "neither an address nor the name of a host") {
				t.Errorf("%v to %q: %v", kind, host, err)
			}
		}
	}
}

// script answers as a proxy would that has written all of it in advance.
type script struct {
	io.Reader
	io.Writer
}

func (script) Close() error                { return nil }
func (script) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (script) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
func (script) SetDeadline(time.Time) error { return nil }
func (script) SetReadDeadline(time.Time) error {
	return nil
}
func (script) SetWriteDeadline(time.Time) error { return nil }

// FuzzAnswers takes anything for the answer of a proxy. What follows a good one must
// be left in the stream.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n0 bob 17.7\n"), uint8(config.HTTPProxy))
	f.Add([]byte("HTTP/1.1 407 No\r\nA: b\r\n\r\n"), uint8(config.HTTPProxy))
	f.Add([]byte{0, 90, 0, 0, 0, 0, 0, 0, '0'}, uint8(config.SOCKS4Proxy))
	f.Add([]byte{5, 2, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 9, '0'}, uint8(config.SOCKS5Proxy))
	f.Add([]byte{5, 0, 5, 0, 0, 3, 2, 'a', 'b', 0, 9, '0'}, uint8(config.SOCKS5Proxy))
	f.Fuzz(func(t *testing.T, answer []byte, kind uint8) {
		p := config.Proxy{Kind: config.ProxyKind(kind%4) + 1, Host: "p", Port: "1", User: "bob", Password: "hunter2"}
		r := bytes.NewReader(answer)
		_, err := Connect(context.Background(), p, Own{}, Target{Host: "192.0.2.1", Port: 655},
			func(context.Context, string, string) (net.Conn, error) { return script{r, io.Discard}, nil })
		switch {
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Fatal(err)
		case err != nil:
		case p.Kind == config.HTTPProxy && !bytes.HasSuffix(answer[:len(answer)-r.Len()], []byte("\n")):
			t.Fatal("more than the head was read")
		case (p.Kind == config.SOCKS4Proxy || p.Kind == config.SOCKS4AProxy) && len(answer)-r.Len() != 8:
			t.Fatal("more than the answer was read")
		}
		if errors.Is(err, io.ErrShortBuffer) {
			t.Fatal(err)
		}
	})
}

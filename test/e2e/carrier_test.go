//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/fixture"
	"tincan/internal/lab"
)

// secretPath is where bob takes carriers.
const secretPath = "/3vBqP0dZ8sLw1yTn"

// carriage is a world in which alice connects to bob, who takes carriers at port 443.
type carriage struct {
	*world
	alice, bob *node
	cert       fixture.Certificate
}

// newCarriage makes it. listen and extra are lines of bob's and alice's tinc.conf; at is what follows wss:// in bob's
// Carrier, "" for his own address. FINGERPRINT in it stands for that of the certificate.
func newCarriage(t *testing.T, listen, extra, at string) *carriage {
	return carriageIn(t, newWorld(t, "ip4"), listen, extra, at)
}

func carriageIn(t *testing.T, w *world, listen, extra, at string) *carriage {
	c := &carriage{world: w, cert: fixture.GoodCertificate(t, "vpn.example.org")}
	if at == "" {
		at = "10.99.2.2" + secretPath + "#sha256=FINGERPRINT"
	}
	at = strings.ReplaceAll(at, "FINGERPRINT", c.cert.Fingerprint)
	if listen == "" {
		listen = "CarrierListen = :443\nCarrierCertificate = carrier.crt\nCarrierKey = carrier.key\n"
	}
	n := c.static(
		site{name: "alice", connect: []string{"bob"}, extra: extra},
		site{name: "bob", extra: listen, host: "Carrier = wss://" + at + "\n"})
	c.alice, c.bob = n[0], n[1]
	c.bob.write(map[string]string{"carrier.crt": string(c.cert.Cert), "carrier.key": string(c.cert.Key)})
	return c
}

// linksUp waits until alice has a connection with bob, and says how long that took.
func (c *carriage) linksUp(within time.Duration) time.Duration {
	c.Helper()
	begin := time.Now()
	c.eventually("alice is connected to bob\n"+c.alice.daemon.Tail(20), within, func() bool {
		return c.alice.statusOf("bob").Connected
	})
	return time.Since(begin)
}

// byCarrier tells whether the last connection of alice that was activated is by a carrier.
func (c *carriage) byCarrier() bool {
	log := c.alice.daemon.Log()
	return strings.Contains(log[strings.LastIndex(log, "connecting to bob at"):], "10.99.2.2:443")
}

// A border that lets out nothing but TCP to port 443. The second time the way out is known.
func TestOnlyPort443IsOpen(t *testing.T) {
	t.Parallel()
	c := newCarriage(t, "", "LogLevel = 1\n", "")
	c.block(lab.NotTCP, c.alice)
	c.block(lab.OtherTCP(443), c.alice)
	c.bob.up()
	c.alice.up()
	first := c.linksUp(10 * time.Second)
	c.allReach("ip4", c.alice, c.bob)
	if !strings.Contains(c.bob.daemon.Log(), "connection with alice (10.99.1.2:") {
		t.Errorf("bob does not know where alice is:\n%s", c.bob.daemon.Tail(10))
	}
	rate, err := lab.Throughput(c.alice.Host, c.bob.Host, c.bob.vpn("ip4"), time.Second)
	c.must(err)
	again := bestOf(2, func(int) time.Duration {
		c.alice.stopped()
		begin := time.Now()
		c.alice.up()
		c.linksUp(10 * time.Second)
		return time.Since(begin)
	}, 2*time.Second)
	c.allReach("ip4", c.alice, c.bob)
	t.Logf("connected after %v, when remembered after %v; %.0f Mbit/s", first, again, rate/1e6)
	if again > 2*time.Second {
		t.Errorf("the place was not remembered: connected after %v", again)
	}
	for _, what := range []string{c.alice.daemon.Log(), c.bob.daemon.Log(), c.alice.dump("connections"), c.alice.dump("nodes")} {
		if strings.Contains(what, secretPath) {
			t.Errorf("the path can be read:\n%s", what)
		}
	}
	c.visitor("/", "200 2 <!doctype html>\n<title>Welcome")
	c.visitor("/no/such/page", "404 2")
	c.visitor(secretPath, "404 2")
}

// With Carriers = tls nothing but TCP to port 443 leaves the machine, whatever it is that would pass, and nothing else is taken.
func TestOnlyHTTPSLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	w.cables = true
	c := carriageIn(t, w, "", "LogLevel = 1\nCarriers = tls\n", "")
	c.alice.appendTo("hosts/bob", "Address = 10.99.2.2\n")
	var others atomic.Pointer[string]
	c.must(c.alice.link.Watch(func(p *lab.Passing) bool {
		if !p.TCP || p.From.Port() != 443 && p.To.Port() != 443 {
			text := fmt.Sprintf("TCP %v, from %v to %v, %d bytes", p.TCP, p.From, p.To, len(p.Payload))
			others.CompareAndSwap(nil, &text)
		}
		return true
	}))
	upAll(c.alice, c.bob)
	c.linksUp(10 * time.Second)
	c.allReach("ip4", c.alice, c.bob)
	for range 20 {
		c.alice.Ping(c.bob.vpn("ip4"), 1200, 100*time.Millisecond)
	}
	c.must(c.alice.link.Watch(nil))
	if text := others.Load(); text != nil {
		t.Errorf("something else left alice: %s", *text)
	}
	if conn, err := c.bob.Dial(t.Context(), "tcp", "10.99.1.2:655"); err == nil {
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Write([]byte("0 bob 17.7\n")); err == nil {
			if n, err := conn.Read(make([]byte, 100)); n > 0 || os.IsTimeout(err) {
				t.Errorf("alice answers by TCP: %d bytes, %v", n, err)
			}
		}
		conn.Close()
	}

	if s := c.alice.statusOf("bob"); s.Carrier != "tls" || s.MetaCarrier != "tls" || s.Path != control.PathTCP {
		t.Errorf("status: carrier %q, connection by %q, path %q", s.Carrier, s.MetaCarrier, s.Path)
	}
	for _, want := range []struct{ args, text string }{
		{"status", "direct (HTTPS)"}, {"status", "carriers: HTTPS to bob"}, {"status bob", "by HTTPS"},
		{"why bob", "HTTPS       in use: packets and requests"}, {"why bob", "TCP         off: Carriers does not name tcp"},
		{"netcheck", "HTTPS: in use with 1 node"}, {"netcheck", "masked UDP: off"},
	} {
		if out := c.alice.tincan(strings.Fields(want.args)...); !strings.Contains(out, want.text) {
			t.Errorf("tincan %s does not say %q:\n%s", want.args, want.text, out)
		}
	}
}

// visitor checks what somebody sees who comes to bob's port 443 with a browser.
func (c *carriage) visitor(path, want string) {
	c.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.alice.Dial(ctx, "tcp", "10.99.2.2:443")
		},
		TLSClientConfig: &tls.Config{RootCAs: c.cert.Roots}, ForceAttemptHTTP2: true,
	}}
	defer client.CloseIdleConnections()
	r, err := client.Get("https://vpn.example.org" + path)
	c.must(err)
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	if got := fmt.Sprintf("%d %d %s", r.StatusCode, r.ProtoMajor, body); !strings.HasPrefix(got, want) {
		c.Errorf("a visitor of %s sees %s", path, got)
	}
}

// A web server in front of the node has the certificate. Here it is Go's reverse proxy.
func TestACarrierBehindAReverseProxy(t *testing.T) {
	t.Parallel()
	c := newCarriage(t, "CarrierListen = http://127.0.0.1:8080\nCarrierSite = site\n", "LogLevel = 1\n", "")
	c.bob.write(map[string]string{"site/index.html": "<h1>Bread</h1>"})
	l, err := c.bob.Listen("tcp", "10.99.2.2:443")
	c.must(err)
	t.Cleanup(func() { l.Close() })
	backend, _ := url.Parse("http://127.0.0.1:8080")
	proxy := httputil.NewSingleHostReverseProxy(backend)
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return c.bob.Dial(ctx, "tcp", to) }}
	go http.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c.cert.Pair(t)}}), proxy)
	c.block(lab.NotTCP, c.alice)
	c.block(lab.OtherTCP(443), c.alice)
	upAll(c.alice, c.bob)
	c.allReach("ip4", c.alice, c.bob)
	if !strings.Contains(c.bob.daemon.Log(), "connection with alice (10.99.1.2:") {
		t.Errorf("bob does not know where alice is:\n%s", c.bob.daemon.Tail(10))
	}
	c.visitor("/", "200 1 <h1>Bread</h1>")
	c.visitor(secretPath, "404 1")
	for _, e := range strings.Split(c.alice.dump("edges"), "\n") {
		if strings.Contains(e, "127.0.0.1") {
			t.Errorf("others are told an address of loopback: %s", e)
		}
	}
}

// A border with a list of names that a greeting of TLS may ask for, which cuts off all others.
func TestAListOfNames(t *testing.T) {
	t.Parallel()
	c := newCarriage(t, "CarrierListen = 10.99.2.2:8443\nCarrierCertificate = carrier.crt\nCarrierKey = carrier.key\n", "LogLevel = 1\n", "")
	guard := c.node("guard") // all that leaves alice goes to it
	allowed, cut := new(atomic.Int32), new(atomic.Int32)
	l, err := guard.Listen("tcp", ":443")
	c.must(err)
	t.Cleanup(func() { l.Close() })
	fixture.Serve(l, func(conn net.Conn) {
		guarded(conn, "www.example.com", allowed, cut, func(ctx context.Context) (net.Conn, error) { return guard.Dial(ctx, "tcp", "10.99.2.2:8443") })
	})
	at := "10.99.3.2" + secretPath + "#sha256=" + c.cert.Fingerprint
	for _, n := range []*node{c.alice, c.bob} {
		n.appendTo("hosts/bob", "Carrier = wss://"+at+"\nCarrier = wss://"+at+"&sni=www.example.com\n")
	}
	c.block(lab.All, c.alice, c.bob)
	upAll(c.alice, c.bob)
	c.linksUp(10 * time.Second)
	c.allReach("ip4", c.alice, c.bob)
	if allowed.Load() == 0 {
		t.Errorf("nothing went by the list: %d were cut off", cut.Load())
	}
}

// The same as a censor on the line, which lets nothing else pass. The answer is sni= in the Carrier.
func TestOnlyListedNamesPass(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string]bool{"&sni=www.example.com": true, "&sni=www.example.org": false, "": false} {
		t.Run(strings.TrimPrefix(name, "&"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			w.cables = true
			c := carriageIn(t, w, "", "LogLevel = 1\n", "10.99.2.2"+secretPath+"#sha256=FINGERPRINT"+name)
			c.must(c.alice.link.Watch(lab.OnlyNames("www.example.com")))
			upAll(c.alice, c.bob)
			if !listed {
				time.Sleep(3 * time.Second)
				if c.alice.statusOf("bob").Connected {
					t.Errorf("a name that is not listed passes:\n%s", c.alice.daemon.Tail(10))
				}
				return
			}
			c.linksUp(10 * time.Second)
			c.allReach("ip4", c.alice, c.bob)
		})
	}
}

// A line Carrier, and Carriers, are nothing to nodes of tinc: they connect by TCP, also with a node that has a carrier.
func TestCarrierLinesAreNothingToTinc(t *testing.T) {
	t.Parallel()
	kinds := []kind{tinc10}
	if tincDir != "" {
		kinds = append(kinds, tinc11)
	}
	for _, k := range kinds {
		t.Run(k.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			cert := fixture.GoodCertificate(t, "vpn.example.org")
			n := w.legacy(
				site{name: "ours", extra: "Carriers = masked, udp, tls, tcp\nCarrierListen = :443\nCarrierCertificate = carrier.crt\nCarrierKey = carrier.key\n",
					host: "Carrier = wss://10.99.1.2" + secretPath + "#sha256=" + cert.Fingerprint + "\n"},
				site{name: "theirs", kind: k, connect: []string{"ours"}, host: "Carrier = wss://10.99.2.2" + secretPath + "\n"})
			n[0].write(map[string]string{"carrier.crt": string(cert.Cert), "carrier.key": string(cert.Key)})
			for _, one := range n {
				one.start()
			}
			w.allReach("ip4", n...)
			if strings.Contains(n[1].log(), "arrier") {
				t.Errorf("tinc says something of carriers:\n%s", n[1].log())
			}
		})
	}
}

// guarded passes a connection on if its greeting asks for a name.
func guarded(conn net.Conn, name string, allowed, cut *atomic.Int32, dial func(context.Context) (net.Conn, error)) {
	seen, asked := bufio.NewReaderSize(conn, 16<<10), ""
	greeting, _ := seen.Peek(5)
	if len(greeting) < 5 {
		return
	}
	greeting, _ = seen.Peek(5 + int(greeting[3])<<8 + int(greeting[4]))
	tls.Server(&replay{Reader: strings.NewReader(string(greeting))}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		asked = h.ServerName
		return nil, io.EOF
	}}).Handshake()
	if asked != name {
		cut.Add(1)
		return
	}
	allowed.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := dial(ctx)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { defer out.Close(); io.Copy(out, seen) }()
	io.Copy(conn, out)
}

// replay is a connection from which something can be read once.
type replay struct {
	net.Conn
	io.Reader
}

func (r *replay) Read(b []byte) (int, error)  { return r.Reader.Read(b) }
func (r *replay) Write(b []byte) (int, error) { return len(b), nil }

// An office whose proxy connects to port 443 only, and by name.
func TestACarrierThroughAProxy(t *testing.T) {
	t.Parallel()
	for kind, port := range map[string]string{"http": "3128", "socks5": "1080"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newCarriage(t, "", "LogLevel = 1\nProxy = "+kind+" 10.99.3.2 "+port+" bob hunter2\n", "")
			proxy, uses := c.proxyHost()
			c.block(lab.All, c.alice, c.bob)
			c.block(lab.OtherTCP(443), proxy, c.bob)
			upAll(c.alice, c.bob)
			c.linksUp(10 * time.Second)
			c.allReach("ip4", c.alice, c.bob)
			if uses.Load() == 0 {
				t.Error("the proxy was not asked")
			}
		})
	}
}

// A censor that lets a connection to a foreign host begin and freezes it after 16 KB. By TCP only: then the carrier takes over.
func TestAFrozenConnection(t *testing.T) {
	t.Parallel()
	c := newCarriage(t, "", "LogLevel = 1\n", "")
	c.block(lab.UDP, c.alice)
	c.block("tcp sport 655 ct bytes > 16000", c.bob)
	c.block("tcp dport 655 ct bytes > 16000", c.bob)
	upAll(c.alice, c.bob)
	c.linksUp(patience)
	c.allReach("ip4", c.alice, c.bob)
	if c.byCarrier() {
		t.Fatalf("TCP was not tried first:\n%s", c.alice.daemon.Tail(20))
	}
	begin := time.Now()
	for range 30 {
		c.alice.Ping(c.bob.vpn("ip4"), 1000, 20*time.Millisecond)
	}
	_, err := c.alice.Reach(c.bob.vpn("ip4"), 10*time.Second)
	c.must(err)
	t.Logf("frozen and back after %v", time.Since(begin))
	if !c.byCarrier() {
		t.Errorf("it does not use the carrier:\n%s", c.alice.daemon.Tail(20))
	}
}

package keydist

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
)

// The attacks of the review of tinc-boot that concern what spreads in the VPN, by
// the number of the finding. Mallory is a member like any other.

// mallory serves whatever handler says at 127.1.66.1.
func (w *world) mallory(handler http.HandlerFunc) netip.Addr {
	w.Helper()
	at := netip.MustParseAddr("127.1.66.1")
	for _, port := range []uint16{testPort, DiscoveryPort} {
		l, err := net.Listen("tcp", netip.AddrPortFrom(at, port).String())
		if err != nil {
			w.Fatal(err)
		}
		s := &http.Server{Handler: handler}
		go s.Serve(l)
		w.Cleanup(func() { s.Close() })
	}
	w.mu.Lock()
	w.owner[at] = "mallory"
	w.mu.Unlock()
	return at
}

// tree lists all files below a directory with their contents, but for notes of our own.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != stateName {
			data, _ := os.ReadFile(path)
			out[path] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, text := range after {
		if old, ok := before[path]; !ok || old != text {
			t.Errorf("%s is now %q", path, text)
		}
	}
	for path := range before {
		if _, ok := after[path]; !ok {
			t.Errorf("%s is gone", path)
		}
	}
}

func (m *member) order(from netip.Addr, what, body string, header ...string) string {
	m.w.Helper()
	text := fmt.Sprintf("POST /rpc/%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", what, m.at(), len(body))
	for _, h := range header {
		text += h + "\r\n"
	}
	_, rest, _ := strings.Cut(m.raw(from, text+"\r\n"+body), " ")
	status, _, _ := strings.Cut(rest, " ")
	return status
}

func TestFinding2NamesThatLeaveTheDirectory(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, edLine(66)) })
	m := w.member("alice", 1, hostText(1), outside).run()
	before := tree(t, m.dir)
	for _, name := range []string{"../X", "../tinc-up", "..", ".", "/etc/x", `a\nb`, "a b", "a(", `\u0000`, strings.Repeat("x", 300)} {
		m.order(m.addr, "watch", fmt.Sprintf(`{"subnet":"%s/32","node":"%s"}`, at, name))
	}
	time.Sleep(200 * time.Millisecond)
	unchanged(t, before, tree(t, m.dir))
}

func TestFinding3HostFilesCannotBePushed(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), outside)
	m.write("bob", hostText(2))
	m.run()
	before := tree(t, m.dir)
	for _, from := range []netip.Addr{m.addr, netip.MustParseAddr("127.1.66.1")} {
		for _, name := range []string{"alice", "bob", "new"} {
			if status := m.call(from, "POST", "/rpc/node/"+name+"/hostfile"); status != "403" {
				t.Errorf("pushing %s from %s: status %s", name, from, status)
			}
		}
	}
	unchanged(t, before, tree(t, m.dir))
}

func TestFinding3AKnownKeyIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, edLine(66)) })
	m := w.member("alice", 1, hostText(1), outside)
	m.write("bob", hostText(2))
	m.run()
	// tincd says that bob is at mallory's address.
	m.Watch("bob", mustSubnet(t, at.String()))
	w.eventually("it is noticed", func() bool { return strings.Contains(w.logs(), "another key for bob") })
	if m.file("hosts/bob") != hostText(2) {
		t.Errorf("bob is now %q", m.file("hosts/bob"))
	}
	time.Sleep(200 * time.Millisecond) // it is fetched again and again
	if n := strings.Count(w.logs(), "another key for bob"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}

func TestFinding3OnlyTheNodeItselfIsBelieved(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, edLine(66)) })
	m := w.member("alice", 1, hostText(1), nil).run()
	m.Watch("bob", mustSubnet(t, at.String())) // but packets for it go to mallory
	time.Sleep(300 * time.Millisecond)
	if got := m.file("hosts/bob"); got != "" {
		t.Errorf("bob is now %q", got)
	}
}

func TestFinding4VersionsAreBelievedOnlyAboutTheirNode(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hosts" {
			io.WriteString(rw, `[{"Name":"alice","Version":9999},{"Name":"bob","Version":9999},{"Name":"mallory","Version":9999}]`)
			return
		}
		rw.Header().Set("X-Name", "bob") // whatever was asked for
		rw.Header().Set("X-Version", "9999")
		io.WriteString(rw, edLine(66))
	})
	m := w.member("alice", 1, hostText(1), func(c *Config) { c.Discovery = true })
	m.write("bob", hostText(2))
	m.run()
	before := tree(t, m.dir)
	p := &peer{name: "mallory", addrs: []netip.Addr{at}}
	if err := m.poll(t.Context(), p, at); err == nil || !strings.Contains(err.Error(), `asked for mallory it sends "bob"`) {
		t.Errorf("the error is %v", err)
	}
	unchanged(t, before, tree(t, m.dir))
}

func TestFinding5TheOwnHostFileIsNeverTouched(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, hostText(1, "Weight = 1\n")) })
	m := w.member("alice", 1, hostText(1), outside).run()
	before := tree(t, m.dir)
	m.Watch("alice", mustSubnet(t, at.String()))
	if _, err := m.cfg.Store.Offer("alice", "mallory", []byte(hostText(1, "Weight = 1\n"))); err == nil {
		t.Error("it was taken")
	}
	time.Sleep(200 * time.Millisecond)
	unchanged(t, before, tree(t, m.dir))
}

func TestFinding12And18WhatIsNoHostFile(t *testing.T) {
	endless := func(rw http.ResponseWriter) {
		for line := strings.Repeat("#", 1000) + "\n"; ; {
			if _, err := io.WriteString(rw, line); err != nil {
				return
			}
		}
	}
	for name, serve := range map[string]func(http.ResponseWriter){
		"nothing":            func(http.ResponseWriter) {},
		"binary":             func(rw http.ResponseWriter) { _, _ = rw.Write([]byte{0, 255, 254}) },
		"a file without end": endless,
		"the default route":  func(rw http.ResponseWriter) { io.WriteString(rw, "Subnet = 0.0.0.0/0\n"+edLine(66)) },
		"a thousand places": func(rw http.ResponseWriter) {
			io.WriteString(rw, strings.Repeat("Address = 192.0.2.1\n", 700)+edLine(66))
		},
		"somebody's subnet":   func(rw http.ResponseWriter) { io.WriteString(rw, "Subnet = 10.1.2.1\n"+edLine(66)) },
		"a page that is gone": func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusGone); io.WriteString(rw, edLine(66)) },
		"a redirect": func(rw http.ResponseWriter) {
			rw.Header().Set("Location", "http://127.1.2.1:1/")
			rw.WriteHeader(http.StatusFound)
			io.WriteString(rw, edLine(66))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := make(chan struct{}, 100)
			at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) {
				serve(rw)
				asked <- struct{}{}
			})
			m := w.member("alice", 1, hostText(1), outside)
			m.write("bob", hostText(2))
			m.run()
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			allocated := memory.TotalAlloc
			m.Watch("mallory", mustSubnet(t, at.String()))
			for range 2 { // then the first answer has been dealt with
				select {
				case <-asked:
				case <-time.After(30 * time.Second):
					t.Fatalf("nobody asks\n%s", w.logs())
				}
			}
			runtime.ReadMemStats(&memory)
			if grown := memory.TotalAlloc - allocated; grown > 10<<20 {
				t.Errorf("it took %d bytes of memory", grown)
			}
			if got := m.file("hosts/mallory"); got != "" {
				t.Errorf("stored: %.200q", got)
			}
		})
	}
}

func TestFinding13And14WhoGivesOrders(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(http.ResponseWriter, *http.Request) {})
	m := w.member("alice", 1, hostText(1), outside).run()
	body := fmt.Sprintf(`{"subnet":"%s/32","node":"mallory"}`, at)
	for name, c := range map[string]struct {
		from   netip.Addr
		header []string
	}{
		"a member":                    {at, nil},
		"a web page":                  {m.addr, []string{"Origin: http://evil.example"}},
		"a page without a home":       {m.addr, []string{"Origin: null"}},
		"a page with a secure origin": {m.addr, []string{"Origin: https://" + m.at()}},
	} {
		for _, what := range []string{"watch", "forget", "kill"} {
			if status := m.order(c.from, what, body, c.header...); status != "403" {
				t.Errorf("%s may order %s: status %s", name, what, status)
			}
		}
	}
	for _, host := range []string{"evil.example:1655", "evil.example", "127.0.0.1", ""} {
		for _, path := range []string{"/", "/rpc/nodes"} {
			if a := m.raw(m.addr, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(a, "HTTP/1.1 403") {
				t.Errorf("%s by the name %q: %.40q", path, host, a)
			}
		}
	}
	if status := m.call(at, "GET", "/rpc/ws"); status != "403" {
		t.Errorf("a member listens to events: status %s", status)
	}
	// Reading is open to members, and the own orders work.
	if status := m.call(at, "GET", "/rpc/nodes"); status != "200" {
		t.Errorf("a member cannot read: status %s", status)
	}
	if status := m.order(m.addr, "kill", ""); status != "204" {
		t.Errorf("the own order to end: status %s", status)
	}
	w.eventually("it ends", func() bool { return m.end() == ErrKilled })
}

func TestFinding12SubnetsThatItDoesNotAnnounce(t *testing.T) {
	w := newWorld(t)
	at := w.mallory(func(rw http.ResponseWriter, r *http.Request) {
		show(rw, r, "mallory", 66, "Subnet = 0.0.0.0/0\nSubnet = 10.1.2.1\nSubnet = 10.1.66.1\n"+edLine(66))
	})
	key := keys.FromSeed([32]byte{66}).Public()
	w.keys["mallory"] = &key
	w.owner[netip.MustParseAddr("10.1.2.1")] = "bob"
	w.owner[netip.MustParseAddr("10.1.66.1")] = "mallory"
	m := w.member("alice", 1, hostText(1), nil).run()
	m.Watch("mallory", mustSubnet(t, at.String()))
	w.eventually("mallory's host file", func() bool { return m.seesFetched("mallory") })
	if got := m.file("hosts/mallory"); got != "Subnet = 10.1.66.1\n"+edLine(66) {
		t.Errorf("stored:\n%s", got)
	}
}

// Whoever writes the subnet of another node into the own host file has announced it, and no more.
func TestSubnetsOfOthersAreNotStored(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	m.write("bob", hostText(2, "Subnet = 10.20.0.0/24\nSubnet = 10.0.0.0/8\nSubnet = fd00:1::/64\n"))
	for _, c := range []struct {
		subnet string
		stored bool
	}{
		{"10.1.2.1", false}, {"10.1.2.1/32#1", false}, {"10.20.0.7", false}, {"10.20.0.0/24", false}, {"10.20.0.0/25#5", false},
		{"10.0.0.0/8", false}, {"fd00:1::5", false}, {"10.1.1.1", false}, // our own
		{"10.1.9.1", true}, {"10.21.0.0/24", true}, {"10.20.0.0/16", true}, {"10.0.0.0/9", true}, {"fd00:2::/64", true},
	} {
		p := mustSubnet(t, c.subnet)
		w.mu.Lock()
		w.owner[p.Prefix().Masked().Addr()] = "mallory" // announced by the owner of the file
		w.mu.Unlock()
		before := hostText(9)
		if c.stored {
			before = edLine(9)
		}
		if _, err := m.offer("mallory", "mallory", []byte(before+"Subnet = "+c.subnet+"\n")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(m.file("hosts/mallory"), "= "+c.subnet+"\n"); got != c.stored {
			t.Errorf("%s is stored: %t, log\n%s", c.subnet, got, w.logs())
		}
		m.cfg.Store.Survey()
	}
	m.remove("bob")
	m.cfg.Store.Survey()
	if _, err := m.offer("mallory", "mallory", []byte(edLine(9)+"Subnet = 10.1.2.1\n")); err != nil || !strings.Contains(m.file("hosts/mallory"), "10.1.2.1") {
		t.Errorf("what bob had is not free when he is gone: %v", err)
	}
}

func TestWithCompatibilityTheEngineStillSaysWhoIsWho(t *testing.T) {
	w := newWorld(t)
	bob := w.member("bob", 2, hostText(2), nil)
	m := w.member("alice", 1, hostText(1), func(c *Config) { c.Orders, c.Index = true, true }).run()
	at := w.mallory(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, edLine(66)) })
	if status := m.call(bob.addr, "GET", "/rpc/nodes"); status != "200" {
		t.Errorf("bob cannot read: status %s", status)
	}
	if status := m.call(netip.MustParseAddr("127.1.99.1"), "GET", "/rpc/nodes"); status != "403" {
		t.Errorf("somebody from outside the VPN gets status %s", status)
	}
	if status := m.order(m.addr, "watch", fmt.Sprintf(`{"subnet":"%s/32","node":"victim"}`, at)); status != "204" {
		t.Errorf("the own order: status %s", status)
	}
	time.Sleep(200 * time.Millisecond)
	if got := m.file("hosts/victim"); got != "" {
		t.Errorf("an order overruled the engine: %q", got)
	}
}

func TestWithoutCompatibilityNobodyGivesOrders(t *testing.T) {
	w := newWorld(t)
	bob := w.member("bob", 2, hostText(2), nil)
	m := w.member("alice", 1, hostText(1), nil).run()
	for _, from := range []netip.Addr{m.addr, bob.addr} {
		for path, want := range map[string]string{
			"GET /": "200", "GET /v2/host/alice": "200", "GET /v2/host/nobody": "404", "GET /v2/host/..%2ftinc.conf": "404",
			"GET /rpc/nodes": "403", "POST /rpc/watch": "403", "POST /rpc/kill": "403", "GET /rpc/ws": "403", "GET /ui": "404",
		} {
			method, path, _ := strings.Cut(path, " ")
			if status := m.call(from, method, path); status != want {
				t.Errorf("%s %s from %s: status %s, want %s", method, path, from, status, want)
			}
		}
	}
	if status := m.call(netip.MustParseAddr("127.1.99.1"), "GET", "/"); status != "403" {
		t.Errorf("somebody from outside the VPN gets status %s", status)
	}
}

func TestFinding18OneAddressCannotTakeAllConnections(t *testing.T) {
	w := newWorld(t)
	bob := w.member("bob", 2, hostText(2), nil)
	m := w.member("alice", 1, hostText(1), nil).run()
	for range 3 * maxConnsOfPeer {
		defer w.dial(netip.MustParseAddr("127.1.66.1"), m.at()).Close()
	}
	if status := m.call(bob.addr, "GET", "/"); status != "200" {
		t.Errorf("bob gets status %s", status)
	}
}

func TestFinding18LongRequestsAreRefused(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), outside).run()
	body := `{"node":"x","subnet":"` + strings.Repeat("1", 1<<20) + `"}`
	if status := m.order(m.addr, "watch", body); status != "400" {
		t.Errorf("status %s", status)
	}
}

func TestFinding19TheOwnHostFileSurvivesAStorm(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), outside).run()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				if a := m.raw(m.addr, "GET / HTTP/1.0\r\nHost: "+m.at()+"\r\n\r\n"); !strings.HasSuffix(a, edLine(1)) {
					t.Errorf("half a file: %q", a)
				}
			}
		})
	}
	for range 400 {
		m.Watch("alice", mustSubnet(t, m.addr.String()))
		m.Forget("alice")
	}
	wg.Wait()
	if m.file("hosts/alice") != hostText(1) {
		t.Errorf("the own host file is now %q", m.file("hosts/alice"))
	}
}

func TestFinding20SubnetsThatAreNoAddresses(t *testing.T) {
	w := newWorld(t)
	hit := make(chan string, 10)
	at := w.mallory(func(_ http.ResponseWriter, r *http.Request) { hit <- r.URL.String() })
	m := w.member("alice", 1, hostText(1), outside).run()
	for _, text := range []string{fmt.Sprintf("%s:%d?", at, testPort), "localhost", at.String() + "/24", "user@" + at.String()} {
		m.order(m.addr, "watch", fmt.Sprintf(`{"subnet":"%s","node":"mallory"}`, text))
		m.order(m.addr, "forget", `{"node":"mallory"}`)
	}
	select {
	case url := <-hit:
		t.Errorf("it was steered to %s", url)
	case <-time.After(200 * time.Millisecond):
	}
}

func TestManyNodesDoNotGrowWithoutBound(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	for i := range maxPeers + 100 {
		m.Watch(node.Name(fmt.Sprintf("n%d", i)), mustSubnet(t, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)))
	}
	if len(m.Monitor.order) != maxPeers {
		t.Errorf("%d nodes are watched", len(m.Monitor.order))
	}
	for i := range 2 * maxChanges {
		m.cfg.Store.Suspect(node.Name(fmt.Sprintf("n%d", i)), "mallory", []byte(edLine(66)))
	}
	if n := len(m.cfg.Store.Changes()); n != maxChanges {
		t.Errorf("%d changes wait", n)
	}
}

package keydist

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// show answers a request with a host file that the holder of a key has signed in the name of a node.
func show(rw http.ResponseWriter, r *http.Request, name node.Name, seed byte, text string) {
	sign := SignWith(keys.FromSeed([32]byte{seed}), name)
	rw.Header().Set(signatureHeader, sign(signedText([]byte(text), r.Header.Get(nonceHeader))))
	io.WriteString(rw, text)
}

// What mallory shows at an address that leads to her for a moment, as the host file of carol. Key 3 is carol's, 66 her own.
func TestHostFileInAnothersName(t *testing.T) {
	const address = "Address = 192.0.2.66\nTCPOnly = yes\n"
	replay := ""
	for name, c := range map[string]struct {
		file    string // of carol, at alice; "" none
		known   bool   // to the engine
		hearsay bool
		compat  bool
		show    func(http.ResponseWriter, *http.Request)
		want    string // the host file afterwards
	}{
		"unsigned, key in hosts": {file: edLine(3), show: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, address+edLine(3)) }, want: edLine(3)},
		"unsigned, key in hosts, compat": {file: edLine(3), compat: true,
			show: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, address+edLine(3)) }, want: edLine(3)},
		"unsigned, learned":    {known: true, show: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, address+edLine(3)) }},
		"unsigned, unknown":    {show: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, address+edLine(66)) }},
		"her own key, unknown": {show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 66, address+edLine(66)) }},
		"her own key, learned": {known: true, show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 66, address+edLine(66)) }},
		"carol's key in the file, signed with her own": {file: edLine(3),
			show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 66, address+edLine(3)) }, want: edLine(3)},
		"signed as mallory": {file: edLine(3),
			show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "mallory", 3, address+edLine(3)) }, want: edLine(3)},
		"what carol has signed before, for somebody else": {file: edLine(3), show: func(w http.ResponseWriter, r *http.Request) {
			if replay == "" {
				replay = SignWith(keys.FromSeed([32]byte{3}), "carol")(signedText([]byte(address+edLine(3)), newNonce()))
			}
			w.Header().Set(signatureHeader, replay)
			w.Header().Set(nonceHeader, strings.Repeat("0", nonceLen))
			io.WriteString(w, address+edLine(3))
		}, want: edLine(3)},
		"nobody vouches": {known: true, hearsay: true, show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 3, edLine(3)) }},
		"carol herself":  {known: true, show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 3, "Port = 7\n"+edLine(3)) }, want: "Port = 7\n" + edLine(3)},
		"carol, with a key in hosts": {file: edLine(3),
			show: func(w http.ResponseWriter, r *http.Request) { show(w, r, "carol", 3, "Port = 7\n"+edLine(3)) }, want: "Port = 7\n" + edLine(3)},
		"a program of tinc-boot that is new": {compat: true,
			show: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Port = 7\n"+edLine(3)) }, want: "Port = 7\n" + edLine(3)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			asked := make(chan bool, 100)
			at := w.mallory(func(rw http.ResponseWriter, r *http.Request) {
				c.show(rw, r)
				asked <- true
			})
			w.owner[at] = "carol"
			if k := keys.FromSeed([32]byte{3}).Public(); c.known {
				w.keys["carol"], w.hearsay["carol"] = &k, c.hearsay
			}
			m := w.member("alice", 1, hostText(1), func(cfg *Config) { cfg.Orders = c.compat })
			if c.file != "" {
				m.write("carol", c.file)
			}
			m.run()
			m.Watch("carol", mustSubnet(t, at.String()))
			select {
			case <-asked:
			case <-time.After(30 * time.Second):
				t.Fatal("nobody has asked")
			}
			if c.want != c.file {
				w.eventually("the host file", func() bool { return m.file("hosts/carol") == c.want })
				return
			}
			time.Sleep(200 * time.Millisecond)
			if got := m.file("hosts/carol"); got != c.want {
				t.Errorf("hosts/carol is now %q", got)
			}
		})
	}
}

func TestDeletedHostFileDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	bob := w.member("bob", 2, hostText(2), nil).run()
	m := w.member("alice", 1, hostText(1), nil)
	m.write("bob", edLine(2))
	store := m.cfg.Store
	if _, _, err := store.Survey(); err != nil {
		t.Fatal(err)
	}
	for _, reloaded := range []bool{false, true} {
		if !reloaded {
			m.remove("bob")
		} else if _, _, err := store.Survey(); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Offer("bob", "bob", []byte(hostText(2))); err == nil || !strings.Contains(err.Error(), "deleted") {
			t.Errorf("offered again: %v", err)
		}
		if err := store.Learn("bob", keys.FromSeed([32]byte{2}).Public(), "carol"); err == nil {
			t.Error("its key may be learned again")
		}
	}
	m.run()
	m.Watch("bob", mustSubnet(t, bob.addr.String()))
	time.Sleep(500 * time.Millisecond)
	if got := m.file("hosts/bob"); got != "" {
		t.Errorf("hosts/bob is back: %q", got)
	}
	other := &Store{Layout: store.Layout, Self: "alice"} // after a restart
	if r := other.Removed(); len(r) != 1 || r[0].Node != "bob" {
		t.Fatalf("removed: %v", r)
	}
	if err := other.Accept("bob"); err != nil || len(other.Removed()) > 0 {
		t.Errorf("accepted: %v, removed: %v", err, other.Removed())
	}
	if out, err := other.Offer("bob", "bob", []byte(hostText(2))); out != Stored || err != nil {
		t.Errorf("offered after it was accepted: %v, %v", out, err)
	}
	m.remove("bob")
	other.Survey()
	m.write("bob", edLine(2)) // as import does
	if other.Survey(); len(other.Removed()) > 0 {
		t.Error("a file that was put back still counts as removed")
	}
}

func TestLearnedKeysAreBounded(t *testing.T) {
	s := &Store{Layout: confdir.Layout{ConfBase: t.TempDir()}, Self: "alice"}
	k := keys.FromSeed([32]byte{7}).Public()
	s.mu.Lock()
	for i := range MaxLearned {
		s.load().Learned[node.Name(fmt.Sprintf("n%d", i))] = learnedKey{Key: k.String(), Used: int64(1000 + i)}
	}
	s.mu.Unlock()
	for _, n := range []node.Name{"n0", "dave"} { // n0 is in use again
		if err := s.Learn(n, k, "bob"); err != nil {
			t.Fatal(err)
		}
	}
	got := map[node.Name]bool{}
	for _, l := range s.Learned() {
		got[l.Node] = true
	}
	if len(got) != MaxLearned || !got["dave"] || !got["n0"] || got["n1"] {
		t.Errorf("%d keys are kept, dave: %t, n0: %t, n1: %t", len(got), got["dave"], got["n0"], got["n1"])
	}
}

// Requests of anybody in the VPN: orders, events, names of files.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: 127.1.1.1\r\n\r\n",
		"GET /v2/host/../../tinc.conf HTTP/1.1\r\nHost: 127.1.1.1:1655\r\nTincan-Nonce: 00112233445566778899aabbccddeeff\r\n\r\n",
		"POST /rpc/watch HTTP/1.1\r\nHost: 127.1.1.1\r\nContent-Length: 40\r\n\r\n{\"subnet\":\"10.0.0.1/32\",\"node\":\"eve\"}   ",
		"POST /rpc/forget HTTP/1.1\r\nHost: 127.1.1.1\r\nContent-Length: 14\r\n\r\n{\"node\":\"eve\"}",
		"POST /rpc/node/eve/hostfile HTTP/1.1\r\nHost: 127.1.1.1\r\nContent-Length: 1\r\n\r\nx",
		"GET /rpc/ws HTTP/1.1\r\nHost: 127.1.1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: http://127.1.1.1\r\n\r\n",
		"GET /host/eve?after=-1 HTTP/1.1\r\nHost: 127.1.1.1\r\n\r\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	dir := f.TempDir()
	l := confdir.Layout{ConfBase: dir}
	own := netip.MustParseAddr("127.1.1.1")
	if err := confdir.MakeDir(l.Hosts(), 0o755); err != nil {
		f.Fatal(err)
	}
	if err := confdir.WriteFile(l.Host("alice"), []byte(hostText(1)), confdir.FileMode); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte, self bool) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		w := &world{owner: map[netip.Addr]node.Name{netip.MustParseAddr("127.1.2.1"): "bob"}}
		m := New(Config{
			Store: &Store{Layout: l, Self: "alice"}, Self: "alice", Engine: w, Orders: true,
			Sign: SignWith(keys.FromSeed([32]byte{1}), "alice"),
		})
		m.own = []netip.Addr{own}
		r.RemoteAddr = "127.1.2.1:4000"
		if self {
			r.RemoteAddr = "127.1.1.1:4000"
		}
		for _, h := range []http.Handler{m.handler(), m.discoveryHandler()} {
			out := httptest.NewRecorder()
			m.guard(h).ServeHTTP(out, r)
			if !self && (len(m.order) > 0 || isKilled(m)) {
				t.Fatal("another node has given an order")
			}
			if out.Code == http.StatusOK && strings.Contains(out.Body.String(), "PRIVATE") {
				t.Fatal("a private key is shown")
			}
		}
	})
}

func isKilled(m *Monitor) bool {
	select {
	case <-m.killed:
		return true
	default:
		return false
	}
}

// Signatures that others show.
func FuzzProof(f *testing.F) {
	k := keys.FromSeed([32]byte{3})
	data, nonce := []byte("Port = 7\n"), strings.Repeat("0", nonceLen)
	good := SignWith(k, "carol")(signedText(data, nonce))
	f.Add(good, data)
	f.Add("Signature = carol 1 x", data)
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, line string, shown []byte) {
		h := http.Header{}
		h.Set(signatureHeader, line)
		h.Set(nonceHeader, nonce)
		if proves("carol", k.Public(), shown, h) && !bytes.Equal(shown, data) {
			t.Fatalf("a signature for %q counts for %q", data, shown)
		}
	})
}

// A node can be removed whatever it is known by, and nothing from the mesh brings it back.
func TestRemovingANode(t *testing.T) {
	w := newWorld(t)
	m := w.member("alice", 1, hostText(1), nil)
	store := m.cfg.Store
	m.write("bob", hostText(2))
	store.Survey()
	key := keys.FromSeed([32]byte{4}).Public()
	if err := store.Learn("dave", key, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store.Layout.CacheOf("dave"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[node.Name]struct{ seen, ok bool }{
		"bob": {ok: true}, "dave": {ok: true}, "erin": {seen: true, ok: true}, "nobody": {}, "alice": {seen: true},
	} {
		if err := store.Remove(name, c.seen); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	var removed []node.Name
	for _, r := range store.Removed() {
		removed = append(removed, r.Node)
	}
	if !slices.Equal(removed, []node.Name{"bob", "dave", "erin"}) || m.file("hosts/bob") != "" || m.file("hosts/alice") == "" || m.file("cache/dave") != "" || len(store.Learned()) > 0 {
		t.Errorf("removed are %v, learned %v", removed, store.Learned())
	}
	if _, err := store.Offer("bob", "bob", []byte(hostText(2))); err == nil || store.Learn("dave", key, "bob") == nil || store.learnVouched("erin", key, "bob") == nil {
		t.Error("somebody comes back from the mesh")
	}
	if err := store.Accept("dave"); err != nil || store.Learn("dave", key, "") != nil {
		t.Errorf("dave does not come back when his owner wants it: %v", err)
	}
}

//go:build !windows

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/events"
	"tincan/internal/generate"
	"tincan/internal/invite"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/report"
	"tincan/internal/roster"
)

// patience is how long anything may take.
const patience = 20 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testNode is a node that runs in this process, with a device from which nothing comes.
type testNode struct {
	*testing.T
	layout confdir.Layout
	inside *daemon.Inside
	http   *http.Client
	stop   func() error
}

// start runs a node called name, as the only member of a signed network or in an open one.
func start(t *testing.T, name node.Name, signed bool) *testNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "api") // short enough for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := &testNode{T: t}
	n.layout, err = confdir.Place{Conf: filepath.Join(dir, "n"), PidFile: filepath.Join(dir, "n.pid")}.Layout()
	must(t, err)
	_, err = generate.Node{Layout: n.layout, Name: name, VPN: netip.MustParsePrefix("10.7.0.1/16")}.Create()
	must(t, err)
	if signed {
		_, err := ownership.Begin(n.layout)
		must(t, err)
	}
	for file, lines := range map[string]string{
		n.layout.TincConf(): "DeviceType = dummy\nBindToAddress = 127.0.0.1\nAutoConnect = no\n", n.layout.Host(name): "Port = 0\n",
	} {
		text, err := os.ReadFile(file)
		must(t, err)
		kept := slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(l string) bool { return strings.HasPrefix(l, "Port") })
		must(t, os.WriteFile(file, []byte(lines+strings.Join(kept, "")), 0o644))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, daemon.Options{
			Layout: n.layout, Version: "test", Control: true, API: Local,
			Ready: func(d *daemon.Daemon) { n.inside = d.Inside(); close(ready) },
			Log:   func(r control.LogRecord) { t.Log(r.Text) },
		})
	}()
	stopped := false
	n.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { n.stop() })
	select {
	case <-ready:
	case err := <-done:
		stopped = true
		t.Fatalf("the node did not start: %v", err)
	case <-time.After(patience):
		t.Fatal("the node is not ready")
	}
	socket := pidfile.APISocketPath(n.layout.PidFile)
	n.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	t.Cleanup(n.http.CloseIdleConnections)
	return n
}

// ask sends a request and returns the answer, which has to be what openapi.json says.
func (n *testNode) ask(method, path string, body any) (status int, text []byte) {
	n.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		must(n, err)
		in = bytes.NewReader(b)
	}
	q, err := http.NewRequest(method, "http://tincan"+path, in)
	must(n, err)
	q.Header.Set("Content-Type", "application/json")
	r, err := n.http.Do(q)
	must(n, err)
	defer r.Body.Close()
	text, err = io.ReadAll(r.Body)
	must(n, err)
	n.conforms(method, path, r.StatusCode, text)
	return r.StatusCode, text
}

// asked are the routes that answered.
func (n *testNode) conforms(method, path string, status int, text []byte) {
	n.Helper()
	d := described(n.T)
	path, _, _ = strings.Cut(path, "?")
	var value any
	if path == "/metrics" || json.Unmarshal(text, &value) != nil {
		if path != "/metrics" {
			n.Errorf("%s %s: no JSON: %s", method, path, text)
		}
		return
	}
	schema := d.at("components", "schemas", "Problem")
	if status == http.StatusOK {
		template := ""
		for p := range d.at("paths") {
			if like(p, path) {
				template = p
			}
		}
		schema = d.at("paths", template, strings.ToLower(method), "responses", "200", "content", "application/json", "schema")
	}
	for _, w := range d.fits(value, schema, method+" "+path) {
		n.Error(w)
	}
}

// like tells whether a path is one of a template.
func like(template, path string) bool {
	a, b := strings.Split(template, "/"), strings.Split(path, "/")
	return len(a) == len(b) && !slices.ContainsFunc(a, func(w string) bool {
		i := slices.Index(a, w)
		return w != b[i] && !strings.HasPrefix(w, "{")
	})
}

// get asks for an object that has to be there.
func get[T any](n *testNode, path string) (v T) {
	n.Helper()
	status, text := n.ask("GET", path, nil)
	if status != http.StatusOK {
		n.Fatalf("GET %s: %d %s", path, status, text)
	}
	must(n, json.Unmarshal(text, &v))
	return v
}

// do does something that has to succeed.
func (n *testNode) do(method, path string, body any) string {
	n.Helper()
	status, text := n.ask(method, path, body)
	if status != http.StatusOK {
		n.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return string(text)
}

// refused does something that has to fail with a code.
func (n *testNode) refused(method, path string, body any, status int, code string) Problem {
	n.Helper()
	got, text := n.ask(method, path, body)
	var p Problem
	_ = json.Unmarshal(text, &p)
	if got != status || p.Code != code || p.Message == "" {
		n.Errorf("%s %s: %d %s; want %d %s", method, path, got, text, status, code)
	}
	return p
}

func TestASignedNetworkByTheAPI(t *testing.T) {
	a := start(t, "alice", true)
	if c := get[Caller](a, "/v1/caller"); c.Role != Admin || c.Node != "alice" || c.Mode != "signed" || c.OwnerKey != "here" {
		t.Errorf("the caller: %+v", c)
	}
	if s := get[control.Status](a, "/v1/status"); s.Self.Name != "alice" || s.PID != os.Getpid() {
		t.Errorf("the status: %+v", s)
	}
	if n := get[Nodes](a, "/v1/nodes"); n.Self.Name != "alice" {
		t.Errorf("the nodes: %+v", n)
	}
	get[Node](a, "/v1/nodes/alice")
	a.refused("GET", "/v1/nodes/nobody", nil, 404, "not-found")
	a.refused("GET", "/v1/nodes/no-name!", nil, 400, "bad-request")
	get[Drops](a, "/v1/drops")
	get[control.MeshReport](a, "/v1/mesh")
	if past := get[MeshPast](a, "/v1/mesh/past"); past.Times == nil {
		t.Error("the times of the past are no list")
	}
	a.refused("GET", "/v1/mesh?at=yesterday", nil, 400, "bad-request")
	a.refused("GET", "/v1/mesh?at=2026-01-02T03:04:05Z", nil, 404, "not-found")
	a.refused("GET", "/v1/mesh?after=x", nil, 400, "bad-request")
	get[map[string]any](a, "/v1/openapi.json")
	if text := a.do("GET", "/metrics", nil); !strings.Contains(text, `tincan_build_info{version="test"} 1`) {
		t.Errorf("the metrics: %s", text)
	}
	if w := get[control.WhyReport](a, "/v1/why?to=alice"); !w.Good {
		t.Errorf("why: %+v", w)
	}
	a.refused("GET", "/v1/why", nil, 400, "bad-request")
	a.refused("GET", "/v1/why?to=alice&target=:", nil, 400, "bad-request")
	get[control.NetReport](a, "/v1/netcheck")
	a.do("GET", "/v1/owners", nil)

	// A newcomer that has to be approved, another that is denied, and one that is removed.
	for _, who := range []string{"bob", "carol"} {
		var inv MadeInvitation
		must(t, json.Unmarshal([]byte(a.do("POST", "/v1/invitations", NewInvitation{
			Name: who, Address: fmt.Sprintf("127.0.0.1:%d", a.inside.Port()), Groups: []string{"staff"}, Lifetime: 3600, Approval: true,
		})), &inv))
		if len(inv.QR) < 21 || len(inv.QR) != len(inv.QR[0]) || inv.Expires == nil || len(inv.Addresses) == 0 {
			t.Errorf("the invitation of %s: %+v", who, inv)
		}
		_, err := invite.Join(context.Background(), invite.Options{URL: inv.URL, Place: confdir.Place{Conf: filepath.Join(t.TempDir(), who)}, Log: func(text string) { t.Log(text) }})
		must(t, err)
	}
	if p := get[Pending](a, "/v1/pending").Pending; len(p) != 2 {
		t.Fatalf("waiting: %+v", p)
	}
	a.do("POST", "/v1/pending/bob/approve", nil)
	a.do("POST", "/v1/pending/carol/deny", nil)
	a.refused("POST", "/v1/pending/carol/deny", nil, 404, "not-found")
	v := get[members.View](a, "/v1/members")
	if len(v.Members) != 2 || v.Members[1].Name != "bob" || len(v.Pending) != 0 {
		t.Errorf("the members: %+v", v)
	}
	a.do("DELETE", "/v1/members/bob?reason=sold", nil)
	a.refused("DELETE", "/v1/members/bob", nil, 404, "not-found")
	a.refused("DELETE", "/v1/members/alice", nil, 409, "failed")

	// Invitations are seen, and withdrawn.
	a.do("POST", "/v1/invitations", NewInvitation{Name: "dave", Address: "192.0.2.1"})
	a.refused("POST", "/v1/invitations", NewInvitation{Name: "dave", Address: "a b:c:d"}, 400, "bad-request")
	a.refused("POST", "/v1/invitations", NewInvitation{Name: "dave", Uses: -1}, 400, "bad-request")
	a.refused("POST", "/v1/invitations", map[string]any{"name": "dave", "colour": "red"}, 400, "bad-request")
	a.refused("POST", "/v1/invitations", map[string]any{"name": strings.Repeat("x", maxBody)}, 413, "too-long")
	open := get[struct {
		Invitations []struct{ Fingerprint, Node string }
	}](a, "/v1/invitations").Invitations
	if len(open) != 1 || open[0].Node != "dave" {
		t.Fatalf("open invitations: %+v", open)
	}
	a.do("DELETE", "/v1/invitations/"+open[0].Fingerprint, nil)
	a.refused("DELETE", "/v1/invitations/"+open[0].Fingerprint, nil, 404, "not-found")
	a.refused("DELETE", "/v1/invitations/..%2f..%2fetc%2fpasswd", nil, 404, "not-found")

	// The policy.
	const policy = "allow * -> * icmp\n"
	if text := a.do("POST", "/v1/policy/check", NewPolicy{"allow nobody\n"}); !strings.Contains(text, `"ok":false`) {
		t.Errorf("a wrong policy: %s", text)
	}
	a.refused("PUT", "/v1/policy", NewPolicy{"allow nobody\n"}, 409, "failed")
	a.do("PUT", "/v1/policy", NewPolicy{policy})
	if text := a.do("GET", "/v1/policy", nil); !strings.Contains(text, `"signed_by":"alice"`) {
		t.Errorf("the policy: %s", text)
	}
	a.do("DELETE", "/v1/policy", nil)

	// Without the key of an owner nothing is signed, and it says who could.
	must(t, os.Remove(a.layout.OwnerKey()))
	if p := a.refused("PUT", "/v1/policy", NewPolicy{policy}, 409, "no-owner-key"); !strings.Contains(p.Hint, "alice") {
		t.Errorf("the hint: %q", p.Hint)
	}
	if c := get[Caller](a, "/v1/caller"); c.OwnerKey != "missing" {
		t.Errorf("the caller: %+v", c)
	}
}

// A device is added, told once, changed and removed; the doors get another key. What the node tells later has no private key.
func TestDevicesByTheAPI(t *testing.T) {
	a := start(t, "alice", true)
	if p := a.refused("POST", "/v1/devices", NewDevice{Name: "phone", Endpoint: "vpn.example.org"}, 409, "failed"); !strings.Contains(p.Hint, "admit NODE --door") {
		t.Errorf("without a door: %+v", p)
	}
	n, err := ownership.Open(a.layout, (&server{Backend: a.inside}).ask)
	must(t, err)
	door := roster.CapDoor
	_, err = n.Admit("alice", ownership.Changes{Capabilities: &door})
	must(t, err)

	var made MadeDevice
	must(t, json.Unmarshal([]byte(a.do("POST", "/v1/devices", NewDevice{Name: "phone", Endpoint: "vpn.example.org", Groups: []string{"phones"}, Routes: []string{"192.168.50.0/24"}})), &made))
	if !strings.Contains(made.Config, "\nPrivateKey = ") || !strings.Contains(made.Config, "AllowedIPs = 10.7.0.0/16, 192.168.50.0/24\n") || made.Endpoint != "vpn.example.org:51820" || len(made.QR) < 40 {
		t.Errorf("the device: %+v", made)
	}
	if p := a.refused("POST", "/v1/devices", NewDevice{Name: "phone", Endpoint: "vpn.example.org"}, 409, "failed"); !strings.Contains(p.Hint, "device remove phone") {
		t.Errorf("a second one of the name: %+v", p)
	}
	var again MadeDevice
	must(t, json.Unmarshal([]byte(a.do("POST", "/v1/devices", NewDevice{Name: "phone", Endpoint: "vpn.example.org", Key: made.Key, Groups: []string{"guests"}})), &again))
	if strings.Contains(again.Config, "PrivateKey") || !slices.Equal(again.Addresses, made.Addresses) {
		t.Errorf("with other groups: %+v", again)
	}
	secret := regexp.MustCompile(`PrivateKey = (\S+)`).FindStringSubmatch(made.Config)[1]
	for _, path := range []string{"/v1/devices", "/v1/members", "/v1/status"} {
		if text := a.do("GET", path, nil); strings.Contains(text, secret) {
			t.Errorf("%s tells the private key: %s", path, text)
		}
	}
	list := get[report.Devices](a, "/v1/devices")
	if len(list.Devices) != 1 || list.Devices[0].Name != "phone" || !slices.Equal(list.Devices[0].Groups, []string{"guests"}) || list.DoorKey != made.DoorKey {
		t.Errorf("the devices: %+v", list)
	}
	for what, d := range map[string]NewDevice{
		"name": {Name: "no name!"}, "address": {Name: "x", Addresses: []string{"10.7.0.0/16"}}, "endpoint": {Name: "x", Endpoint: "a b:c:d"},
		"route": {Name: "x", Routes: []string{"everything"}}, "key": {Name: "x", Key: "AAAA"},
	} {
		if p := a.refused("POST", "/v1/devices", d, 400, "bad-request"); p.Message == "" {
			t.Errorf("a wrong %s: %+v", what, p)
		}
	}
	if text := a.do("POST", "/v1/devices", NewDevice{Name: "laptop", Endpoint: "vpn.example.org", Full: true}); !strings.Contains(text, "AllowedIPs = 0.0.0.0/0, ::/0\\n") {
		t.Errorf("with all its traffic: %s", text)
	}
	a.do("DELETE", "/v1/devices/laptop", nil)
	var other Rekeyed
	must(t, json.Unmarshal([]byte(a.do("POST", "/v1/doors/rekey", nil)), &other))
	if other.DoorKey == made.DoorKey || other.Devices != 1 {
		t.Errorf("another key: %+v", other)
	}
	a.do("DELETE", "/v1/devices/phone?reason=lost", nil)
	a.refused("DELETE", "/v1/devices/phone", nil, 404, "not-found")

	must(t, os.Remove(a.layout.OwnerKey()))
	a.refused("POST", "/v1/devices", NewDevice{Name: "tablet", Endpoint: "vpn.example.org"}, 409, "no-owner-key")
	a.refused("POST", "/v1/doors/rekey", nil, 409, "no-owner-key")
}

func TestAnOpenNetworkByTheAPI(t *testing.T) {
	a := start(t, "alice", false)
	if c := get[Caller](a, "/v1/caller"); c.Mode != "open" {
		t.Errorf("the caller: %+v", c)
	}
	a.refused("GET", "/v1/owners", nil, 409, "open-network")
	a.refused("PUT", "/v1/policy", NewPolicy{"allow * -> *\n"}, 409, "open-network")
	a.do("GET", "/v1/policy", nil)
	a.do("GET", "/v1/members", nil)
	a.do("GET", "/v1/devices", nil)
	a.refused("POST", "/v1/devices", NewDevice{Name: "phone"}, 409, "open-network")
	a.do("POST", "/v1/invitations", NewInvitation{Name: "bob", Address: "192.0.2.1"})
	open := get[struct {
		Invitations []struct{ File, Node string }
	}](a, "/v1/invitations").Invitations
	if len(open) != 1 || open[0].Node != "bob" {
		t.Fatalf("open invitations: %+v", open)
	}
	a.do("DELETE", "/v1/invitations/"+open[0].File, nil)
	a.refused("DELETE", "/v1/invitations/"+open[0].File, nil, 404, "not-found")
	a.refused("DELETE", "/v1/members/bob", nil, 409, "failed")
}

// follow reads a stream of server-sent events.
func (n *testNode) follow(path, last string) (next func() (id, event, data string)) {
	n.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	n.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, "GET", "http://tincan"+path, nil)
	must(n, err)
	if last != "" {
		q.Header.Set("Last-Event-ID", last)
	}
	r, err := n.http.Do(q)
	must(n, err)
	n.Cleanup(func() { r.Body.Close() })
	if t := r.Header.Get("Content-Type"); t != "text/event-stream" {
		n.Fatalf("%s: content type %s", path, t)
	}
	lines := bufio.NewScanner(r.Body)
	return func() (id, event, data string) {
		n.Helper()
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case key == "id":
				id = value
			case key == "event":
				event = value
			case key == "data":
				data = value
			case key == "" && data != "":
				return id, event, data
			}
		}
		n.Fatalf("%s ended: %v", path, lines.Err())
		return
	}
}

func TestEventsAreStreamed(t *testing.T) {
	a := start(t, "alice", false)
	next := a.follow("/v1/events?after=all", "")
	d := described(t)
	id := ""
	expect := func(want events.Kind, about node.Name) {
		t.Helper()
		var event, data string
		id, event, data = next()
		var e events.Event
		must(t, json.Unmarshal([]byte(data), &e))
		if e.Event != want || event != string(want) || e.Node != about || e.ID != id {
			t.Errorf("%s %s %s; want %s of %q", id, event, data, want, about)
		}
		var v any
		must(t, json.Unmarshal([]byte(data), &v))
		for _, w := range d.fits(v, d.at("components", "schemas", "Event"), "event") {
			t.Error(w)
		}
	}
	expect(events.Started, "")
	a.inside.Events().Add(events.Event{Time: time.Now(), Event: events.NodeUp, Node: "bob", Self: "alice", Text: "bob is reachable"})
	expect(events.NodeUp, "bob")
	last := id
	a.inside.Events().Add(events.Event{Time: time.Now(), Event: events.NodeDown, Node: "bob", Self: "alice", Text: "bob is not reachable"})
	next = a.follow("/v1/events", last)
	expect(events.NodeDown, "bob")
	next = a.follow("/v1/events", "another-run-7")
	expect(events.Missed, "")
	must(t, a.stop())
	expect(events.Started, "")
}

func TestTheLogIsStreamed(t *testing.T) {
	a := start(t, "alice", false)
	next := a.follow("/v1/log?level=0", "")
	must(t, a.inside.Reload())
	if _, event, data := next(); event != "log" || !strings.Contains(data, `"priority":`) {
		t.Errorf("%s: %s", event, data)
	}
	a.refused("GET", "/v1/log?level=x", nil, 400, "bad-request")
}

// Every route refuses all roles below the one that it names, and does nothing for them.
func TestEachRouteNamesTheLeastRole(t *testing.T) {
	for _, r := range routes {
		for role := Nobody; role < r.role; role++ {
			h := Handler(nil, func(*http.Request) Role { return role }) // without a node behind it: who gets past the check makes it panic
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(r.method, strings.NewReplacer("{name}", "bob", "{id}", "x").Replace(r.path), strings.NewReader("{}")))
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"code":"role"`) {
				t.Errorf("%s %s for %s: %d %s", r.method, r.path, role, w.Code, w.Body)
			}
		}
		if r.method != "GET" && r.role < Owner && r.path != "/v1/policy/check" {
			t.Errorf("%s %s changes something, and is for the role %s", r.method, r.path, r.role)
		}
	}
}

func TestABodyHasToSayThatItIsJSON(t *testing.T) {
	h := Handler(nil, func(*http.Request) Role { return Admin })
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"} { // what a form of a foreign page can send
		q := httptest.NewRequest("POST", "/v1/invitations", strings.NewReader(`{"name":"eve"}`))
		q.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		if w.Code != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %d %s", kind, w.Code, w.Body)
		}
	}
	for path, code := range map[string]int{"/": 404, "/v1": 404, "/v1/nothing": 404} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != code || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("PATCH", "/v1/policy", nil)); w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("PATCH: %d %v", w.Code, w.Header())
	}
}

// The socket is private, replaces that of a dead node, and goes with the node.
func TestTheSocket(t *testing.T) {
	a := start(t, "alice", false)
	path := pidfile.APISocketPath(a.layout.PidFile)
	info, err := os.Lstat(path)
	must(t, err)
	if info.Mode().Perm() != 0o700 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket's mode: %v", info.Mode())
	}
	must(t, a.stop())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

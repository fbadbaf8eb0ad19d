package tincan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan"
	"tincan/internal/control"
)

// limit is how long anything may take.
const limit = 30 * time.Second

// member is a node in this process, with the far end of its device.
type member struct {
	*testing.T
	*tincan.Node
	id   tincan.Identity
	dir  string
	log  *records
	far  net.Conn
	stop func() error // ends the node, and returns what Run has returned
}

// records is a handler of slog that keeps the messages.
type records struct {
	mu   sync.Mutex
	text []string
}

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) Handle(_ context.Context, e slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, e.Level.String()+" "+e.Message)
	return nil
}

func (r *records) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.text, "\n")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir is short enough for the path of a socket.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "node")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// found makes a network with a node called alice, and returns its directory.
func found(t *testing.T) (string, tincan.Identity) {
	t.Helper()
	dir := filepath.Join(tempDir(t), "alice")
	id, err := tincan.Init(dir, tincan.NewNetwork{Name: "alice", Range: netip.MustParsePrefix("10.7.0.0/16")})
	must(t, err)
	return dir, id
}

// run starts the node of a directory, at 127.0.0.1 and with a device in memory.
func run(t *testing.T, dir string, id tincan.Identity, o tincan.Options) *member {
	t.Helper()
	ours, far := net.Pipe()
	m := &member{T: t, id: id, dir: dir, far: far, log: &records{}}
	o.Dir, o.Device, o.Log = dir, ours, slog.New(m.log)
	o.Settings = append(o.Settings, here...)
	ready, ended := make(chan *tincan.Node, 1), make(chan struct{})
	o.Ready = func(n *tincan.Node) { ready <- n }
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	go func() {
		defer close(ended)
		err = tincan.Run(ctx, o)
	}()
	m.stop = func() error {
		cancel()
		select {
		case <-ended:
			return err
		case <-time.After(limit):
			t.Fatalf("the node in %s does not end\n%s", dir, stacks())
			return nil
		}
	}
	t.Cleanup(func() {
		if err := m.stop(); err != nil {
			t.Errorf("the node in %s ended: %v", dir, err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", dir, m.log.all())
		}
	})
	select {
	case m.Node = <-ready:
	case <-ended:
		t.Fatalf("the node in %s did not start: %v", dir, err)
	case <-time.After(limit):
		t.Fatalf("the node in %s is not ready\n%s", dir, stacks())
	}
	return m
}

// join makes a node with an invitation of m, and runs it.
func (m *member) join(name string) *member {
	m.Helper()
	url, err := m.Invite(m.Context(), name, "127.0.0.1")
	must(m.T, err)
	dir := filepath.Join(tempDir(m.T), name)
	id, err := tincan.Join(m.Context(), dir, url)
	must(m.T, err)
	if id.Name != name || len(id.Addresses) != 1 || id.Addresses[0].Bits() != 16 {
		m.Errorf("joined as %+v", id)
	}
	return run(m.T, dir, id, tincan.Options{})
}

func (m *member) addr() netip.Addr { return m.id.Addresses[0].Addr() }

// reaches sends packets to another node until one arrives.
func (m *member) reaches(to *member) {
	m.Helper()
	text := m.id.Name + " to " + to.id.Name
	p := packet(m.addr(), to.addr(), text)
	buf := make([]byte, 2048)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		must(m.T, m.far.SetDeadline(time.Now().Add(limit)))
		_, err := m.far.Write(p)
		must(m.T, err)
		must(m.T, to.far.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		for {
			n, err := to.far.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			must(m.T, err)
			if n == len(p) && string(buf[20:n]) == text {
				return
			}
		}
	}
	m.Fatalf("no packet from %s has arrived at %s", m.id.Name, to.id.Name)
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// noLeaks checks at the end of the test that no goroutine is left. One that handles signals would be.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(limit); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks())
				return
			}
		}
	})
}

func TestThreeNodesInOneProcess(t *testing.T) {
	noLeaks(t)
	dir, id := found(t)
	alice := run(t, dir, id, tincan.Options{})
	bob, carol := alice.join("bob"), alice.join("carol")
	all := []*member{alice, bob, carol}
	for _, from := range all {
		for _, to := range all {
			if from != to {
				from.reaches(to)
			}
		}
	}
	var names []string
	for _, p := range alice.Peers() {
		if !p.Reachable || !p.Addr.IsValid() {
			t.Errorf("%+v", p)
		}
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"bob", "carol"}) {
		t.Errorf("peers %v", names)
	}

	must(t, bob.stop()) // and the others go on
	alice.reaches(carol)
	for _, left := range []string{"pid", "pid.socket"} {
		if _, err := os.Lstat(filepath.Join(dir, left)); err == nil {
			t.Errorf("%s was made, which nobody asked for", left)
		}
	}
	if bob.Peers() != nil || bob.Reload() == nil {
		t.Error("a node that has ended answers")
	}
	if _, err := bob.Invite(t.Context(), "dave", "127.0.0.1"); err == nil {
		t.Error("a node that has ended invites")
	}
}

func TestANodeThatDoesNotReadItsDeviceHoldsNobodyUp(t *testing.T) {
	noLeaks(t)
	dir, id := found(t)
	alice := run(t, dir, id, tincan.Options{Settings: []string{"TCPOnly = yes"}}) // packets by way of the protocol core
	bob := alice.join("bob")
	alice.reaches(bob)
	p := packet(alice.addr(), bob.addr(), "unread")
	for range 1000 {
		_, err := alice.far.Write(p)
		must(t, err)
	}
	asked := make(chan []tincan.Peer)
	go func() { asked <- bob.Peers() }()
	select {
	case list := <-asked:
		if len(list) != 1 || !list[0].Reachable {
			t.Errorf("peers %+v", list)
		}
	case <-time.After(limit):
		t.Fatal("the node does not answer\n" + stacks())
	}
}

func TestTheDirectoryOfANodeRunsOnce(t *testing.T) {
	dir, id := found(t)
	run(t, dir, id, tincan.Options{})
	device := &closing{}
	if err := tincan.Run(t.Context(), tincan.Options{Dir: filepath.Join(dir, "."), Device: device}); !errors.Is(err, tincan.ErrRunning) {
		t.Errorf("a second node: %v", err)
	}
	if device.closed != 1 {
		t.Errorf("the device was closed %d times", device.closed)
	}
}

// closing is a device that counts how often it is closed.
type closing struct {
	io.ReadWriter
	closed int
}

func (c *closing) Close() error { c.closed++; return nil }

func TestWhatCannotRun(t *testing.T) {
	noLeaks(t)
	good, _ := found(t)
	for _, c := range []struct {
		name, dir, setting, want, hint string
	}{
		{"no directory", "", "", "the directory of the node is missing", ""},
		{"an empty directory", tempDir(t), "", "tinc.conf", "is "},
		{"a setting without a value", good, "Port", "write -o VARIABLE=VALUE", ""},
		{"a sandbox for the whole process", good, "Sandbox = normal", "Sandbox = normal would change this whole process", "remove the variable"},
		{"a priority for the whole process", good, "ProcessPriority = high", "ProcessPriority = high would change this whole process", "remove the variable"},
	} {
		device := &closing{}
		o := tincan.Options{Dir: c.dir, Device: device, Settings: slices.Clone(here)}
		if c.setting != "" {
			o.Settings = append(o.Settings, c.setting)
		}
		err := tincan.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		var h interface{ Hint() string }
		if c.hint != "" && (!errors.As(err, &h) || !strings.HasPrefix(h.Hint(), c.hint)) {
			t.Errorf("%s: the hint is missing in %v", c.name, err)
		}
		if device.closed != 1 {
			t.Errorf("%s: the device was closed %d times", c.name, device.closed)
		}
	}
	if _, err := tincan.Init(good, tincan.NewNetwork{Name: "alice"}); err == nil {
		t.Error("a second network was made in the same directory")
	}
	if _, err := tincan.Init(tempDir(t), tincan.NewNetwork{Name: "not a name"}); err == nil {
		t.Error("a node without a proper name was made")
	}
	if _, err := tincan.Join(t.Context(), tempDir(t), "no URL"); err == nil {
		t.Error("joined without an invitation")
	}
}

func TestTheEndOfTheDeviceEndsTheNode(t *testing.T) {
	noLeaks(t)
	dir, _ := found(t)
	ours, far := net.Pipe()
	err := tincan.Run(t.Context(), tincan.Options{Dir: dir, Settings: here, Device: ours, Ready: func(*tincan.Node) { far.Close() }})
	if !errors.Is(err, io.EOF) {
		t.Errorf("the node ended: %v", err)
	}
}

func TestAPidFileAndAControlSocketIfWanted(t *testing.T) {
	noLeaks(t)
	dir, id := found(t)
	pid := filepath.Join(tempDir(t), "alice.pid")
	alice := run(t, dir, id, tincan.Options{PidFile: pid})
	c, err := control.Dial(t.Context(), pid)
	must(t, err)
	defer c.Close()
	if nodes, err := c.Nodes(""); err != nil || len(nodes) != 1 || nodes[0].Name != "alice" {
		t.Errorf("%v, %v", nodes, err)
	}
	must(t, alice.stop())
	if left, err := os.ReadDir(filepath.Dir(pid)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestEthernetFrames(t *testing.T) {
	noLeaks(t)
	dir, id := found(t)
	alice := run(t, dir, id, tincan.Options{Settings: []string{"Mode = switch"}})
	url, err := alice.Invite(t.Context(), "bob", fmt.Sprintf("127.0.0.1 %d", alice.Addr().Port()))
	must(t, err)
	bobDir := filepath.Join(tempDir(t), "bob")
	bobID, err := tincan.Join(t.Context(), bobDir, url)
	must(t, err)
	bob := run(t, bobDir, bobID, tincan.Options{Settings: []string{"Mode = switch"}})

	// To everybody, from a locally administered address, of a type for experiments.
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...)
	buf := make([]byte, 2048)
	for end := time.Now().Add(limit); ; {
		if time.Now().After(end) {
			t.Fatal("no frame has arrived")
		}
		_, err := bob.far.Write(frame)
		must(t, err)
		must(t, alice.far.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if n, err := alice.far.Read(buf); err == nil && slices.Equal(buf[:n], frame) {
			return
		}
	}
}

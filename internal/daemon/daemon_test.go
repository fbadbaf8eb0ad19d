package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/wire"
)

// patience is how long anything may take.
const patience = 15 * time.Second

// testNode is a node with its own directory, in this process. It listens on a
// free port of 127.0.0.1 and has a device from which nothing comes.
type testNode struct {
	*testing.T
	name   node.Name
	layout confdir.Layout
	key    *keys.PrivateKey

	cancel context.CancelFunc
	done   chan struct{}
	daemon *Daemon // when it is ready
	quiet  bool    // runs at debug level 0
	mute   bool    // its log is not printed
	err    error   // of Run, when done is closed

	mu  sync.Mutex
	log []string
}

// newNode makes the directory of a node. conf is added to its tinc.conf.
func newNode(t *testing.T, name node.Name, conf ...string) *testNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "node") // short enough for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := confdir.Place{Conf: dir}.Layout()
	must(t, err)
	key, err := keys.Generate(rand.Reader)
	must(t, err)
	n := &testNode{T: t, name: name, layout: l, key: key}
	must(t, os.Mkdir(l.Hosts(), 0o755))
	n.write("ed25519_key.priv", string(keys.MarshalPrivatePEM(key)), 0o600)
	n.write("tinc.conf", strings.Join(append([]string{
		"# by hand", "Name = " + string(name), "DeviceType = dummy", "BindToAddress = 127.0.0.1", "AutoConnect = no",
	}, conf...), "\n")+"\n", 0o644)
	n.write("hosts/"+string(name), "# also by hand\nPort = 0\nEd25519PublicKey = "+key.Public().String()+"\n", 0o644)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) path(file string) string { return filepath.Join(n.layout.ConfBase, file) }

func (n *testNode) write(file, text string, mode os.FileMode) {
	n.Helper()
	must(n, os.WriteFile(n.path(file), []byte(text), mode))
	must(n, os.Chmod(n.path(file), mode))
}

func (n *testNode) add(file, line string) {
	n.Helper()
	f, err := os.OpenFile(n.path(file), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	must(n, err)
	defer f.Close()
	_, err = f.WriteString(line + "\n")
	must(n, err)
}

func (n *testNode) read(file string) string {
	n.Helper()
	b, err := os.ReadFile(n.path(file))
	must(n, err)
	return string(b)
}

// knows gives n the host file of another node, with its present address if it runs.
func (n *testNode) knows(others ...*testNode) {
	n.Helper()
	for _, o := range others {
		text := "Ed25519PublicKey = " + o.key.Public().String() + "\n"
		if p, err := pidfile.Read(o.layout.PidFile); err == nil {
			text += "Address = " + p.Host + " " + p.Port + "\n"
		}
		n.write("hosts/"+string(o.name), text, 0o644)
	}
}

// start starts the node and waits until it is ready.
func (n *testNode) start() {
	n.Helper()
	if err := n.tryStart(Options{}); err != nil {
		n.Fatalf("%s did not start: %v", n.name, err)
	}
}

// tryStart is start for a node that may refuse.
func (n *testNode) tryStart(o Options) error {
	n.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	n.cancel, n.done = cancel, make(chan struct{})
	o.Layout, o.Debug, o.Version = n.layout, 2, "test"
	o.Control, o.Signals, o.Scripts = true, true, true
	if n.quiet {
		o.Debug = 0
	}
	o.Ready = func(d *Daemon) { n.daemon = d; close(ready) }
	o.Log = func(r control.LogRecord) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.log = append(n.log, r.Text)
	}
	go func() {
		defer close(n.done)
		n.err = Run(ctx, o)
	}()
	n.Cleanup(func() {
		cancel()
		<-n.done
		if n.Failed() && !n.mute {
			n.Logf("log of %s:\n  %s", n.name, strings.Join(n.lines(), "\n  "))
		}
	})
	select {
	case <-ready:
		return nil
	case <-n.done:
		return n.err
	case <-time.After(patience):
		n.Fatalf("%s is not ready\n%s", n.name, stacks())
		return nil
	}
}

// stop ends the node as a signal does and waits for that.
func (n *testNode) stop() {
	n.Helper()
	n.cancel()
	n.ended()
	if n.err != nil {
		n.Errorf("%s ended: %v", n.name, n.err)
	}
}

// ended waits for the end of the node.
func (n *testNode) ended() {
	n.Helper()
	select {
	case <-n.done:
	case <-time.After(patience):
		n.Fatalf("%s does not end\n%s", n.name, stacks())
	}
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

func (n *testNode) lines() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// said tells whether the log has a line with that text.
func (n *testNode) said(text string) bool {
	return slices.ContainsFunc(n.lines(), func(l string) bool { return strings.Contains(l, text) })
}

// says waits until the log has a line with that text.
func (n *testNode) says(text string) {
	n.Helper()
	eventually(n.T, fmt.Sprintf("%s says %q", n.name, text), func() bool { return n.said(text) })
}

// client connects to the control socket.
func (n *testNode) client() *control.Client {
	n.Helper()
	c, err := control.Dial(context.Background(), n.layout.PidFile)
	must(n, err)
	n.Cleanup(func() { c.Close() })
	return c
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (n *testNode) reload() error {
	n.Helper()
	return n.client().Reload()
}

// sees tells whether n has a reachable node called name.
func (n *testNode) sees(c *control.Client, name node.Name) bool {
	n.Helper()
	list, err := c.Nodes("")
	must(n, err)
	return slices.ContainsFunc(list, func(i control.NodeInfo) bool { return i.Name == name && i.Status&control.Reachable != 0 })
}

func init() { // from the first use on os/signal has a goroutine that stays
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	signal.Stop(c)
}

// noLeaks checks at the end of the test that no goroutine is left.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		end := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(end) {
				t.Errorf("%d goroutines before, %d after\n%s", before, runtime.NumGoroutine(), stacks())
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// chain makes three nodes that know each other, of which the first is dialled by the others.
func chain(t *testing.T) (a, b, c *testNode) {
	a = newNode(t, "a")
	b = newNode(t, "b", "ConnectTo = a")
	c = newNode(t, "c", "ConnectTo = a")
	a.add("hosts/a", "Subnet = 10.1.0.0/24")
	b.add("hosts/b", "Subnet = 10.2.0.0/24#3")
	c.add("hosts/c", "Subnet = fd00::3")
	a.knows(b, c)
	a.start()
	for _, n := range []*testNode{b, c} {
		n.knows(a)
		n.start()
	}
	return a, b, c
}

// Who runs a server sees, without asking for more, that somebody comes with another key than the known one.
func TestAKeyThatDoesNotFitIsToldAtTheServer(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a", "MaxTimeout = 1")
	a.quiet = true
	stranger, err := keys.Generate(rand.Reader)
	must(t, err)
	a.write("hosts/b", "Ed25519PublicKey = "+stranger.Public().String()+"\n", 0o644)
	a.start()
	b.knows(a)
	b.start()
	const line = "does not have the key in hosts/b, or not ours: refused"
	a.says(line)
	w, err := a.client().Why("b", nil)
	must(t, err)
	if !strings.Contains(fmt.Sprintf("%+v", w), "the last attempt to connect with b failed: the peer's signature is wrong") {
		t.Errorf("why: %+v", w)
	}
	refusals := func() (n int) {
		for _, l := range b.lines() {
			if strings.Contains(l, "connection with a") && strings.Contains(l, "refused") {
				n++
			}
		}
		return n
	}
	eventually(t, "b is refused again", func() bool { return refusals() > 1 })
	if n := strings.Count(strings.Join(a.lines(), "\n"), line); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

func TestThreeNodesBecomeOneNetwork(t *testing.T) {
	noLeaks(t)
	a, b, c := chain(t)
	ca, cb := a.client(), b.client()
	eventually(t, "b sees c and a sees both", func() bool {
		return b.sees(cb, "c") && b.sees(cb, "a") && a.sees(ca, "b") && a.sees(ca, "c")
	})

	nodes, err := cb.Nodes("")
	must(t, err)
	var names []string
	for _, n := range nodes {
		names = append(names, string(n.Name))
	}
	if got := strings.Join(names, " "); got != "a b c" {
		t.Errorf("nodes of b: %s", got)
	}
	own := nodes[1]
	if own.Address.Host != control.Myself || own.Status != control.Visited|control.Reachable|control.SPTPS || own.Options&^(wire.Punch|wire.RosterExchange) != 0x710000c {
		t.Errorf("own node: %+v", own)
	}
	if far := nodes[2]; far.NextHop != "a" || far.Distance != 2 {
		t.Errorf("c as b sees it: %+v", far)
	}

	edges, err := cb.Edges("")
	must(t, err)
	if len(edges) != 4 || edges[0].From != "a" || edges[0].To != "b" || edges[3].From != "c" {
		t.Errorf("edges: %+v", edges)
	}

	subnets, err := cb.Subnets("")
	must(t, err)
	var got []string
	for _, s := range subnets {
		got = append(got, fmt.Sprintf("%s %s", s.Subnet, s.Owner))
	}
	want := "ff:ff:ff:ff:ff:ff ,255.255.255.255 ,10.1.0.0/24 a,10.2.0.0/24#3 b,224.0.0.0/4 ,fd00::3 c,ff00::/8 "
	if strings.Join(got, ",") != want {
		t.Errorf("subnets\n%s, want\n%s", strings.Join(got, ","), want)
	}

	conns, err := ca.Connections()
	must(t, err)
	names = nil
	for _, i := range conns {
		names = append(names, i.Name)
		if i.Name != "<control>" && (i.Socket < 3 || i.Address.Host != "127.0.0.1" || i.Status&control.ConnTree == 0 || i.Options == 0) {
			t.Errorf("connection %+v", i)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "<control> b c" {
		t.Errorf("connections of a: %s", got)
	}

	status, err := ca.Status()
	must(t, err)
	if status.Self.Name != "a" || status.PID != os.Getpid() {
		t.Errorf("status: %+v", status.Self)
	}
	for _, n := range []*testNode{c, b, a} {
		n.stop()
		if _, err := os.Stat(n.layout.PidFile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("pid file of %s: %v", n.name, err)
		}
		if _, err := os.Stat(n.layout.Socket()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("socket of %s: %v", n.name, err)
		}
	}
}

func TestDisconnectConnectAndRetry(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b")
	a.knows(b)
	a.start()
	b.start()
	cb := b.client()
	if err := cb.Connect("a"); err == nil || !strings.Contains(err.Error(), "no host file for a") {
		t.Errorf("connecting to an unknown node: %v", err)
	}
	if err := cb.Connect("b"); err == nil {
		t.Error("connecting to itself is accepted")
	}
	b.knows(a) // nobody told the daemon about the new file
	must(t, cb.Connect("a"))
	eventually(t, "they are connected", func() bool { return b.sees(cb, "a") })
	if found, err := cb.Disconnect("nosuch"); found || err != nil {
		t.Errorf("disconnecting an unknown node: %v, %v", found, err)
	}
	found, err := cb.Disconnect("a")
	if !found || err != nil {
		t.Errorf("disconnecting: %v, %v", found, err)
	}
	eventually(t, "they are not connected", func() bool { return !b.sees(cb, "a") })

	// An address where nobody listens: retry dials at once, in place of waiting on.
	a.stop()
	b.add("tinc.conf", "ConnectTo = a")
	must(t, cb.Reload())
	eventually(t, "b has failed a few times", func() bool { return strings.Count(strings.Join(b.lines(), "\n"), "next attempt") >= 3 })
	a.start()
	b.knows(a)
	must(t, cb.Reload())
	must(t, cb.Retry())
	eventually(t, "they are connected again", func() bool { return b.sees(cb, "a") })
}

func TestReload(t *testing.T) {
	noLeaks(t)
	a, b, _ := chain(t)
	ca, cb := a.client(), b.client()
	eventually(t, "they see each other", func() bool { return b.sees(cb, "c") })
	subnets := func(c *control.Client) (list []string) {
		all, err := c.Subnets("")
		must(t, err)
		for _, s := range all {
			if s.Owner == "b" {
				list = append(list, s.Subnet.String())
			}
		}
		return list
	}
	good := b.read("tinc.conf")

	// A broken file changes nothing, and both the asker and the log are told why.
	b.write("tinc.conf", good+"MaxTimeout = soon\n", 0o644)
	b.add("hosts/b", "Subnet = 10.7.0.0/16")
	if err := cb.Reload(); err == nil || !strings.Contains(err.Error(), "MaxTimeout = soon") {
		t.Errorf("reloading a broken file: %v", err)
	}
	b.says("the old one is kept")
	if got := subnets(cb); !slices.Equal(got, []string{"10.2.0.0/24#3"}) || !b.sees(cb, "a") {
		t.Errorf("after the broken file: %v", got)
	}
	b.write("tinc.conf", strings.Replace(good, "Name = b", "Name = x", 1), 0o644)
	if err := cb.Reload(); err == nil || !strings.Contains(err.Error(), "Name has changed") {
		t.Errorf("reloading another Name: %v", err)
	}

	// A good one: subnets come and go, scripts are found elsewhere.
	b.write("hosts/b", strings.Replace(b.read("hosts/b"), "Subnet = 10.2.0.0/24#3\n", "", 1), 0o644)
	b.write("subnet-up.sh", "#!/bin/sh\necho $SUBNET >>"+b.path("up")+"\n", 0o755)
	b.write("tinc.conf", good+"ScriptsExtension = .sh\nInvitationExpire = 60\nListenAddress = 127.0.0.2\n", 0o644)
	must(t, cb.Reload())
	eventually(t, "a has b's new subnet", func() bool { return slices.Equal(subnets(ca), []string{"10.7.0.0/16"}) })
	eventually(t, "the script has run", func() bool { s, _ := os.ReadFile(b.path("up")); return string(s) == "10.7.0.0/16\n" })
	b.says("not in effect before a restart: ListenAddress")

	// ConnectTo: what is not wanted any more is closed.
	b.write("tinc.conf", strings.Replace(good, "ConnectTo = a\n", "", 1), 0o644)
	must(t, cb.Reload())
	eventually(t, "b is alone", func() bool { return !b.sees(cb, "a") })

	// A key that the host file does not have any more.
	b.write("tinc.conf", good, 0o644)
	must(t, cb.Reload())
	eventually(t, "they are connected again", func() bool { return b.sees(cb, "a") })
	must(t, os.Remove(a.path("hosts/b")))
	must(t, ca.Reload())
	eventually(t, "a has thrown b out", func() bool { return !a.sees(ca, "b") })
}

func TestReloadsAtTheSameTimeAsTheEnd(t *testing.T) {
	noLeaks(t)
	for range 5 {
		a := newNode(t, "a")
		a.start()
		var wg sync.WaitGroup
		for range 4 {
			c := a.client()
			wg.Go(func() {
				for c.Reload() == nil {
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		a.stop()
		wg.Wait()
	}
}

func TestStopOverTheControlSocket(t *testing.T) {
	noLeaks(t)
	a, b, _ := chain(t)
	cb := b.client()
	eventually(t, "they are connected", func() bool { return b.sees(cb, "a") })
	must(t, a.client().Stop(t.Context()))
	// The client sees the end of the connection when everything is gone.
	if _, err := os.Stat(a.layout.PidFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file: %v", err)
	}
	a.ended()
	if a.err != nil {
		t.Error(a.err)
	}
	eventually(t, "b has noticed", func() bool { return !b.sees(cb, "a") })
	a.start() // in the same place, at once
}

func TestASecondDaemonIsRefusedAndHarmsNothing(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.start()
	pid := a.read("pid")
	second := &testNode{T: t, name: "a", layout: a.layout}
	err := second.tryStart(Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) || hintOf(err) == "" {
		t.Errorf("error %v, hint %q", err, hintOf(err))
	}
	if now := a.read("pid"); now != pid {
		t.Errorf("the pid file was %q and is %q", pid, now)
	}
	if _, err := a.client().Nodes(""); err != nil {
		t.Errorf("the first: %v", err)
	}
}

// hintOf is the advice that comes with an error, "" if there is none.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

func TestScriptsRunInOrder(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a", "# PingTimeout = 5"), newNode(t, "b", "ConnectTo = a")
	a.add("hosts/a", "Subnet = 10.1.0.1")
	b.add("hosts/b", "Subnet = 10.2.0.1")
	a.knows(b)
	for _, s := range []string{"tinc-up", "tinc-down", "subnet-up", "subnet-down", "host-up", "host-down", "hosts/b-up", "hosts/b-down"} {
		a.write(s, "#!/bin/sh\nsleep 0.05; echo "+s+" $NODE $SUBNET $INTERFACE >>"+a.path("ran")+"\n", 0o755)
	}
	a.start()
	if got := a.read("ran"); got != "tinc-up dummy\nsubnet-up a 10.1.0.1 dummy\n" {
		t.Errorf("before it was ready:\n%s", got)
	}
	b.knows(a)
	b.start()
	c := a.client()
	eventually(t, "they are connected", func() bool { return a.sees(c, "b") })
	a.stop()
	want := strings.ReplaceAll(`tinc-up
subnet-up a 10.1.0.1
host-up b
hosts/b-up b
subnet-up b 10.2.0.1
host-down b
hosts/b-down b
subnet-down b 10.2.0.1
subnet-down a 10.1.0.1
tinc-down
`, "\n", " dummy\n")
	if got := a.read("ran"); got != want {
		t.Errorf("scripts:\n%swant:\n%s", got, want)
	}
}

func TestDownScriptsWithoutTincUp(t *testing.T) {
	a := newNode(t, "a")
	a.add("hosts/a", "Subnet = 10.1.0.1")
	a.write("subnet-down", "#!/bin/sh\necho subnet-down >>"+a.path("ran")+"\n", 0o755)
	a.start()
	a.write("tinc-up", "#!/bin/sh\n", 0o755) // comes too late to count
	a.stop()
	if got := a.read("ran"); got != "subnet-down\n" {
		t.Errorf("scripts: %q", got)
	}
}

func TestStoppingWhileTincUpRuns(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.write("tinc-up", "#!/bin/sh\ntouch "+a.path("begun")+"; sleep 100\n", 0o755)
	a.write("tinc-down", "#!/bin/sh\ntouch "+a.path("down")+"\n", 0o755)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Run(ctx, Options{Layout: a.layout, Control: true, Scripts: true, Ready: func(*Daemon) { t.Error("it says that it is ready") }})
	}()
	eventually(t, "tinc-up runs", func() bool { _, err := os.Stat(a.path("begun")); return err == nil })
	cancel()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("it does not end\n" + stacks())
	}
	a.read("down")
}

func TestAnInvitationMeetsTheEnd(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.start()
	p, err := pidfile.Read(a.layout.PidFile)
	must(t, err)
	conn, err := net.Dial("tcp", p.Host+":"+p.Port)
	must(t, err)
	defer conn.Close()
	// Handed over, and then silent: this must not hold up the end.
	fmt.Fprintf(conn, "0 ?%s 17.1\n", a.key.Public())
	time.Sleep(100 * time.Millisecond)
	begin := time.Now()
	a.stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the end took %v", took)
	}
}

func TestLeavingAfterAFailedStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(n *testNode)
		says  string
		hint  string
	}{
		{"no Name", func(n *testNode) { n.write("tinc.conf", "Port = 0\n", 0o644) }, "there is no Name", ""},
		{"no tinc.conf", func(n *testNode) { must(n, os.Remove(n.path("tinc.conf"))) }, "tinc.conf", "tincan init"},
		{"no private key", func(n *testNode) { must(n, os.Remove(n.path("ed25519_key.priv"))) }, "private key", "generate-ed25519-keys"},
		{"a broken private key", func(n *testNode) { n.write("ed25519_key.priv", "nonsense\n", 0o600) }, "ed25519_key.priv", "make a new key"},
		{"an empty private key", func(n *testNode) { n.write("ed25519_key.priv", "", 0o600) }, "ed25519_key.priv", "make a new key"},
		{"the TCP port is in use", func(n *testNode) { n.occupy("tcp") }, "TCP", "another program"},
		{"the UDP port is in use", func(n *testNode) { n.occupy("udp") }, "UDP", "another program"},
		{"an address that this machine does not have", func(n *testNode) { n.replace("tinc.conf", "127.0.0.1", "192.0.2.1") }, "192.0.2.1", "BindToAddress"},
		{"a name that does not resolve", func(n *testNode) { n.replace("tinc.conf", "127.0.0.1", "no.such.host.invalid") }, "no.such.host.invalid", ""},
		{"too many addresses", func(n *testNode) {
			for i := range 9 {
				n.add("tinc.conf", fmt.Sprintf("BindToAddress = 127.0.0.1 %d", 20000+i))
			}
		}, "addresses to listen at", ""},
		{"no directory for the pid file", func(n *testNode) { n.layout.PidFile = n.path("nosuch/pid") }, "nosuch/pid", "--pidfile"},
		{"a long path to the socket", func(n *testNode) { n.layout.PidFile = n.path(strings.Repeat("x", 100)) }, "107 bytes", "--pidfile"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			n := newNode(t, "a")
			c.spoil(n)
			before := n.files()
			err := n.tryStart(Options{})
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, should be one line that says %q", err, c.says)
			}
			if !strings.Contains(hintOf(err), c.hint) || c.hint == "" && hintOf(err) != "" {
				t.Errorf("hint %q, should say %q", hintOf(err), c.hint)
			}
			after := slices.DeleteFunc(n.files(), func(f string) bool { return f == "cache" })
			if !slices.Equal(before, after) {
				t.Errorf("files before: %v, after: %v", before, after)
			}
			if n.said("tinc-down") || n.said("subnet-down") {
				t.Error("down scripts after a start that did not get to tinc-up")
			}
		})
	}
}

// replace changes a text in a file.
func (n *testNode) replace(file, old, new string) {
	n.Helper()
	n.write(file, strings.ReplaceAll(n.read(file), old, new), 0o644)
}

// files lists the directory of the node.
func (n *testNode) files() (names []string) {
	n.Helper()
	list, err := os.ReadDir(n.layout.ConfBase)
	must(n, err)
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

// occupy makes the node want a port that somebody else has.
func (n *testNode) occupy(network string) {
	n.Helper()
	var addr netip.AddrPort
	if network == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(n, err)
		n.Cleanup(func() { l.Close() })
		addr = netip.MustParseAddrPort(l.Addr().String())
	} else {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(n, err)
		n.Cleanup(func() { c.Close() })
		addr = netip.MustParseAddrPort(c.LocalAddr().String())
		if l, err := net.Listen("tcp", addr.String()); err != nil {
			n.occupy(network) // for TCP it must be free
			return
		} else {
			l.Close()
		}
	}
	n.replace("hosts/"+string(n.name), "Port = 0", fmt.Sprintf("Port = %d", addr.Port()))
}

package metaconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
)

const patience = 10 * time.Second

// host is a table with a scripted protocol core: the test sees every event and says what
// is to be done.
type host struct {
	*testing.T
	*Table
	name   node.Name
	key    *keys.PrivateKey
	events chan mesh.Event
	data   *plane
	addr   string // it listens here
}

// plane records what would go to the data plane.
type plane struct {
	mu   sync.Mutex
	got  []string
	hold chan struct{} // if set, every call takes one token
}

func (p *plane) note(kind string, hop node.Name, b []byte) {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, fmt.Sprintf("%s %s %q", kind, hop, b))
}

func (p *plane) FromMeta(hop node.Name, b []byte)      { p.note("blob", hop, b) }
func (p *plane) FrameFromMeta(hop node.Name, b []byte) { p.note("frame", hop, b) }

func (p *plane) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func keyOf(name node.Name) *keys.PrivateKey {
	return keys.FromSeed([32]byte(bytes.Repeat([]byte(name+"#"), 32)))
}

// newHost starts a host that listens on loopback and stops with the test.
func newHost(t *testing.T, name node.Name, change func(*Config)) *host {
	t.Helper()
	h := &host{T: t, name: name, key: keyOf(name), events: make(chan mesh.Event, 4096), data: &plane{}}
	over := make(chan struct{})
	cfg := Config{
		Self: name, Key: h.key, Data: h.data,
		Event: func(e mesh.Event) {
			select {
			case h.events <- e:
			case <-over:
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	h.Table = New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		close(over)
		h.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

// expect waits for the next event, which must be of type E.
func expect[E mesh.Event](h *host) E {
	h.Helper()
	select {
	case e := <-h.events:
		if got, ok := e.(E); ok {
			return got
		}
		var want E
		h.Fatalf("%s: event %T %+v, want %T", h.name, e, e, want)
	case <-time.After(patience):
		var want E
		h.Fatalf("%s: no event, want %T", h.name, want)
	}
	panic("not reached")
}

func (h *host) quiet() {
	h.Helper()
	select {
	case e := <-h.events:
		h.Fatalf("%s: unexpected event %T %+v", h.name, e, e)
	case <-time.After(30 * time.Millisecond):
	}
}

func endpoint(addr string) mesh.Endpoint {
	host, port, _ := net.SplitHostPort(addr)
	return mesh.Endpoint{Host: host, Port: port}
}

func (h *host) secureWith(id mesh.ConnID, peer node.Name, initiator bool) {
	label := sptps.LabelTCP(peer, h.name)
	if initiator {
		label = sptps.LabelTCP(h.name, peer)
	}
	h.Do(mesh.Secure{Conn: id, Initiator: initiator, Node: peer, PeerKey: keyOf(peer).Public(), Label: label})
}

const ack = "4 655 1 700000c"

// meet connects a with b and activates the connection; it returns b's id of it.
// a's is 1.
func meet(a, b *host) mesh.ConnID { return meetBy(a, b, "17.7", (*host).secureWith, ack) }

// meetBy is meet in a version of the protocol.
func meetBy(a, b *host, version string, secure func(h *host, id mesh.ConnID, peer node.Name, initiator bool), ack string) mesh.ConnID {
	a.Helper()
	a.Do(mesh.Dial{Conn: 1, Node: b.name, To: endpoint(b.addr), Timeout: patience})
	expect[mesh.Dialed](a)
	a.Do(mesh.SendLine{Conn: 1, Text: "0 " + string(a.name) + " " + version})
	id := expect[mesh.Accepted](b).Conn
	expect[mesh.Line](b)
	b.Do(mesh.SendLine{Conn: id, Text: "0 " + string(b.name) + " " + version})
	secure(b, id, a.name, false)
	expect[mesh.Line](a)
	secure(a, 1, b.name, true)
	expect[mesh.Secured](a)
	expect[mesh.Secured](b)
	a.Do(mesh.Send{Conn: 1, Text: ack})
	b.Do(mesh.Send{Conn: id, Text: ack})
	expect[mesh.Request](a)
	expect[mesh.Request](b)
	a.Do(mesh.Attach{Conn: 1, Node: b.name})
	b.Do(mesh.Attach{Conn: id, Node: a.name})
	return id
}

// wait polls until ok.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestTwoNodesLogInAndTalk(t *testing.T) {
	var loaded []string
	a := newHost(t, "alice", nil)
	b := newHost(t, "bob", func(c *Config) { c.LoadHost = func(n node.Name) { loaded = append(loaded, string(n)) } })

	a.Do(mesh.Dial{Conn: 1, Node: "bob", To: endpoint(b.addr), Timeout: patience})
	d := expect[mesh.Dialed](a)
	acc := expect[mesh.Accepted](b)
	if d.Conn != 1 || d.Remote.String() != b.addr || acc.Conn%2 != 0 || acc.Remote != d.Local || acc.Local != d.Remote {
		t.Errorf("dialled %+v, accepted %+v", d, acc)
	}
	a.Do(mesh.SendLine{Conn: 1, Text: "0 alice 17.7"})
	if l := expect[mesh.Line](b); l.Text != "0 alice 17.7" || l.Conn != acc.Conn {
		t.Errorf("line %+v", l)
	}
	if fmt.Sprint(loaded) != "[alice]" {
		t.Errorf("host files loaded before the line: %v", loaded)
	}
	b.Do(mesh.SendLine{Conn: acc.Conn, Text: "0 bob 17.7"})
	b.secureWith(acc.Conn, "alice", false)
	expect[mesh.Line](a)
	if a.Meta(1) != nil {
		t.Error("there is a data channel before the login")
	}
	a.secureWith(1, "bob", true)
	expect[mesh.Secured](a)
	expect[mesh.Secured](b)
	a.Do(mesh.Send{Conn: 1, Text: ack})
	if r := expect[mesh.Request](b); r.Text != ack {
		t.Errorf("request %q", r.Text)
	}
	b.Do(mesh.Attach{Conn: acc.Conn, Node: "alice"})
	b.Do(mesh.Send{Conn: acc.Conn, Text: "8"})
	if r := expect[mesh.Request](a); r.Text != "8" {
		t.Errorf("request %q", r.Text)
	}
	if fd := a.Socket(1); fd < 0 {
		t.Errorf("socket %d", fd)
	}
}

func TestPacketsAndRequestsKeepTheirOrder(t *testing.T) {
	a, b := newHost(t, "alice", nil), newHost(t, "bob", nil)
	meet(a, b)
	m := a.Meta(1)
	var packets, requests []string
	for i := range 200 {
		blob, frame := fmt.Sprintf("blob-%08d\n", i), fmt.Sprintf("frame-%d", i)
		if !m.TrySPTPS([]byte(blob)) || !m.TryPacket([]byte(frame)) {
			t.Fatal("a packet was dropped on an idle connection")
		}
		packets = append(packets, fmt.Sprintf("blob alice %q", blob), fmt.Sprintf("frame alice %q", frame))
		text := fmt.Sprintf("14 %x alice", i)
		a.Do(mesh.Send{Conn: 1, Text: text})
		requests = append(requests, text)
	}
	for _, want := range requests {
		if got := expect[mesh.Request](b).Text; got != want {
			t.Fatalf("request %q, want %q", got, want)
		}
	}
	if got := b.data.list(); !slices.Equal(got, packets) {
		t.Errorf("got %d packets, want %d in the same order", len(got), len(packets))
	}
	for name, ok := range map[string]bool{
		"a blob shorter than two ids": m.TrySPTPS(make([]byte, 11)),
		"a blob of 32768 bytes":       m.TrySPTPS(make([]byte, 32768)),
		"an empty frame":              m.TryPacket(nil),
	} {
		if ok {
			t.Errorf("%s was sent", name)
		}
	}
}

func TestLargestPacketsPass(t *testing.T) {
	a, b := newHost(t, "alice", nil), newHost(t, "bob", nil)
	meet(a, b)
	big := bytes.Repeat([]byte("x"), 32767)
	m := a.Meta(1)
	for range 3 {
		if !m.TrySPTPS(big) || !m.TryPacket(big) {
			t.Fatal("dropped")
		}
	}
	wait(t, "six packets", func() bool { return len(b.data.list()) == 6 })
	want := fmt.Sprintf("blob alice %q", big)
	if b.data.list()[4] != want {
		t.Error("a blob was damaged")
	}
}

// rawPeer is a peer made by hand, so that it can misbehave.
type rawPeer struct {
	*testing.T
	net.Conn
	s      *sptps.Stream
	in     []byte
	outbox []byte
}

// visit logs a rawPeer called bob in at h, up to the handshake, and returns h's
// id of the connection.
func visit(h *host) (*rawPeer, mesh.ConnID) {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	x := &rawPeer{T: h.T, Conn: c}
	s, kex, err := sptps.NewStream(sptps.Config{Initiator: true, Key: keyOf("bob"), Peer: h.key.Public(), Label: sptps.LabelTCP("bob", h.name), Rand: zero{}})
	if err != nil {
		h.Fatal(err)
	}
	x.s = s
	// As tinc does it: the first record in one segment with the ID.
	x.Write(append([]byte("0 bob 17.7\n"), kex...))
	id := expect[mesh.Accepted](h).Conn
	expect[mesh.Line](h)
	h.Do(mesh.SendLine{Conn: id, Text: "0 " + string(h.name) + " 17.7"})
	h.secureWith(id, "bob", false)
	for len(x.in) == 0 || x.in[len(x.in)-1] != '\n' {
		b := make([]byte, 1)
		if _, err := x.Read(b); err != nil {
			h.Fatal(err)
		}
		x.in = append(x.in, b...)
	}
	x.in = nil
	for !x.s.Established() {
		x.next()
	}
	expect[mesh.Secured](h)
	return x, id
}

// zero is the least random source there is.
type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// next handles one record from the host and returns its text, "" for a handshake.
func (x *rawPeer) next() string {
	x.Helper()
	for {
		n, ev, err := x.s.Next(x.in)
		if err != nil {
			x.Fatal(err)
		}
		if n > 0 {
			x.in = x.in[n:]
			if len(ev.Out) > 0 {
				x.Write(ev.Out)
			}
			return string(ev.Data)
		}
		b := make([]byte, 4096)
		k, err := x.Read(b)
		if err != nil {
			x.Fatal(err)
		}
		x.in = append(x.in, b[:k]...)
	}
}

// record puts a record into the outbox.
func (x *rawPeer) record(data string) *rawPeer {
	out, err := x.s.AppendRecord(x.outbox, 0, []byte(data))
	if err != nil {
		x.Fatal(err)
	}
	x.outbox = out
	return x
}

// raw puts bytes into the outbox.
func (x *rawPeer) raw(b string) *rawPeer { x.outbox = append(x.outbox, b...); return x }

// flush sends the outbox in pieces of n bytes; 0: at once.
func (x *rawPeer) flush(n int) {
	if n == 0 {
		n = len(x.outbox)
	}
	for piece := range slices.Chunk(x.outbox, max(n, 1)) {
		x.Write(piece)
	}
	x.outbox = nil
}

func TestSegmentsOfTheStreamDoNotMatter(t *testing.T) {
	for _, size := range []int{0, 1, 2, 3, 7, 100, 1000} {
		t.Run(fmt.Sprintf("pieces of %d bytes", size), func(t *testing.T) {
			h := newHost(t, "alice", nil)
			x, id := visit(h)
			x.record(ack + "\n").record("8").raw("")
			x.record("21 20\n").raw("0123456789abcdefghij").record("9\n").record("17 3").record("abc")
			x.record("10 1 bob 10.0.0.0/8")
			go x.flush(size)
			if r := expect[mesh.Request](h); r.Text != ack {
				t.Errorf("request %q", r.Text)
			}
			if r := expect[mesh.Request](h); r.Text != "8" {
				t.Errorf("request %q", r.Text)
			}
			// The packet after the ACK waits until the protocol core has dealt with that.
			h.quiet()
			h.Do(mesh.Attach{Conn: id, Node: "bob"})
			if a, b := expect[mesh.Request](h).Text, expect[mesh.Request](h).Text; a != "9" || b != "10 1 bob 10.0.0.0/8" {
				t.Errorf("requests %q, %q", a, b)
			}
			if got := fmt.Sprint(h.data.list()); got != `[blob bob "0123456789abcdefghij" frame bob "abc"]` {
				t.Errorf("data %s", got)
			}
		})
	}
}

func TestMalformedStreamsEndTheConnectionWithAReason(t *testing.T) {
	for name, x := range map[string]struct {
		send func(*rawPeer)
		why  string
	}{
		"empty record":                {func(x *rawPeer) { x.record("").flush(0) }, "empty request"},
		"frame of no bytes":           {func(x *rawPeer) { x.record("17 0").flush(0) }, "PACKET"},
		"blob shorter than two ids":   {func(x *rawPeer) { x.record("21 11").flush(0) }, "too few"},
		"blob of negative length":     {func(x *rawPeer) { x.record("21 -5").flush(0) }, "SPTPS_PACKET"},
		"blob of 32768 bytes":         {func(x *rawPeer) { x.record("21 32768").flush(0) }, "SPTPS_PACKET"},
		"frame of another length":     {func(x *rawPeer) { x.record("17 4").record("abc").flush(0) }, "announced a frame of 4 bytes and sent 3"},
		"request of 5000 bytes":       {func(x *rawPeer) { x.record(strings.Repeat("8", 5000)).flush(0) }, "request of 5000 bytes"},
		"bytes that were not sealed":  {func(x *rawPeer) { x.raw("\x00\x01" + strings.Repeat("x", 18)).flush(0) }, "does not authenticate"},
		"end within a record":         {func(x *rawPeer) { x.raw("\x00").flush(0); x.Close() }, "within a message"},
		"end within a blob":           {func(x *rawPeer) { x.record("21 50").raw("abc").flush(0); x.Close() }, "within a message"},
		"end between the two records": {func(x *rawPeer) { x.record("17 50").flush(0); x.Close() }, "within a message"},
		"reset":                       {func(x *rawPeer) { x.Conn.(*net.TCPConn).SetLinger(0); x.Close() }, "reset"},
		"orderly end":                 {func(x *rawPeer) { x.Close() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "alice", nil)
			s, id := visit(h)
			s.record(ack).flush(0)
			expect[mesh.Request](h)
			h.Do(mesh.Attach{Conn: id, Node: "bob"})
			x.send(s)
			var c mesh.Closed
			for c.Conn == 0 {
				switch e := (<-h.events).(type) {
				case mesh.Closed:
					c = e
				case mesh.Request:
				default:
					t.Fatalf("event %T", e)
				}
			}
			switch {
			case x.why == "" && c.Err != nil:
				t.Errorf("error %v, want none", c.Err)
			case x.why != "" && (c.Err == nil || !strings.Contains(c.Err.Error(), x.why)):
				t.Errorf("error %v, want one with %q", c.Err, x.why)
			}
			if h.Meta(id) != nil {
				t.Error("the data channel is still there")
			}
			h.Do(mesh.Send{Conn: id, Text: "8"}) // late effects are harmless
			h.quiet()
		})
	}
}

func TestMalformedLogins(t *testing.T) {
	for name, x := range map[string]struct {
		send func(c net.Conn)
		why  string
	}{
		"nothing at all":          {func(c net.Conn) { c.Close() }, "before it said who it is"},
		"endless first line":      {func(c net.Conn) { c.Write(bytes.Repeat([]byte("x"), 2200)) }, "longer than 2175"},
		"end during the login":    {func(c net.Conn) { io.WriteString(c, "0 bob 17.7\n"); c.(*net.TCPConn).CloseWrite() }, "during the login"},
		"garbage instead of KEX":  {func(c net.Conn) { io.WriteString(c, "0 bob 17.7\n"+"\x00\x01\x80x") }, "unexpected handshake record"},
		"a long record, in clear": {func(c net.Conn) { io.WriteString(c, "0 bob 17.7\n\xff\xff\x80") }, "too long"},
		"data before the session": {func(c net.Conn) { io.WriteString(c, "0 bob 17.7\n\x00\x01\x008") }, "before the key exchange"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "alice", nil)
			c, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			id := expect[mesh.Accepted](h).Conn
			x.send(c)
			for {
				switch e := (<-h.events).(type) {
				case mesh.Line:
					h.secureWith(id, "bob", false)
				case mesh.Closed:
					if e.Err == nil || !strings.Contains(e.Err.Error(), x.why) {
						t.Errorf("error %v, want one with %q", e.Err, x.why)
					}
					return
				}
			}
		})
	}
}

func TestPacketBeforeAckEndsTheConnection(t *testing.T) {
	h := newHost(t, "alice", nil)
	x, _ := visit(h)
	x.record("21 20").raw("0123456789abcdefghij").flush(0)
	if c := expect[mesh.Closed](h); c.Err == nil || !strings.Contains(c.Err.Error(), "before ACK") {
		t.Errorf("error %v", c.Err)
	}
	if got := h.data.list(); len(got) > 0 {
		t.Errorf("data %v", got)
	}
}

func TestRekeyByThePeerIsAnswered(t *testing.T) {
	h := newHost(t, "alice", nil)
	x, id := visit(h)
	x.record(ack).flush(0)
	expect[mesh.Request](h)
	h.Do(mesh.Attach{Conn: id, Node: "bob"})
	for i := range 3 {
		kex, err := x.s.Rekey()
		if err != nil {
			t.Fatal(err)
		}
		x.raw(string(kex)).record(fmt.Sprint("8 ", i)).flush(0)
		h.Do(mesh.Send{Conn: id, Text: "9"}) // in the middle of it
		for _, left := 0, 4; left > 0; left-- {
			// KEX, SIG and ACK of the host, and its request
			if s := x.next(); s != "" && s != "9\n" {
				t.Fatalf("record %q", s)
			}
		}
		if r := expect[mesh.Request](h); r.Text != fmt.Sprint("8 ", i) {
			t.Errorf("request %q", r.Text)
		}
		x.record("9").flush(0)
		expect[mesh.Request](h)
	}
	h.quiet() // Secured comes once
}

func TestClosedConnectionDeliversWhatWaits(t *testing.T) {
	a, b := newHost(t, "alice", nil), newHost(t, "bob", nil)
	meet(a, b)
	text := "14 1 " + strings.Repeat("x", 1000)
	for range 1000 {
		a.Do(mesh.Send{Conn: 1, Text: text})
	}
	// b has something on the way as well, which must not reset the connection.
	for range 10 {
		b.Do(mesh.Send{Conn: 2, Text: "8"})
	}
	a.Do(mesh.CloseConn{Conn: 1, Reason: "enough"})
	for range 1000 {
		if got := expect[mesh.Request](b).Text; got != text {
			t.Fatalf("request %q", got)
		}
	}
	if c := expect[mesh.Closed](b); c.Err != nil {
		t.Errorf("error %v", c.Err)
	}
	for {
		select {
		case e := <-a.events:
			if _, ok := e.(mesh.Closed); ok {
				t.Error("the protocol core was told of what it did itself")
			}
			continue
		case <-time.After(30 * time.Millisecond):
		}
		break
	}
}

func TestPeerThatDoesNotReadLosesPacketsFirstAndThenTheConnection(t *testing.T) {
	h := newHost(t, "alice", func(c *Config) { c.MaxQueue = 1 << 20 })
	x, id := visit(h)
	x.record(ack).flush(0)
	expect[mesh.Request](h)
	h.Do(mesh.Attach{Conn: id, Node: "bob"})
	m := h.Meta(id)
	frame := make([]byte, 1400)
	sent, dropped := 0, 0
	wait(t, "packets are dropped", func() bool {
		for range 10 {
			if m.TryPacket(frame) {
				sent++
			} else {
				dropped++
			}
		}
		return dropped > 200
	})
	if sent < 10 {
		t.Errorf("only %d packets were sent before", sent)
	}
	c := m.(*conn)
	c.mu.Lock()
	queued := c.queued()
	c.mu.Unlock()
	if queued > freshBurst+2000 {
		t.Errorf("%d bytes of packets wait", queued)
	}
	for range 2000 {
		h.Do(mesh.Send{Conn: id, Text: "14 1 " + strings.Repeat("x", 1000)})
	}
	if c := expect[mesh.Closed](h); c.Err == nil || !strings.Contains(c.Err.Error(), "does not read") {
		t.Errorf("error %v", c.Err)
	}
	if m.TryPacket(frame) {
		t.Error("a packet was taken after the end")
	}
}

func TestDropProbabilityGrowsAboveHalfOfMaxOutput(t *testing.T) {
	const limit = 1000
	for queued, want := range map[int]float64{0: 1, 500: 1, 625: 0.75, 750: 0.5, 875: 0.25, 1000: 0, 5000: 0} {
		c := &conn{t: &Table{cfg: Config{MaxOutput: limit}}, hop: "bob", stalled: true, out: make([]byte, queued), dice: rand.New(rand.NewPCG(1, 2))}
		sent := 0
		for range 4000 {
			if c.room(100) {
				sent++
			}
		}
		if got := float64(sent) / 4000; got < want-0.03 || got > want+0.03 {
			t.Errorf("with %d of %d bytes waiting %.2f of the packets pass, want %.2f", queued, limit, got, want)
		}
	}
}

func TestSlowCoreHoldsThePeerBack(t *testing.T) {
	a := newHost(t, "alice", nil)
	b := newHost(t, "bob", nil)
	meet(a, b)
	// b's protocol core takes nothing for a while; its queue holds 4096 events.
	const n = 20000
	for i := range n {
		a.Do(mesh.Send{Conn: 1, Text: "14 " + strconv.Itoa(i) + " alice"})
	}
	time.Sleep(50 * time.Millisecond)
	for i := range n {
		if got, want := expect[mesh.Request](b).Text, "14 "+strconv.Itoa(i)+" alice"; got != want {
			t.Fatalf("request %q, want %q", got, want)
		}
	}
}

func TestHandOver(t *testing.T) {
	type handed struct {
		line, rest, more string
	}
	got := make(chan handed, 1)
	h := newHost(t, "alice", func(c *Config) {
		c.Invitation = func(conn net.Conn, line string, buffered []byte) {
			b := make([]byte, 4)
			io.ReadFull(conn, b)
			io.WriteString(conn, "welcome\n")
			got <- handed{line, string(buffered), string(b)}
		}
	})
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "0 ?KEY 17.1\nbehind")
	id := expect[mesh.Accepted](h).Conn
	line := expect[mesh.Line](h)
	h.Do(mesh.HandOver{Conn: id, Text: line.Text})
	io.WriteString(c, "more")
	if g := <-got; g != (handed{"0 ?KEY 17.1", "behind", "more"}) {
		t.Errorf("%+v", g)
	}
	if b, err := io.ReadAll(c); string(b) != "welcome\n" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	h.quiet()
	if h.admission.len() != 0 {
		t.Errorf("%d places are taken", h.admission.len())
	}
}

func TestFloodOfSilentConnectionsIsBounded(t *testing.T) {
	h := newHost(t, "alice", nil)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	accepted, closed := 0, 0
	const more = 50
	for i := range maxPending + more {
		if i == maxPending { // those that have had time to log in give way
			time.Sleep(loginTime)
		}
		c, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		wait(t, "its end is told", func() bool {
			for len(h.events) > 0 {
				switch e := (<-h.events).(type) {
				case mesh.Accepted:
					accepted++
				case mesh.Closed:
					closed++
					if !errors.Is(e.Err, errCrowded) {
						t.Errorf("error %v", e.Err)
					}
				}
			}
			refused, _ := h.Refused()
			return closed+h.admission.len() >= min(i+1, maxPending) && accepted+int(refused) == i+1
		})
	}
	if n := h.admission.len(); n != maxPending {
		t.Errorf("%d places are taken", n)
	}
	for i, c := range conns[:more] { // one address has them all: its oldest give way
		if open(t, c, patience) {
			t.Errorf("connection %d is still open", i)
		}
	}
	conns[more].Close()
	wait(t, "the place is free", func() bool { return h.admission.len() == maxPending-1 })
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDialErrors(t *testing.T) {
	for name, x := range map[string]struct {
		to     mesh.Endpoint
		family Family
		why    string
	}{
		"refused":                 {endpoint(closedPort(t)), AnyFamily, "connection refused"},
		"no such name":            {mesh.Endpoint{Host: "no.such.host.invalid", Port: "655"}, AnyFamily, "look up"},
		"no such port":            {mesh.Endpoint{Host: "127.0.0.1", Port: "no-such-service"}, AnyFamily, "port"},
		"address of other family": {mesh.Endpoint{Host: "127.0.0.1", Port: "655"}, IPv6, "AddressFamily"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "alice", func(c *Config) { c.Family = x.family })
			if strings.Contains(name, "name") {
				h.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
			}
			h.Do(mesh.Dial{Conn: 1, To: x.to, Timeout: patience})
			if c := expect[mesh.Closed](h); c.Conn != 1 || c.Err == nil || !strings.Contains(c.Err.Error(), x.why) {
				t.Errorf("error %v, want one with %q", c.Err, x.why)
			}
		})
	}
}

func TestEveryAddressOfANameIsTried(t *testing.T) {
	a := newHost(t, "alice", func(c *Config) { c.Bind = []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.3")} })
	b := newHost(t, "bob", nil)
	a.lookup = func(context.Context, string, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	to := endpoint(b.addr)
	to.Host = "bob.example"
	a.Do(mesh.Dial{Conn: 7, To: to, Timeout: patience})
	if d := expect[mesh.Dialed](a); d.Conn != 7 || d.Remote.String() != b.addr || d.Local.Addr().String() != "127.0.0.3" {
		t.Errorf("%+v", d)
	}
}

func TestDialIsCancelledByCloseConn(t *testing.T) {
	a := newHost(t, "alice", nil)
	entered := make(chan struct{})
	a.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.Do(mesh.Dial{Conn: 1, To: mesh.Endpoint{Host: "slow.example", Port: "655"}, Timeout: time.Hour})
	<-entered
	a.Do(mesh.CloseConn{Conn: 1, Reason: "not wanted"})
	a.quiet()
}

func TestCloseLeavesNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("tables", func(t *testing.T) {
		a, b := newHost(t, "alice", nil), newHost(t, "bob", func(c *Config) {
			c.Invitation = func(conn net.Conn, _ string, _ []byte) { io.Copy(io.Discard, conn) }
		})
		meet(a, b)
		// One of each kind: silent, waiting for the protocol core, handed over, dialling.
		for _, text := range []string{"", "0 x 17.7\n", "0 ?K 17\n"} {
			c, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, text)
			id := expect[mesh.Accepted](b).Conn
			if text != "" {
				expect[mesh.Line](b)
			}
			if strings.Contains(text, "?") {
				b.Do(mesh.HandOver{Conn: id, Text: text})
			}
		}
		a.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
		a.Do(mesh.Dial{Conn: 3, To: mesh.Endpoint{Host: "slow.example", Port: "655"}, Timeout: time.Hour})
		start := time.Now()
		a.Close()
		b.Close()
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("closing took %v", d)
		}
		a.Do(mesh.Dial{Conn: 5, To: endpoint(b.addr)}) // too late, and harmless
	})
	wait(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}

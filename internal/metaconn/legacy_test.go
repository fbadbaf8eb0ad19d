package metaconn

import (
	"bytes"
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

var rsaKey = sync.OnceValue(func() *keys.RSAPrivateKey {
	k, err := keys.GenerateRSA(crand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var shortKey = sync.OnceValue(func() *keys.RSAPrivateKey {
	k, err := keys.GenerateRSA(crand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	return k
})

func withRSA(c *Config) { c.RSAKey, c.Suite = rsaKey(), legacy.DefaultSuite }

func (h *host) secureLegacyWith(id mesh.ConnID, peer node.Name, initiator bool) {
	h.Do(mesh.SecureLegacy{Conn: id, Initiator: initiator, Node: peer, PeerKey: rsaKey().Public()})
}

const oldACK = "4 655 1 c"

// meetLegacy is meet in the protocol of tinc 1.0.
func meetLegacy(a, b *host) mesh.ConnID {
	return meetBy(a, b, "17", (*host).secureLegacyWith, oldACK)
}

func TestOldNeighboursKeepTheOrderToo(t *testing.T) {
	a, b := newHost(t, "alice", withRSA), newHost(t, "bob", withRSA)
	id := meetLegacy(a, b)
	m := a.Meta(1)
	if m.TrySPTPS(make([]byte, 100)) {
		t.Error("an SPTPS_PACKET was sent to a neighbour who does not know it")
	}
	if m.TryPacket(make([]byte, legacy.MaxFrame+1)) {
		t.Error("a frame was sent that the neighbour would throw away")
	}
	var frames, requests []string
	for i := range 200 {
		frame := fmt.Sprintf("frame\n-%d\n", i)
		if !m.TryPacket([]byte(frame)) {
			t.Fatal("a packet was dropped on an idle connection")
		}
		frames = append(frames, fmt.Sprintf("frame alice %q", frame))
		text := fmt.Sprintf("10 %x bob 10.0.0.0/8#10", i)
		a.Do(mesh.Send{Conn: 1, Text: text})
		requests = append(requests, text)
	}
	for _, want := range requests {
		if got := expect[mesh.Request](b); got.Text != want || got.Conn != id {
			t.Fatalf("request %+v instead of %q", got, want)
		}
	}
	wait(t, "frames", func() bool { return len(b.data.list()) == len(frames) })
	if got := b.data.list(); !slices.Equal(got, frames) {
		t.Errorf("frames %q", got)
	}
	b.Do(mesh.CloseConn{Conn: id})
	if closed := expect[mesh.Closed](a); closed.Err != nil {
		t.Errorf("an orderly end: %v", closed.Err)
	}
}

func TestOldLoginsThatCannotBegin(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		peer   keys.RSAPublicKey
		weak   bool
	}{
		"no key of our own":  {nil, rsaKey().Public(), false},
		"the peer's is weak": {withRSA, shortKey().Public(), true},
	} {
		h := newHost(t, "alice", c.change)
		tcp, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer tcp.Close()
		id := expect[mesh.Accepted](h).Conn
		fmt.Fprint(tcp, "0 bob 17\n")
		expect[mesh.Line](h)
		h.Do(mesh.SecureLegacy{Conn: id, Node: "bob", PeerKey: c.peer})
		var weak *legacy.ErrWeak
		if closed := expect[mesh.Closed](h); closed.Err == nil || errors.As(closed.Err, &weak) != c.weak {
			t.Errorf("%s: %v", name, closed.Err)
		}
	}
}

// recorded is a conversation between two real daemons.
type recorded struct {
	Keys map[string]struct {
		PEM string `json:"private_pem_pkcs1"`
	}
	Initiator, Responder struct{ Name node.Name }
	Steps                []struct {
		Dir, Line, Wire string
		Block           string `json:"rsa_plaintext_block"`
		Raw             string `json:"raw_after_packet_request"`
	}
}

func (r *recorded) key(t *testing.T, name node.Name) *keys.RSAPrivateKey {
	k, err := keys.ParseRSAPrivate([]byte(r.Keys[string(name)].PEM))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// choices gives the blocks and challenges, 256 bytes each, that the real daemon
// chose, and randomness for everything else.
type choices struct {
	mu   sync.Mutex
	next [][]byte
}

func (c *choices) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) != 256 || len(c.next) == 0 {
		return crand.Read(p)
	}
	n := copy(p, c.next[0])
	c.next = c.next[1:]
	return n, nil
}

// TestInThePlaceOfARealDaemon replays what one of two real daemons received, and
// expects that byte by byte what we send is what it sent.
func TestInThePlaceOfARealDaemon(t *testing.T) {
	for _, file := range []string{"legacy-handshake.json", "legacy-handshake-11-to-10.json", "legacy-upgrade-11.json"} {
		for _, own := range []string{"i2r", "r2i"} {
			t.Run(file+" "+own, func(t *testing.T) {
				text, err := os.ReadFile("testdata/" + file)
				if err != nil {
					t.Fatal(err)
				}
				var r recorded
				if err := json.Unmarshal(text, &r); err != nil {
					t.Fatal(err)
				}
				replace(t, &r, own)
			})
		}
	}
}

func replace(t *testing.T, r *recorded, own string) {
	us, peer := r.Initiator.Name, r.Responder.Name
	if own == "r2i" {
		us, peer = peer, us
	}
	source := &choices{}
	var sent, received []byte
	for _, s := range r.Steps {
		wire := unhex(t, s.Wire)
		if s.Dir != own {
			received = append(received, wire...)
			continue
		}
		sent = append(sent, wire...)
		if s.Block != "" {
			source.next = append(source.next, unhex(t, s.Block))
		} else if text, ok := strings.CutPrefix(s.Line, "2 "); ok {
			source.next = append(source.next, unhex(t, text))
		}
	}

	h := newHost(t, us, func(c *Config) {
		c.RSAKey, c.Suite, c.Rand = r.key(t, us), legacy.DefaultSuite, source
	})
	tcp, id := connected(t, h, peer, own == "i2r")
	defer tcp.Close()
	begin := mesh.SecureLegacy{Conn: id, Initiator: own == "i2r", Node: peer, PeerKey: r.key(t, peer).Public()}
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, len(sent))
		tcp.SetReadDeadline(time.Now().Add(patience))
		n, _ := io.ReadFull(tcp, b)
		got <- b[:n]
	}()

	// All at once: what comes after a line must not get lost.
	if _, err := tcp.Write(received); err != nil {
		t.Fatal(err)
	}
	attached := false
	for _, s := range r.Steps {
		switch {
		case s.Dir != own && strings.HasPrefix(s.Line, "0 "):
			expect[mesh.Line](h)
			if own == "r2i" {
				h.Do(mesh.SendLine{Conn: id, Text: ownID(r, own)})
			}
			h.Do(begin)
			expect[mesh.Secured](h)
		case own == "i2r" && s.Dir == own && strings.HasPrefix(s.Line, "0 "):
			h.Do(mesh.SendLine{Conn: id, Text: s.Line})
		case strings.HasPrefix(s.Line, "0 "), login(s.Line), s.Dir != own && strings.HasPrefix(s.Line, "17 "):
		case s.Dir != own && s.Raw == "":
			if e := expect[mesh.Request](h); e.Text != s.Line {
				t.Fatalf("request %q instead of %q", e.Text, s.Line)
			}
			if !attached {
				attached = true
				h.Do(mesh.Attach{Conn: id, Node: peer})
			}
		case s.Dir != own:
			want := fmt.Sprintf("frame %s %q", peer, unhex(t, s.Raw))
			wait(t, "a frame", func() bool { return slices.Contains(h.data.list(), want) })
		case s.Raw != "":
			if !h.Meta(id).TryPacket(unhex(t, s.Raw)) {
				t.Fatal("a frame was dropped")
			}
		case !strings.HasPrefix(s.Line, "17 "):
			h.Do(mesh.Send{Conn: id, Text: s.Line})
		}
	}
	if b := <-got; !bytes.Equal(b, sent) {
		t.Errorf("sent\n%.3000x instead of\n%.3000x", b, sent)
	}
}

func ownID(r *recorded, own string) string {
	for _, s := range r.Steps {
		if s.Dir == own {
			return s.Line
		}
	}
	return ""
}

func login(line string) bool {
	return strings.HasPrefix(line, "1 ") || strings.HasPrefix(line, "2 ") || strings.HasPrefix(line, "3 ")
}

// connected returns a TCP connection with h that the test holds, and h's id of it.
func connected(t *testing.T, h *host, peer node.Name, dial bool) (net.Conn, mesh.ConnID) {
	if !dial {
		tcp, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		return tcp, expect[mesh.Accepted](h).Conn
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h.Do(mesh.Dial{Conn: 1, Node: peer, To: endpoint(l.Addr().String()), Timeout: patience})
	tcp, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	expect[mesh.Dialed](h)
	return tcp, 1
}

// establishedLegacy returns two ends of a login that is over.
func establishedLegacy(t testing.TB) (ours, theirs *legacy.Meta) {
	k := shortKey() // logins with it are quick
	cfg := legacy.MetaConfig{Key: k, Peer: k.Public(), Suite: legacy.DefaultSuite, Policy: legacy.Policy{ShortRSA: true}, Rand: crand.Reader}
	a, toB, err := legacy.NewMeta(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Initiator = true
	b, toA, err := legacy.NewMeta(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pass := func(m *legacy.Meta, in []byte) (out []byte) {
		for len(in) > 0 {
			n, ev, err := m.Next(in)
			if err != nil {
				t.Fatal(err)
			}
			in, out = in[n:], append(out, ev.Out...)
		}
		return out
	}
	for len(toA)+len(toB) > 0 {
		toB, toA = pass(a, toA), pass(b, toB)
	}
	return a, b
}

func TestWhatOldNeighboursMustNotSend(t *testing.T) {
	for name, c := range map[string]struct{ stream, want string }{
		"an SPTPS_PACKET":        {oldACK + "\n21 20\n" + strings.Repeat("x", 20), "SPTPS_PACKET"},
		"a frame before ACK":     {"17 20\n", "before ACK"},
		"a frame of no bytes":    {oldACK + "\n17 0\n", "length"},
		"a huge frame":           {oldACK + "\n17 40000\n", "length"},
		"an empty line":          {oldACK + "\n\n", "empty"},
		"an endless line":        {strings.Repeat("8", 5000), "more than"},
		"the end within a frame": {oldACK + "\n17 20\nabc", "within a message"},
	} {
		ours, theirs := establishedLegacy(t)
		stream, err := theirs.AppendRaw(nil, []byte(c.stream))
		if err != nil {
			t.Fatal(err)
		}
		conn, in := inputOf(t, iotest.HalfReader(bytes.NewReader(stream)))
		conn.codec = old{ours}
		conn.attach("bob")
		if err := in.messages(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzLines sends arbitrary bytes in the encrypted stream of an old neighbour.
func FuzzLines(f *testing.F) {
	f.Add([]byte(oldACK + "\n17 20\n" + strings.Repeat("x", 20) + "8\n"))
	f.Add([]byte(oldACK + "\n17 99999\n"))
	f.Add([]byte("17 20\n"))
	f.Add([]byte(oldACK + "\n21 20\n"))
	var ours, theirs *legacy.Meta // a login takes long: it is made again only when one has failed
	f.Fuzz(func(t *testing.T, b []byte) {
		if ours == nil {
			ours, theirs = establishedLegacy(t)
		}
		stream, _ := theirs.AppendRaw(nil, b)
		from := bytes.NewReader(stream)
		c, in := inputOf(t, iotest.HalfReader(from))
		defer func() {
			// What was left unread is taken here, and the line ended.
			left, _ := io.ReadAll(from)
			left, _ = theirs.AppendRaw(append(bytes.Clone(in.buf[in.r:in.w]), left...), []byte("\n"))
			for len(left) > 0 {
				n, _, err := ours.Next(left)
				if err != nil || n == 0 {
					ours = nil
					return
				}
				left = left[n:]
			}
		}()
		c.codec = old{ours}
		c.attach("bob")
		if err := in.messages(); errors.Is(err, errStopped) || errors.Is(err, io.EOF) {
			t.Fatalf("the stream ended with %v", err)
		}
		if len(in.buf) > largeBuffer {
			t.Fatalf("the buffer grew to %d bytes", len(in.buf))
		}
	})
}

// BenchmarkTryPacketOld shows that a packet over TCP costs no allocation on its
// way to an old neighbour either.
func BenchmarkTryPacketOld(b *testing.B) {
	ours, _ := establishedLegacy(b)
	c := newConn(New(Config{}), 2)
	c.codec, c.hop = old{ours}, "bob"
	frame := make([]byte, 1400)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		c.out = c.out[:0]
		if !c.TryPacket(frame) {
			b.Fatal("dropped")
		}
	}
}

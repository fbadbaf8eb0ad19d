package mesh

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

var update = flag.Bool("update", false, "write the transcripts in testdata/transcripts anew")

// TestTranscripts plays the conversations in testdata/transcripts. In such a file a line that
// begins with "> " is an event, "# " a comment, and what follows until the next
// event is what the brain answers. Peers bob, carol and dave have host files;
// the brain's own name is the first word after "> node".
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no transcripts: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if got == string(want) {
				return
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the brain answers differently:\n%s", firstDifference(string(want), got))
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n want %s\n got  %s", i+1, a, b)
		}
	}
	return ""
}

// player is one brain with the lines played to it.
type player struct {
	t    *testing.T
	m    *Mesh
	now  time.Time
	self node.Name
	told map[string]bool // requests played to the brain
}

func newPlayer(t *testing.T) *player {
	return &player{t: t, now: time.Unix(1_900_000_000, 0), told: map[string]bool{}}
}

func testKey(name node.Name) *keys.PrivateKey {
	var seed [32]byte
	copy(seed[:], name)
	return keys.FromSeed(seed)
}

func play(t *testing.T, script string) string {
	var out strings.Builder
	p := newPlayer(t)
	sc := bufio.NewScanner(strings.NewReader(script))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintln(&out, line)
			for _, e := range p.input(strings.TrimPrefix(line, "> ")) {
				if s := p.describe(e); s != "" {
					fmt.Fprintln(&out, s)
				}
			}
		case line == "" || strings.HasPrefix(line, "#"):
			fmt.Fprintln(&out, line)
		}
	}
	return out.String()
}

// input plays one line of a transcript.
func (p *player) input(line string) []Effect {
	verb, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	word := func(i int) string {
		if i >= len(words) {
			p.t.Fatalf("%q needs more words", line)
		}
		return words[i]
	}
	conn := func() ConnID {
		n, err := strconv.Atoi(word(0))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		return ConnID(n)
	}
	addr := func(i int) netip.AddrPort {
		a, err := netip.ParseAddrPort(word(i))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		return a
	}
	tail := func() string {
		_, s, _ := strings.Cut(rest, " ")
		return s
	}
	var ev Event
	switch verb {
	case "node":
		p.start(words)
		return p.m.Flush(p.now)
	case "wait":
		d, err := time.ParseDuration(word(0))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		var out []Effect
		for end := p.now.Add(d); ; {
			next := p.m.Deadline()
			if next.IsZero() || next.After(end) {
				p.now = end
				return out
			}
			p.now = next
			p.m.Tick(p.now)
			out = append(out, p.m.Flush(p.now)...)
		}
	case "accepted":
		ev = Accepted{Conn: conn(), Remote: addr(1), Local: netip.MustParseAddrPort("192.0.2.1:655")}
	case "dialed":
		ev = Dialed{Conn: conn(), Remote: addr(1), Local: netip.MustParseAddrPort("192.0.2.1:40000")}
	case "line":
		ev = Line{Conn: conn(), Text: tail()}
	case "secured":
		ev = Secured{Conn: conn()}
	case "request":
		p.told[tail()] = true
		ev = Request{Conn: conn(), Text: tail()}
	case "closed":
		c := Closed{Conn: conn()}
		if s := tail(); s != "" {
			c.Err = errors.New(s)
		}
		ev = c
	case "traffic":
		ev = Traffic{Node: node.Name(word(0))}
	case "retry":
		ev = Retry{}
	case "purge":
		ev = Purge{}
	case "disconnect":
		ev = Disconnect{Node: node.Name(word(0))}
	case "connect":
		ev = ConnectNow{Node: node.Name(word(0))}
	case "reload":
		ev = Reconfigured{Config: p.config(p.self, words)}
	case "shutdown":
		ev = Shutdown{}
	default:
		p.t.Fatalf("%q is not understood", line)
	}
	p.m.Handle(p.now, ev)
	return p.m.Flush(p.now)
}

// start makes the brain of a node: "NAME [OPTION]...".
func (p *player) start(words []string) {
	p.self = node.Name(words[0])
	p.m = New(p.config(p.self, words[1:]), Injected{
		Rand:    rand.New(rand.NewPCG(1, 2)),
		Secrets: rand.NewChaCha8([32]byte{1}),
	}, p.now)
}

// config is the configuration of a node, changed by options.
func (p *player) config(self node.Name, options []string) Config {
	cfg := Config{
		Name: self, Key: testKey(self), Port: 655, Broadcast: true,
		Subnets: []subnet.Subnet{subnet.FromPrefix(netip.MustParsePrefix("10.0.1.0/24"))},
		Hosts:   map[node.Name]Host{},
	}
	for i, n := range []node.Name{"bob", "carol", "dave"} {
		if n == self {
			continue
		}
		k := testKey(n).Public()
		h := Host{Key: &k}
		if n == "bob" {
			h.Addresses = []Endpoint{{Host: "bob.example", Port: strconv.Itoa(655 + i)}}
		}
		cfg.Hosts[n] = h
	}
	cfg.Hosts["nokey"] = Host{}
	for _, w := range options {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "connect":
			cfg.ConnectTo = append(cfg.ConnectTo, node.Name(value))
		case "auto":
			cfg.AutoConnect = true
		case "strict":
			cfg.StrictSubnets = true
		case "tunnelserver":
			cfg.TunnelServer = true
		case "indirect":
			cfg.Indirect = true
		case "tcponly":
			cfg.TCPOnly = true
		default:
			p.t.Fatalf("option %q is not understood", w)
		}
	}
	return cfg
}

// describe writes an effect as a line of a transcript; "" for those that it leaves out.
func (p *player) describe(e Effect) string {
	switch e := e.(type) {
	case Dial:
		return fmt.Sprintf("dial %d %s %s:%s", e.Conn, e.Node, e.To.Host, e.To.Port)
	case SendLine:
		return fmt.Sprintf("line %d %s", e.Conn, e.Text)
	case Secure:
		return fmt.Sprintf("secure %d initiator=%t %q", e.Conn, e.Initiator, e.Label)
	case Send:
		words := strings.Fields(e.Text)
		if k, err := wire.RequestKind(e.Text); err == nil && k >= wire.KindAddSubnet && k <= wire.KindKeyChanged && !p.told[e.Text] {
			words[1] = "NONCE" // a new one
		}
		for i, w := range words {
			if len(w) > 40 { // handshake records
				words[i] = fmt.Sprintf("<%d characters>", len(w))
			}
		}
		return fmt.Sprintf("send %d %s", e.Conn, strings.Join(words, " "))
	case CloseConn:
		return fmt.Sprintf("close %d %s", e.Conn, e.Reason)
	case Attach:
		return fmt.Sprintf("attach %d %s", e.Conn, e.Node)
	case HandOver:
		return fmt.Sprintf("hand over %d", e.Conn)
	case SendProbe:
		return fmt.Sprintf("probe %s %s %d bytes", e.Node, e.Addr, len(e.Data))
	case PublishPeers:
		var b strings.Builder
		for i, p := range e.Peers {
			if i > 0 {
				b.WriteByte('\n')
			}
			if !p.Reachable {
				fmt.Fprintf(&b, "peer %s unreachable known=%t", p.Node, p.Known)
				continue
			}
			fmt.Fprintf(&b, "peer %s nexthop=%s via=%s conn=%d addr=%s confirmed=%t mtu=%d/%d session=%t",
				p.Node, p.NextHop, p.Via, p.Conn, p.Addr, p.Confirmed, p.MinMTU, p.MTU, p.Tunnel != nil)
		}
		return b.String()
	case PublishRoutes:
		var s []string
		for _, r := range e.Routes.Subnets {
			s = append(s, fmt.Sprintf("%s=%s", r.Subnet, r.Owner))
		}
		return fmt.Sprintf("routes %v tree %v", s, e.Routes.Tree)
	case NodeUp:
		return fmt.Sprintf("up %s", e.Node)
	case NodeDown:
		return fmt.Sprintf("down %s", e.Node)
	case SubnetUp:
		return fmt.Sprintf("subnet up %s %s", e.Owner, e.Subnet)
	case SubnetDown:
		return fmt.Sprintf("subnet down %s %s", e.Owner, e.Subnet)
	case SaveKey:
		return fmt.Sprintf("save key of %s", e.Node)
	case SaveAddresses:
		return fmt.Sprintf("save addresses of %s: %v", e.Node, e.Addrs)
	case Log:
		if e.Priority <= Warning {
			return "log " + e.Text
		}
		return ""
	}
	return fmt.Sprintf("%T %+v", e, e)
}

package mesh

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	bignum "math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata/transcripts")

// TestTranscripts plays the conversations in testdata/transcripts. In such a file a line that
// begins with "> " is an event, "# " a comment, and what follows until the next
// event is what the protocol core answers. Peers bob, carol and dave have host files;
// the protocol core's own name is the first word after "> node". See player.input for the events.
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
			t.Errorf("the protocol core answers differently:\n%s", firstDifference(string(want), got))
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

// player is one protocol core with the lines played to it.
type player struct {
	t    *testing.T
	m    *Mesh
	now  time.Time
	self node.Name
	told map[string]bool // requests played to the protocol core

	routed []Owned // the subnets that were published

	peers    map[node.Name]*fakePeer
	routeMTU int // what the kernel says about every route

	paths  map[netip.AddrPort]int // at these addresses probes of up to so many bytes are answered
	pongs  bool                   // PINGs are answered
	coming []answer               // in the order in which they come

	watch   func([]Effect) // is shown all effects, if not nil
	lenient bool           // sessions may fail
}

// answer is an event to come.
type answer struct {
	at time.Time
	ev Event
}

// answerDelay is how long a probe or PING and its answer take.
const answerDelay = 10 * time.Millisecond

// fakePeer is the other end of a session with the protocol core.
type fakePeer struct {
	session *sptps.Datagram
	inbox   []string // handshake requests of the protocol core
}

func newPlayer(t *testing.T) *player {
	return &player{t: t, now: time.Unix(1_900_000_000, 0), told: map[string]bool{}, peers: map[node.Name]*fakePeer{}, paths: map[netip.AddrPort]int{}}
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
		return p.flush()
	case "wait":
		d, err := time.ParseDuration(word(0))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		var out []Effect
		for end := p.now.Add(d); ; {
			next := p.m.Deadline()
			if len(p.coming) > 0 && !p.coming[0].at.After(end) && (next.IsZero() || !p.coming[0].at.After(next)) {
				a := p.coming[0]
				p.coming = p.coming[1:]
				p.now = a.at
				p.m.Handle(p.now, a.ev)
				out = append(out, p.flush()...)
				continue
			}
			if next.IsZero() || next.After(end) {
				p.now = end
				return out
			}
			p.now = next
			p.m.Tick(p.now)
			out = append(out, p.flush()...)
		}
	case "accepted":
		a := Accepted{Conn: conn(), Remote: addr(1), Local: netip.MustParseAddrPort("192.0.2.1:655")}
		if len(words) > 2 {
			a.Local = addr(2)
		}
		ev = a
	case "dialed":
		ev = Dialed{Conn: conn(), To: Endpoint{Host: addr(1).Addr().String(), Port: strconv.Itoa(int(addr(1).Port()))}, Remote: addr(1), Local: netip.MustParseAddrPort("192.0.2.1:40000")}
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
	case "oldkey": // NODE CONN [CIPHER DIGEST MACLEN COMPRESSION]
		return p.input("request " + word(1) + " " + p.oldKey(node.Name(word(0)), words[2:]))
	case "session":
		return p.makeSession(node.Name(word(0)), word(1))
	case "host":
		h := HostLoaded{Node: node.Name(word(0))}
		h.Host, h.Known = p.config(p.self, words[1:]).Hosts[h.Node]
		ev = h
	case "probe":
		size, err := strconv.Atoi(word(3))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		in := ProbeIn{Node: node.Name(word(0)), Addr: addr(1), Direct: true}
		switch word(2) {
		case "request":
			in.Data = wire.AppendProbeRequest(nil, size, []byte{1})
		case "reply":
			in.Data = wire.AppendProbeNotice(nil, size, []byte{1})
		case "same":
			in.Data = wire.AppendProbeReply(nil, 2, wire.AppendProbeRequest(nil, size, []byte{1}))
		default:
			p.t.Fatalf("%q: request, reply or same", line)
		}
		ev = in
	case "path": // ADDRESS SIZE: probes to it are answered, if they are not longer; 0: none
		size, err := strconv.Atoi(word(1))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		p.paths[addr(0)] = size
		return nil
	case "pongs": // on or off
		p.pongs = word(0) == "on"
		return nil
	case "heard":
		ev = HeardFrom{Node: node.Name(word(0)), Addr: addr(1)}
	case "indirect":
		ev = CameIndirectly{Node: node.Name(word(0)), Hop: node.Name(word(1)), TCP: len(words) > 2}
	case "relayed":
		ev = Relayed{From: node.Name(word(0)), To: node.Name(word(1))}
	case "undecodable":
		n, _ := strconv.Atoi(word(1))
		ev = Undecodable{Node: node.Name(word(0)), Count: n}
	case "toolong":
		n, _ := strconv.Atoi(word(1))
		ev = TooLong{Node: node.Name(word(0)), Size: n}
	case "mapped":
		n, _ := strconv.Atoi(word(0))
		ev = PortMapped{Port: uint16(n)}
	case "silent":
		d, err := time.ParseDuration(word(1))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		ev = Silent{Node: node.Name(word(0)), For: d}
	case "heardagain":
		ev = Heard{Node: node.Name(word(0))}
	case "large":
		n, _ := strconv.Atoi(word(1))
		ev = Large{Node: node.Name(word(0)), Size: n}
	case "learn":
		s, err := subnet.Parse(word(0))
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		ev = LearnMAC{MAC: s.MAC()}
	case "traffic":
		ev = Traffic{Node: node.Name(word(0))}
	case "changed":
		ev = NetworkChanged{Reason: rest}
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
	return p.flush()
}

// flush returns the effects of the protocol core.
func (p *player) flush() []Effect {
	out := p.m.Flush(p.now)
	for _, e := range out {
		p.deliver(e)
		p.answer(e)
	}
	if p.watch != nil {
		p.watch(out)
	}
	return out
}

// answer has probes and PINGs answered, where that was asked for.
func (p *player) answer(e Effect) {
	var ev Event
	switch e := e.(type) {
	case Send:
		if p.pongs && (e.Text == "8" || strings.HasPrefix(e.Text, "8 ")) {
			ev = Request{Conn: e.Conn, Text: "9"}
		}
	case SendProbe:
		if pr, err := wire.ParseProbe(e.Data); err == nil && pr.Kind == wire.ProbeRequest && pr.Size <= p.paths[e.Addr] {
			ev = ProbeIn{Node: e.Node, Addr: e.Addr, Direct: true, Data: wire.AppendProbeReply(nil, 7, e.Data)}
		}
	}
	if ev != nil {
		p.coming = append(p.coming, answer{p.now.Add(answerDelay), ev})
	}
}

// deliver keeps the handshake requests of the protocol core for makeSession.
func (p *player) deliver(e Effect) {
	s, ok := e.(Send)
	if !ok {
		return
	}
	words := strings.Fields(s.Text)
	if len(words) < 4 || words[1] != string(p.self) || words[0] != "16" && (words[0] != "15" || words[3] != "15") {
		return
	}
	f := p.fake(node.Name(words[2]))
	f.inbox = append(f.inbox, s.Text)
}

func (p *player) fake(n node.Name) *fakePeer {
	f := p.peers[n]
	if f == nil {
		f = &fakePeer{}
		p.peers[n] = f
	}
	return f
}

// makeSession plays the other end of a session, over a connection, until both sides have
// nothing more to say. It answers the protocol core if that has begun, and begins otherwise.
func (p *player) makeSession(n node.Name, conn string) (effects []Effect) {
	f := p.fake(n)
	tell := func(text string) {
		effects = append(effects, p.input("request "+conn+" "+text)...)
	}
	answer := func(records ...[]byte) {
		for _, r := range records {
			tell(fmt.Sprintf("16 %s %s %s -1 -1 -1 0", n, p.self, b64.Encode(r)))
		}
	}
	begin := func(initiator bool, label []byte) []byte {
		d, kex, err := sptps.NewDatagram(sptps.Config{
			Initiator: initiator, Key: testKey(n), Peer: testKey(p.self).Public(),
			Label: label, Rand: rand.NewChaCha8([32]byte{2}),
		})
		if err != nil {
			p.t.Fatal(err)
		}
		f.session = d
		return kex
	}
	if len(f.inbox) == 0 {
		tell(fmt.Sprintf("15 %s %s 15 %s", n, p.self, b64.Encode(begin(true, sptps.LabelUDP(n, p.self)))))
	}
	for len(f.inbox) > 0 {
		words := strings.Fields(f.inbox[0])
		f.inbox = f.inbox[1:]
		if words[0] == "15" {
			kex := begin(false, sptps.LabelUDP(p.self, n))
			words[3] = words[4]
			answer(kex)
		}
		record, err := b64.Decode(words[3])
		if err != nil {
			p.t.Fatal(err)
		}
		if f.session == nil {
			continue
		}
		out, _, err := f.session.Handshake(record)
		if err != nil && !p.lenient {
			p.t.Fatalf("%s does not accept what the protocol core says: %v", n, err)
		}
		answer(out...)
	}
	return effects
}

// oldKey is the ANS_KEY by which a node of tinc 1.0 asks for a suite.
func (p *player) oldKey(n node.Name, words []string) string {
	suite := legacy.Suite{Cipher: legacy.AES256CBC, Digest: legacy.SHA256, MACLen: 4}
	for i, field := range []*int{&suite.Cipher, &suite.Digest, &suite.MACLen, &suite.Compression} {
		if i < len(words) {
			*field, _ = strconv.Atoi(words[i])
		}
	}
	key, err := legacy.NewLink(0).NewReceiveKey(rand.NewChaCha8([32]byte{3}), suite)
	if err != nil {
		p.t.Fatal(err)
	}
	return fmt.Sprintf("16 %s %s %s %d %d %d %d", n, p.self, key, suite.Cipher, suite.Digest, suite.MACLen, suite.Compression)
}

// testRSAKey is no real key: the protocol core only hands it on. Its modulus in base 62 is the name.
func testRSAKey(n node.Name) *keys.RSAPublicKey {
	k := &keys.RSAPublicKey{N: new(bignum.Int), E: 65537}
	if _, ok := k.N.SetString(string(n), 62); !ok {
		panic(n)
	}
	return k
}

// start makes the protocol core of a node: "NAME [OPTION]...".
func (p *player) start(words []string) {
	p.self = node.Name(words[0])
	p.coming, p.paths, p.pongs = nil, map[netip.AddrPort]int{}, false
	p.peers = map[node.Name]*fakePeer{}
	p.m = New(p.config(p.self, words[1:]), Deps{
		Rand:     rand.New(rand.NewPCG(1, 2)),
		Secrets:  rand.NewChaCha8([32]byte{1}),
		RouteMTU: func(netip.Addr) int { return p.routeMTU },
	}, p.now)
}

// config is the configuration of a node with the subnet 10.0.1.0/24 that has host files of bob
// (with an address), carol, dave and nokey (without a key), changed by options.
func (p *player) config(self node.Name, options []string) Config {
	cfg := Config{
		Name: self, Key: testKey(self), Port: 655, Broadcast: true,
		Hosts: map[node.Name]Host{"nokey": {}},
	}
	file := func(n node.Name) {
		if _, ok := cfg.Hosts[n]; n != self && !ok {
			k := testKey(n).Public()
			cfg.Hosts[n] = Host{Key: &k}
		}
	}
	address := func(n node.Name, a string) {
		h := cfg.Hosts[n]
		host, port, ok := strings.Cut(a, ":")
		if !ok {
			port = "655"
		}
		h.Addresses = append(h.Addresses, Endpoint{Host: host, Port: port})
		cfg.Hosts[n] = h
	}
	for _, n := range []node.Name{"bob", "carol", "dave"} {
		file(n)
	}
	address("bob", "bob.example")
	subnets := []string{"10.0.1.0/24"}
	for _, w := range options {
		key, value, _ := strings.Cut(w, "=")
		name, rest, _ := strings.Cut(value, "@")
		switch key {
		case "connect":
			cfg.ConnectTo = append(cfg.ConnectTo, node.Name(value))
		case "file": // NAME[@ADDRESS]
			file(node.Name(name))
			if rest != "" {
				address(node.Name(name), rest)
			}
		case "nofile":
			delete(cfg.Hosts, node.Name(value))
		case "newkey":
			h, k := cfg.Hosts[node.Name(value)], testKey(node.Name("other "+value)).Public()
			h.Key = &k
			cfg.Hosts[node.Name(value)] = h
		case "dropkey":
			h := cfg.Hosts[node.Name(value)]
			h.Key = nil
			cfg.Hosts[node.Name(value)] = h
		case "hostsubnet": // NAME@SUBNET
			h := cfg.Hosts[node.Name(name)]
			h.Subnets = append(h.Subnets, mustSubnet(p.t, rest))
			cfg.Hosts[node.Name(name)] = h
		case "subnet":
			subnets = append(subnets, value)
		case "nosubnet":
			subnets = nil
		case "macexpire":
			d, err := time.ParseDuration(value)
			if err != nil {
				p.t.Fatal(err)
			}
			cfg.MACExpire = d
		case "echoes":
			cfg.Echoes = true
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
		case "rsa":
			cfg.RSAKey = new(keys.RSAPrivateKey)
		case "noed25519":
			cfg.Key = nil
		case "oldfile": // NAME[@ADDRESS], with an RSA key and nothing else
			cfg.Hosts[node.Name(name)] = Host{RSAKey: testRSAKey(node.Name(name))}
			if rest != "" {
				address(node.Name(name), rest)
			}
		case "rsafile": // NAME, with an RSA key beside the other
			h := cfg.Hosts[node.Name(value)]
			h.RSAKey = testRSAKey(node.Name(value))
			cfg.Hosts[node.Name(value)] = h
		case "blowfish": // allowed with NAME
			h := cfg.Hosts[node.Name(value)]
			h.Policy.Blowfish = true
			cfg.Hosts[node.Name(value)] = h
		case "keyexpire":
			cfg.KeyExpire, _ = time.ParseDuration(value)
		case "route":
			p.routeMTU, _ = strconv.Atoi(value)
		default:
			p.t.Fatalf("option %q is not understood", w)
		}
	}
	for _, s := range subnets {
		cfg.Subnets = append(cfg.Subnets, mustSubnet(p.t, s))
	}
	return cfg
}

func mustSubnet(t *testing.T, text string) subnet.Subnet {
	s, err := subnet.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// published is the whole table after an effect has changed it.
func (p *player) published(e Effect) Routes {
	switch e := e.(type) {
	case PublishRoutes:
		p.routed = slices.Clone(e.Routes.Subnets)
		return e.Routes
	case ChangeRoutes:
		for _, o := range append(slices.Clone(e.Gone), e.Set...) {
			p.routed = slices.DeleteFunc(p.routed, func(x Owned) bool { return x.Subnet == o.Subnet && x.Owner == o.Owner })
		}
		p.routed = append(p.routed, e.Set...)
		slices.SortStableFunc(p.routed, func(a, b Owned) int {
			if a.Owner == "" || b.Owner == "" { // broadcast subnets come last, and stay as they are
				return cmp.Compare(b.Owner, a.Owner)
			}
			return compareOwned(a, b)
		})
		return Routes{Subnets: p.routed, Tree: e.Tree}
	}
	panic(e)
}

// describe writes an effect as a line of a transcript; "" for those that it leaves out.
func (p *player) describe(e Effect) string {
	switch e := e.(type) {
	case Dial:
		text := fmt.Sprintf("dial %d %s %s:%s", e.Conn, e.Node, e.To.Host, e.To.Port)
		for _, o := range e.Others {
			text += fmt.Sprintf(" %s:%s", o.Host, o.Port)
		}
		return text
	case SendLine:
		return fmt.Sprintf("line %d %s", e.Conn, e.Text)
	case Secure:
		return fmt.Sprintf("secure %d initiator=%t %q", e.Conn, e.Initiator, e.Label)
	case SecureLegacy:
		return fmt.Sprintf("secure as in tinc 1.0 %d initiator=%t key=%s", e.Conn, e.Initiator, e.PeerKey.N.Text(62))
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
		if e.Trap {
			return fmt.Sprintf("trap %d %s", e.Conn, e.Reason)
		}
		return fmt.Sprintf("close %d %s", e.Conn, e.Reason)
	case Attach:
		return fmt.Sprintf("attach %d %s", e.Conn, e.Node)
	case HandOver:
		return fmt.Sprintf("hand over %d", e.Conn)
	case SendProbe:
		pr, err := wire.ParseProbe(e.Data)
		if err != nil {
			return err.Error()
		}
		if e.TTL != 0 {
			return fmt.Sprintf("probe %s %s which dies after %d routers", e.Node, e.Addr, e.TTL)
		}
		return fmt.Sprintf("probe %s %s %s of %d", e.Node, e.Addr, [...]string{"request", "same", "reply"}[pr.Kind], pr.Size)
	case TunnelledData:
		return fmt.Sprintf("tunnelled %s %s by %s, %d bytes", e.From, e.To, e.Hop, len(e.Record))
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
			session := fmt.Sprint(p.Tunnel != nil)
			if p.Legacy != nil {
				session = fmt.Sprintf("old,send=%t,receive=%t", p.Legacy.CanSend(), p.Legacy.CanReceive())
				if p.PassOnly {
					session = "old,passonly"
				}
			}
			fmt.Fprintf(&b, "peer %s nexthop=%s via=%s conn=%d addr=%s confirmed=%t mtu=%d/%d session=%s",
				p.Node, p.NextHop, p.Via, p.Conn, p.Addr, p.Confirmed, p.MinMTU, p.MTU, session)
		}
		return b.String()
	case PublishRoutes, ChangeRoutes:
		var s []string
		r := p.published(e)
		for _, o := range r.Subnets {
			s = append(s, fmt.Sprintf("%s=%s", o.Subnet, o.Owner))
		}
		return fmt.Sprintf("routes %v tree %v", s, r.Tree)
	case NodeUp:
		return fmt.Sprintf("up %s", e.Node)
	case NodeDown:
		return fmt.Sprintf("down %s", e.Node)
	case SubnetUp:
		return fmt.Sprintf("subnet up %s %s", e.Owner, e.Subnet)
	case SubnetDown:
		return fmt.Sprintf("subnet down %s %s", e.Owner, e.Subnet)
	case KeyContested:
		return fmt.Sprintf("another key is claimed for %s, by way of %s", e.Node, e.From)
	case SaveLearned:
		if e.Gone {
			return fmt.Sprintf("forget the learned key of %s", e.Node)
		}
		return fmt.Sprintf("save learned key of %s, vouched for by %q", e.Node, e.By)
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

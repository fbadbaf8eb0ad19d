package flow

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/policy"
)

// Addresses of our node, alice, and of others.
const (
	alice4, bob4, carol4 = "10.0.0.1", "10.1.0.1", "10.2.0.1"
	alice6, bob6         = "fd00::1", "fd00:1::1"
)

const (
	syn    = packet.FlagSYN
	synAck = packet.FlagSYN | packet.FlagACK
	ack    = packet.FlagACK
	fin    = packet.FlagFIN | packet.FlagACK
	rst    = packet.FlagRST
)

// ip is an IP packet with what is in it.
func ip(src, dst string, proto uint8, payload []byte) []byte {
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	if s.Is4() {
		p := make([]byte, packet.IPv4Len, packet.IPv4Len+len(payload))
		p[0], p[8], p[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)+len(payload)))
		copy(p[12:], s.AsSlice())
		copy(p[16:], d.AsSlice())
		return append(p, payload...)
	}
	p := make([]byte, packet.IPv6Len, packet.IPv6Len+len(payload))
	p[0], p[6], p[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(p[4:], uint16(len(payload)))
	copy(p[8:], s.AsSlice())
	copy(p[24:], d.AsSlice())
	return append(p, payload...)
}

func ports(src, dst, size int) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(src))
	b = binary.BigEndian.AppendUint16(b, uint16(dst))
	return append(b, make([]byte, size-4)...)
}

func tcpHeader(src, dst int, flags uint8) []byte {
	b := ports(src, dst, packet.TCPLen)
	b[12], b[13] = 5<<4, flags
	return b
}

func tcp(src, dst string, srcPort, dstPort int, flags uint8) []byte {
	return ip(src, dst, packet.ProtoTCP, tcpHeader(srcPort, dstPort, flags))
}

func udpHeader(src, dst, payload int) []byte {
	b := ports(src, dst, packet.UDPLen+payload)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

func udp(src, dst string, srcPort, dstPort int) []byte {
	return ip(src, dst, packet.ProtoUDP, udpHeader(srcPort, dstPort, 4))
}

func icmp(src, dst string, typ uint8, id int, data ...byte) []byte {
	b := append([]byte{typ, 0, 0, 0, byte(id >> 8), byte(id), 0, 0}, data...)
	proto := packet.ProtoICMP
	if strings.Contains(src, ":") {
		proto = packet.ProtoICMPv6
	}
	return ip(src, dst, proto, b)
}

// station is alice's filter in a test.
type station struct {
	*Filter
	*Checker
	now   time.Duration
	peers map[node.Name]*Peer
}

func compile(t testing.TB, text string) *policy.Compiled {
	t.Helper()
	p, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	members := []policy.Member{
		{Name: "alice", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}},
		{Name: "bob", Groups: []string{"friends"}, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Name: "carol", Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}},
	}
	return p.Compile(policy.NewMembers(members), nil)
}

func newStation(t testing.TB, text string) *station {
	f := New("alice", [5]uint64{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93, 0xa0761d6478bd642f}, time.Time{})
	f.SetPolicy(compile(t, text))
	return &station{Filter: f, Checker: f.NewChecker(), now: time.Hour, peers: make(map[node.Name]*Peer)}
}

func (s *station) peer(name node.Name) *Peer {
	if s.peers[name] == nil && name != "" {
		s.peers[name] = &Peer{Name: name}
	}
	return s.peers[name]
}

func (s *station) in(from node.Name, p []byte) Verdict { return s.check(In, from, p) }
func (s *station) out(to node.Name, p []byte) Verdict  { return s.check(Out, to, p) }

func (s *station) check(dir Direction, name node.Name, p []byte) Verdict {
	peer := s.peer(name)
	v := s.Check(dir, peer, p, s.now)
	if v != Pass {
		s.Note(dir, peer, p, v, s.now)
	}
	return v
}

// step is one packet of a conversation between alice and bob.
type step struct {
	out  bool
	p    []byte
	want Verdict
}

// talk checks what becomes of packets, one after the other.
func (s *station) talk(t *testing.T, name string, steps ...step) {
	t.Helper()
	for i, step := range steps {
		got := Verdict(0)
		if step.out {
			got = s.out("bob", step.p)
		} else {
			got = s.in("bob", step.p)
		}
		if got != step.want {
			t.Errorf("%s: packet %d: %v instead of %v", name, i+1, got, step.want)
		}
	}
	s.audit(t)
}

// audit checks that what is counted is there.
func (s *station) audit(t *testing.T) {
	t.Helper()
	held := make(map[*Peer]int32)
	for i := range s.table.shards {
		sh := &s.table.shards[i]
		used := 0
		for j := range sh.entries {
			if e := &sh.entries[j]; e.space != 0 {
				held[e.peer]++
				used++
				if sh.find(s.table.hash(&e.key), &e.key, e.seen) != e {
					t.Errorf("an entry is not where it is looked for")
				}
			}
		}
		if used != sh.used {
			t.Errorf("a shard has %d entries and counts %d", used, sh.used)
		}
	}
	for _, p := range append(slices.Collect(maps.Values(s.peers)), &s.everyone) {
		if held[p] != p.held.Load() {
			t.Errorf("%s has %d entries, and %d are counted", p.Name, held[p], p.held.Load())
		}
	}
}

const (
	in  = false
	out = true
)

func TestWithoutAPolicyEverythingPasses(t *testing.T) {
	f := New("alice", [5]uint64{}, time.Time{})
	if v := f.NewChecker().Check(In, &Peer{Name: "bob"}, []byte{1}, 0); v != Pass || f.Active() {
		t.Error(v)
	}
}

func TestConnections(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		steps       []step
	}{
		{"who may connect gets answers", "allow bob -> alice tcp:22", []step{
			{in, tcp(bob4, alice4, 5000, 22, syn), Pass},
			{out, tcp(alice4, bob4, 22, 5000, synAck), Pass},
			{in, tcp(bob4, alice4, 5000, 22, ack), Pass},
			{out, tcp(alice4, bob4, 22, 5000, ack), Pass},
		}},
		{"over IPv6", "allow bob -> alice tcp:22", []step{
			{in, tcp(bob6, alice6, 5000, 22, syn), Pass},
			{out, tcp(alice6, bob6, 22, 5000, synAck), Pass},
			{in, tcp(bob6, alice6, 5000, 23, syn), NoRule},
		}},
		{"another port", "allow bob -> alice tcp:22", []step{
			{in, tcp(bob4, alice4, 5000, 23, syn), NoRule},
			{in, udp(bob4, alice4, 5000, 22), NoRule},
			{in, tcp(bob4, alice4, 22, 5000, syn), NoRule},
		}},
		{"the other direction", "allow bob -> alice tcp:22", []step{
			{out, tcp(alice4, bob4, 5000, 22, syn), NoRule},
		}},
		{"our connection is answered", "allow alice -> bob tcp:80", []step{
			{in, tcp(bob4, alice4, 80, 5000, synAck), NoFlow},
			{in, tcp(bob4, alice4, 80, 5000, ack), NoFlow},
			{out, tcp(alice4, bob4, 5000, 80, syn), Pass},
			{in, tcp(bob4, alice4, 80, 5000, synAck), Pass},
			{out, tcp(alice4, bob4, 5000, 80, ack), Pass},
			{in, tcp(bob4, alice4, 80, 5000, ack), Pass},
			{in, tcp(bob4, alice4, 80, 5001, ack), NoFlow},
			{in, tcp(bob4, alice4, 81, 5000, ack), NoFlow},
		}},
		{"who is answered may not connect by the same ports", "allow alice -> bob tcp:80", []step{
			{out, tcp(alice4, bob4, 5000, 80, syn), Pass},
			{in, tcp(bob4, alice4, 80, 5000, syn), NoRule},
			{in, tcp(bob4, alice4, 80, 5000, synAck), Pass},
			{in, tcp(bob4, alice4, 80, 5000, syn), NoRule},
			{in, tcp(bob4, alice4, 80, 5000, ack), Pass},
		}},
		{"if both may, the last SYN counts", "allow alice -> bob tcp\nallow bob -> alice tcp:5000", []step{
			{out, tcp(alice4, bob4, 5000, 80, syn), Pass},
			{in, tcp(bob4, alice4, 80, 5000, syn), Pass},
			{out, tcp(alice4, bob4, 5000, 80, synAck), Pass},
			{out, tcp(alice4, bob4, 5000, 80, syn), Pass},
		}},
		{"a SYN with ACK of ours opens nothing", "allow alice -> bob tcp", []step{
			{out, tcp(alice4, bob4, 22, 5000, synAck), Pass},
			{in, tcp(bob4, alice4, 5000, 22, ack), NoFlow},
		}},
		{"a RST of ours opens nothing", "allow alice -> bob tcp:80", []step{
			{out, tcp(alice4, bob4, 5000, 80, rst), Pass},
			{in, tcp(bob4, alice4, 80, 5000, ack), NoFlow},
		}},
		{"our connection from before is taken over if the rule names ports", "allow alice -> bob tcp:80", []step{
			{in, tcp(bob4, alice4, 80, 5000, ack), NoFlow},
			{out, tcp(alice4, bob4, 5000, 80, ack), Pass},
			{in, tcp(bob4, alice4, 80, 5000, ack), Pass},
		}},
		{"but not if it may be theirs", "allow alice -> bob tcp", []step{
			{out, tcp(alice4, bob4, 22, 5000, ack), Pass},
			{in, tcp(bob4, alice4, 5000, 22, ack), NoFlow},
		}},
		{"their connection from before is taken over", "allow bob -> alice tcp:22", []step{
			{in, tcp(bob4, alice4, 5000, 22, ack), Pass},
			{out, tcp(alice4, bob4, 22, 5000, ack), Pass},
		}},
		{"also if our side speaks first", "allow bob -> alice tcp:22", []step{
			{out, tcp(alice4, bob4, 22, 5000, ack), Pass},
			{out, tcp(alice4, bob4, 23, 5000, ack), NoFlow},
			{in, tcp(bob4, alice4, 5000, 22, ack), Pass},
		}},
		{"impossible flags", "allow * -> * *", []step{
			{in, tcp(bob4, alice4, 1, 2, 0), Malformed},
			{in, tcp(bob4, alice4, 1, 2, packet.FlagFIN), Malformed},
			{in, tcp(bob4, alice4, 1, 2, packet.FlagSYN|packet.FlagFIN), Malformed},
			{in, tcp(bob4, alice4, 1, 2, packet.FlagSYN|packet.FlagRST), Malformed},
			{in, tcp(bob4, alice4, 1, 2, packet.FlagFIN|packet.FlagPSH|packet.FlagURG), Malformed},
			{in, tcp(bob4, alice4, 1, 2, 0xff), Malformed},
		}},
		{"UDP", "allow alice -> bob udp:53", []step{
			{in, udp(bob4, alice4, 53, 5000), NoRule},
			{out, udp(alice4, bob4, 5000, 53), Pass},
			{in, udp(bob4, alice4, 53, 5000), Pass},
			{in, udp(bob4, alice4, 53, 5001), NoRule},
			{out, udp(alice4, bob4, 5000, 54), NoRule},
		}},
		{"other protocols", "allow alice -> bob 47\nallow bob -> alice 50", []step{
			{in, ip(bob4, alice4, 47, nil), NoRule},
			{out, ip(alice4, bob4, 47, nil), Pass},
			{in, ip(bob4, alice4, 47, nil), Pass},
			{in, ip(bob4, alice4, 50, []byte{1}), Pass},
			{in, ip(bob4, alice4, 51, []byte{1}), NoRule},
		}},
		{"SCTP", "allow bob -> alice sctp:7", []step{
			{in, ip(bob4, alice4, protoSCTP, ports(5, 7, 12)), Pass},
			{out, ip(alice4, bob4, protoSCTP, ports(7, 5, 12)), Pass},
			{in, ip(bob4, alice4, protoSCTP, ports(5, 8, 12)), NoRule},
			{in, ip(bob4, alice4, protoSCTP, ports(5, 7, 11)), Malformed},
		}},
		{"by group and by prefix", "allow group:friends -> 10.0.0.0/30 tcp:1\nallow 10.1.0.0/30 -> alice tcp:2", []step{
			{in, tcp(bob4, "10.0.0.2", 9, 1, syn), Pass},
			{in, tcp(bob4, "10.0.0.7", 9, 1, syn), NoRule},
			{in, tcp("10.1.0.2", alice4, 9, 2, syn), Pass},
			{in, tcp("10.1.0.7", alice4, 9, 2, syn), NoRule},
		}},
	} {
		newStation(t, c.rules).talk(t, c.name, c.steps...)
	}
}

func TestAnswersComeFromWhoWasAsked(t *testing.T) {
	s := newStation(t, "allow alice -> bob udp:53\nallow carol -> alice udp:5000")
	if v := s.out("bob", udp(alice4, bob4, 5000, 53)); v != Pass {
		t.Fatal(v)
	}
	if v := s.in("carol", udp(bob4, alice4, 53, 5000)); v != Pass { // the second rule
		t.Error(v)
	}
	if v := s.in("bob", udp(bob4, alice4, 53, 5000)); v != Pass { // which takes nothing from bob
		t.Error(v)
	}
	if v := s.in("carol", udp(bob4, alice4, 53, 5001)); v != NoRule {
		t.Error(v)
	}
	s.SetPolicy(compile(t, "allow alice -> * udp:53"))
	if v := s.in("carol", udp(bob4, alice4, 53, 5000)); v != NoRule {
		t.Error(v)
	}
	// The address is another node's from now on.
	if v := s.out("carol", udp(alice4, bob4, 5000, 53)); v != Pass {
		t.Error(v)
	}
	if v := s.in("carol", udp(bob4, alice4, 53, 5000)); v != Pass {
		t.Error(v)
	}
	s.audit(t)
}

func TestFlowsAreForgotten(t *testing.T) {
	open := []step{
		{out, tcp(alice4, bob4, 5000, 80, syn), Pass},
		{in, tcp(bob4, alice4, 80, 5000, synAck), Pass},
	}
	reply := tcp(bob4, alice4, 80, 5000, ack)
	for _, c := range []struct {
		name  string
		steps []step
		life  time.Duration
		reply []byte
	}{
		{"a connection that nobody answers", open[:1], tcpOpening, reply},
		{"a connection", open, tcpOpen, reply},
		{"one that one side has ended", append(open[:2:2], step{in, tcp(bob4, alice4, 80, 5000, fin), Pass}), tcpHalfway, reply},
		{"one that both have ended", append(open[:2:2], step{in, tcp(bob4, alice4, 80, 5000, fin), Pass},
			step{out, tcp(alice4, bob4, 5000, 80, fin), Pass}), tcpClosed, reply},
		{"one that was reset", append(open[:2:2], step{in, tcp(bob4, alice4, 80, 5000, rst), Pass}), tcpReset, reply},
		{"one that begins anew", append(open[:2:2], step{in, tcp(bob4, alice4, 80, 5000, rst), Pass}, open[0]), tcpOpening, reply},
		{"a datagram", []step{{out, udp(alice4, bob4, 5000, 53), Pass}}, udpOnce, udp(bob4, alice4, 53, 5000)},
		{"a datagram with an answer", []step{{out, udp(alice4, bob4, 5000, 53), Pass}, {in, udp(bob4, alice4, 53, 5000), Pass}},
			udpAnswered, udp(bob4, alice4, 53, 5000)},
		{"an echo", []step{{out, icmp(alice4, bob4, 8, 7), Pass}}, queryFor, icmp(bob4, alice4, 0, 7)},
		{"another protocol", []step{{out, ip(alice4, bob4, 47, nil), Pass}}, otherFor, ip(bob4, alice4, 47, nil)},
	} {
		s := newStation(t, "allow alice -> bob *")
		s.talk(t, c.name, c.steps...)
		seen := s.now
		s.now = seen + c.life*time.Second
		if v := s.in("bob", c.reply); v != Pass {
			t.Errorf("%s is forgotten too early: %v", c.name, v)
		}
		s = newStation(t, "allow alice -> bob *")
		s.talk(t, c.name, c.steps...)
		s.now = seen + (c.life+1)*time.Second
		if v := s.in("bob", c.reply); v == Pass {
			t.Errorf("%s is not forgotten", c.name)
		}
		s.audit(t)
	}
}

func TestLongFlowsStayKnown(t *testing.T) {
	s := newStation(t, "allow alice -> bob udp:53")
	for range 1000 { // the checker remembers it, but not so long that the table forgets
		s.now += 100 * time.Millisecond
		if v := s.out("bob", udp(alice4, bob4, 5000, 53)); v != Pass {
			t.Fatal(v)
		}
	}
	if v := s.in("bob", udp(bob4, alice4, 53, 5000)); v != Pass {
		t.Error(v)
	}
}

func TestICMP(t *testing.T) {
	quote := func(typ uint8, about []byte) []byte { return icmp(bob4, alice4, typ, 0, about...) }
	quote6 := func(typ uint8, about []byte) []byte { return icmp(bob6, alice6, typ, 0, about...) }
	mine, mine6 := tcp(alice4, bob4, 5000, 80, syn), tcp(alice6, bob6, 5000, 80, syn)
	open := []step{{out, mine, Pass}, {out, mine6, Pass}, {out, icmp(alice4, bob4, 8, 3), Pass}}
	rules := "allow alice -> bob tcp:80 icmp"
	long := func(p []byte) []byte { // claims to be longer than what is quoted
		q := append([]byte(nil), p...)
		binary.BigEndian.PutUint16(q[2:], 1400)
		return q
	}
	optioned := func() []byte { // with options, of which none matters
		p := append([]byte(nil), mine...)
		p[0] = 0x46
		return append(p[:20:20], append([]byte{1, 1, 1, 1}, p[20:]...)...)
	}
	with := func(p []byte, at int, b byte) []byte {
		q := append([]byte(nil), p...)
		q[at] = b
		return q
	}
	for _, c := range []struct {
		name string
		step
	}{
		{"the answer to an echo", step{in, icmp(bob4, alice4, 0, 3), Pass}},
		{"an answer to no echo", step{in, icmp(bob4, alice4, 0, 4), NoFlow}},
		{"an echo of the same id is no answer", step{in, icmp(bob4, alice4, 8, 3), NoRule}},
		{"a redirect", step{in, icmp(bob4, alice4, 5, 0, mine...), NoRule}},
		{"a router advertisement", step{in, icmp(bob6, alice6, 134, 0, make([]byte, 8)...), NoRule}},
		{"an error about our packet", step{in, quote(3, mine), Pass}},
		{"of which only the beginning is quoted", step{in, quote(3, long(mine[:28])), Pass}},
		{"time exceeded", step{in, quote(11, mine), Pass}},
		{"too big", step{in, quote6(2, mine6), Pass}},
		{"about an echo", step{in, quote(3, icmp(alice4, bob4, 8, 3)), Pass}},
		{"about a packet that was not sent", step{in, quote(3, tcp(alice4, bob4, 5001, 80, syn)), NoFlow}},
		{"about a packet of bob's own", step{in, quote(3, tcp(bob4, alice4, 80, 5000, syn)), NoFlow}},
		{"about another protocol", step{in, quote(3, udp(alice4, bob4, 5000, 80)), NoFlow}},
		{"about nothing", step{in, quote(3, nil), Malformed}},
		{"about garbage", step{in, quote(3, []byte("garbage garbage garbage garbage")), Malformed}},
		{"about too little", step{in, quote(3, long(mine[:27])), Malformed}},
		{"about a cut header", step{in, quote(3, mine[:19]), Malformed}},
		{"about another family", step{in, quote(3, mine6), Malformed}},
		{"about another family, the other way", step{in, quote6(1, mine), Malformed}},
		{"about an error", step{in, quote(3, icmp(alice4, bob4, 3, 0, mine...)), Malformed}},
		{"about a later fragment", step{in, quote(3, with(mine, 7, 9)), Malformed}},
		{"about one with options", step{in, quote(3, optioned()), Pass}},
		{"about a header that is longer than the packet", step{in, quote(3, with(mine, 0, 0x4f)), Malformed}},
		{"an unknown error of ICMPv6", step{in, quote6(100, mine6), Malformed}},
		{"ICMPv6 in IPv4", step{in, ip(bob4, alice4, packet.ProtoICMPv6, icmp(bob6, alice6, 128, 3)[40:]), Malformed}},
		{"ICMP in IPv6", step{in, ip(bob6, alice6, packet.ProtoICMP, icmp(bob4, alice4, 8, 3)[20:]), Malformed}},
		{"a short message", step{in, ip(bob4, alice4, packet.ProtoICMP, make([]byte, 7)), Malformed}},
	} {
		s := newStation(t, rules)
		s.talk(t, c.name, open...)
		s.talk(t, c.name, c.step)
	}
	s := newStation(t, "allow bob -> alice tcp:22")
	s.talk(t, "our errors about their packets",
		step{in, tcp(bob4, alice4, 5000, 22, syn), Pass},
		step{out, icmp(alice4, bob4, 3, 0, tcp(bob4, alice4, 5000, 22, syn)...), Pass},
		step{out, icmp(alice4, bob4, 3, 0, tcp(bob4, alice4, 5000, 23, syn)...), NoFlow})
	if v := s.in("carol", icmp(carol4, alice4, 3, 0, tcp(alice4, bob4, 22, 5000, ack)...)); v != Pass {
		t.Errorf("an error of a router in between: %v", v)
	}
	s = newStation(t, "allow bob -> alice icmp")
	s.talk(t, "everything by a rule",
		step{in, icmp(bob4, alice4, 8, 3), Pass},
		step{out, icmp(alice4, bob4, 0, 3), Pass},
		step{out, icmp(alice4, bob4, 8, 3), NoRule},
		step{in, icmp(bob4, alice4, 0, 9), Pass},
		step{in, icmp(bob4, alice4, 5, 3), Pass},
		step{in, quote(3, mine), Pass},
		step{in, quote(3, nil), Malformed})
}

// part makes a fragment of p's payload: from and to in bytes.
func part(p []byte, id uint16, from, to int) []byte {
	if p[0]>>4 == 4 {
		q := ip(alice4, bob4, p[9], p[20+from:20+to])
		copy(q[12:20], p[12:20])
		binary.BigEndian.PutUint16(q[4:], id)
		field := uint16(from / 8)
		if to < len(p)-20 {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(q[6:], field)
		return q
	}
	hdr := []byte{p[6], 0, 0, 0, 0, 0, byte(id >> 8), byte(id)}
	field := uint16(from)
	if to < len(p)-40 {
		field |= 1
	}
	binary.BigEndian.PutUint16(hdr[2:], field)
	q := ip(alice6, bob6, packet.ProtoFragment, append(hdr, p[40+from:40+to]...))
	copy(q[8:40], p[8:40])
	return q
}

func TestFragments(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		src, dst := bob4, alice4
		if v6 {
			src, dst = bob6, alice6
		}
		big := ip(src, dst, packet.ProtoUDP, udpHeader(5000, 53, 3000))
		other := ip(src, dst, packet.ProtoUDP, udpHeader(5000, 54, 3000))
		conn := ip(src, dst, packet.ProtoTCP, append(tcpHeader(5000, 53, syn), make([]byte, 1000)...))
		mine := ip(dst, src, packet.ProtoUDP, udpHeader(53, 5000, 3000))
		for _, c := range []struct {
			name  string
			steps []step
		}{
			{"in order", []step{
				{in, part(big, 1, 0, 1400), Pass}, {in, part(big, 1, 1400, 2800), Pass}, {in, part(big, 1, 2800, 3008), Pass},
			}},
			{"the first does not come first", []step{
				{in, part(big, 1, 1400, 2800), Fragment}, {in, part(big, 1, 0, 1400), Pass}, {in, part(big, 1, 2800, 3008), Pass},
			}},
			{"of another packet", []step{
				{in, part(big, 1, 0, 1400), Pass}, {in, part(big, 2, 1400, 2800), Fragment},
			}},
			{"the first is refused", []step{
				{in, part(other, 1, 0, 1400), NoRule}, {in, part(other, 1, 1400, 2800), Fragment},
			}},
			{"two first ones", []step{
				{in, part(big, 1, 0, 1400), Pass}, {in, part(other, 1, 0, 1400), NoRule}, {in, part(big, 1, 1400, 2800), Pass},
			}},
			{"one that reaches into the first", []step{
				{in, part(big, 1, 0, 1400), Pass}, {in, part(big, 1, 8, 2800), Fragment}, {in, part(big, 1, 1392, 2800), Fragment},
			}},
			{"a first one without the whole header", []step{
				{in, part(conn, 1, 0, 8), Malformed}, {in, part(conn, 1, 0, 16), Malformed}, {in, part(conn, 1, 8, 1000), Fragment},
			}},
			{"the flags come later", []step{
				{in, part(conn, 1, 0, 24), Pass}, {in, part(conn, 1, 8, 1000), Fragment}, {in, part(conn, 1, 24, 1000), Pass},
			}},
			{"in the other direction", []step{
				{in, part(big, 1, 0, 1400), Pass}, {out, part(mine, 1, 1400, 2800), Fragment},
				{out, part(mine, 1, 0, 1400), Pass}, {out, part(mine, 1, 1400, 2800), Pass},
			}},
			{"a piece that is no multiple of 8", []step{{in, part(big, 1, 0, 1401), Malformed}}},
			{"an empty piece", []step{{in, part(big, 1, 1400, 1400), Malformed}}},
		} {
			newStation(t, "allow bob -> alice udp:53 tcp:53").talk(t, fmt.Sprintf("%s, IPv6 %v", c.name, v6), c.steps...)
		}
		s := newStation(t, "allow * -> alice udp:53")
		s.talk(t, "of another node", step{in, part(big, 1, 0, 1400), Pass})
		if v := s.in("carol", part(big, 1, 1400, 2800)); v != Fragment {
			t.Errorf("a fragment of another node: %v", v)
		}
		s.now += (fragmentFor + 1) * time.Second
		s.talk(t, "too late", step{in, part(big, 1, 1400, 2800), Fragment})
	}
	// Beyond the longest packet.
	big := ip(bob4, alice4, packet.ProtoUDP, udpHeader(5000, 53, 3000))
	p := part(big, 1, 1400, 2800)
	binary.BigEndian.PutUint16(p[6:], 0x1fff)
	newStation(t, "allow * -> * *").talk(t, "beyond the end", step{in, part(big, 1, 0, 1400), Pass}, step{in, p, Malformed})
	// Two fragment headers.
	frag := []byte{packet.ProtoFragment, 0, 0, 0, 0, 0, 0, 1, packet.ProtoUDP, 0, 0, 0, 0, 0, 0, 1}
	newStation(t, "allow * -> * *").talk(t, "two fragment headers",
		step{in, ip(bob6, alice6, packet.ProtoFragment, append(frag, udpHeader(1, 53, 0)...)), Malformed})
	// A fragment that is all of the packet (RFC 6946).
	newStation(t, "allow * -> * udp:53").talk(t, "atomic",
		step{in, ip(bob6, alice6, packet.ProtoFragment, append([]byte{packet.ProtoUDP, 0, 0, 0, 0, 0, 0, 1}, udpHeader(1, 53, 0)...)), Pass},
		step{in, ip(bob6, alice6, packet.ProtoFragment, append([]byte{packet.ProtoUDP, 0, 0, 0, 0, 0, 0, 1}, udpHeader(1, 54, 0)...)), NoRule})
}

func TestExtensionHeaders(t *testing.T) {
	// chain puts extension headers in front of what is to port 22 or 23.
	chain := func(port int, protos ...uint8) []byte {
		var b []byte
		for i := range protos {
			next := packet.ProtoTCP
			if i+1 < len(protos) {
				next = protos[i+1]
			}
			b = append(b, next, 0, 0, 0, 0, 0, 0, 0)
		}
		return ip(bob6, alice6, protos[0], append(b, tcpHeader(5000, port, syn)...))
	}
	const hop, dest, route = packet.ProtoHopByHop, packet.ProtoDestOptions, packet.ProtoRouting
	with := func(p []byte, at int, b byte) []byte { p[at] = b; return p }
	for _, c := range []struct {
		name string
		p    []byte
		want Verdict
	}{
		{"one", chain(22, dest), Pass},
		{"one, another port", chain(23, dest), NoRule},
		{"several", chain(22, hop, dest, route, dest), Pass},
		{"several, another port", chain(23, hop, dest, route, dest), NoRule},
		{"eight", chain(22, dest, dest, dest, dest, dest, dest, dest, dest), Pass},
		{"nine", chain(22, dest, dest, dest, dest, dest, dest, dest, dest, dest), Malformed},
		{"hop-by-hop not at the beginning", chain(22, dest, hop), Malformed},
		{"hop-by-hop twice", chain(22, hop, hop), Malformed},
		{"a route that leads on", with(chain(22, route), 43, 1), Malformed},
		{"one that is longer than the packet", with(chain(22, dest), 41, 200), Malformed},
		{"one that ends in the transport header", with(chain(22, dest), 41, 1), Malformed},
		{"an authentication header is a protocol of its own", chain(22, 51), NoRule},
		{"nothing follows", with(chain(22, dest), 40, 59), NoRule},
		{"cut off", ip(bob6, alice6, dest, []byte{6, 0, 0}), Malformed},
		{"no transport header", ip(bob6, alice6, packet.ProtoTCP, nil), Malformed},
		{"shorter than it claims", chain(22, dest)[:60], Malformed},
		{"an address of IPv4 as the source", tcp("::ffff:10.1.0.1", alice6, 5000, 22, syn), Malformed},
		{"an address of IPv4 as the destination", tcp(bob6, "::ffff:10.0.0.1", 5000, 22, syn), Malformed},
		{"from a group", tcp("ff02::1", alice6, 5000, 22, syn), Malformed},
	} {
		newStation(t, "allow bob -> alice tcp:22").talk(t, c.name, step{in, c.p, c.want})
	}
}

func TestIPv4Headers(t *testing.T) {
	with := func(options ...byte) []byte {
		p := ip(bob4, alice4, packet.ProtoTCP, append(options, tcpHeader(5000, 22, syn)...))
		p[0] = 0x45 + byte(len(options)/4)
		return p
	}
	change := func(at int, b byte) []byte {
		p := tcp(bob4, alice4, 5000, 22, syn)
		p[at] = b
		return p
	}
	for _, c := range []struct {
		name string
		p    []byte
		want Verdict
	}{
		{"router alert", with(148, 4, 0, 0), Pass},
		{"padding", with(1, 1, 1, 0), Pass},
		{"a loose source route", with(131, 7, 4, 10, 0, 0, 9, 0), Malformed},
		{"a strict one after padding", with(1, 137, 7, 4, 10, 0, 0, 9), Malformed},
		{"one after the end counts for nobody", with(0, 131, 3, 4), Pass},
		{"an option without a length", with(1, 1, 1, 7), Malformed},
		{"an option of length 0", with(7, 0, 0, 0), Malformed},
		{"an option that is too long", with(7, 5, 0, 0), Malformed},
		{"a header of 16 bytes", change(0, 0x44), Malformed},
		{"a header longer than the packet", change(0, 0x4f), Malformed},
		{"shorter than it claims", change(3, 41), Malformed},
		{"shorter than its header", change(3, 19), Malformed},
		{"padding after its end", append(tcp(bob4, alice4, 5000, 22, syn), 0, 0), Pass},
		{"a TCP header of 16 bytes", change(32, 4<<4), Malformed},
		{"a TCP header that is too long", change(32, 6<<4), Malformed},
		{"a UDP length that is too long", func() []byte { p := udp(bob4, alice4, 5, 22); p[25] = 13; return p }(), Malformed},
		{"a UDP length that is too short", func() []byte { p := udp(bob4, alice4, 5, 22); p[25] = 7; return p }(), Malformed},
		{"from everybody", tcp("255.255.255.255", alice4, 5000, 22, syn), Malformed},
		{"from a group", tcp("224.0.0.1", alice4, 5000, 22, syn), Malformed},
		{"version 5", change(0, 0x55), Malformed},
		{"nothing", nil, Malformed},
	} {
		newStation(t, "allow bob -> alice tcp:22 udp:22").talk(t, c.name, step{in, c.p, c.want})
	}
}

func TestPacketsToMany(t *testing.T) {
	s := newStation(t, "allow bob -> alice udp:5353\nallow alice -> carol udp:5353")
	query := udp(alice4, "224.0.0.251", 5353, 5353)
	if v := s.Check(Out, nil, query, s.now); v != Pass { // carol may see it, who decides herself
		t.Error(v)
	}
	if v := s.Check(Out, nil, udp(alice4, "224.0.0.251", 5353, 5354), s.now); v != NoRule {
		t.Error(v)
	}
	s.talk(t, "multicast",
		step{in, udp(bob4, "224.0.0.251", 5353, 5353), Pass},
		step{in, udp(bob6, "ff02::fb", 5353, 5353), Pass},
		step{in, udp(bob4, "255.255.255.255", 68, 67), NoRule},
		step{in, udp("224.0.0.251", alice4, 5353, 5353), Malformed})
	if n := s.everyone.held.Load() + s.peer("bob").held.Load(); n != 0 {
		t.Errorf("%d flows are remembered", n)
	}
}

func TestFlowsWithWhoeverAnswers(t *testing.T) {
	s := newStation(t, "allow alice -> bob tcp:80 udp:53 icmp\nallow carol -> alice tcp:22")
	open := func() {
		for _, p := range [][]byte{tcp(alice4, bob4, 5000, 80, syn), udp(alice4, bob4, 5000, 53), icmp(alice4, bob4, 8, 3)} {
			if v := s.Check(Out, nil, p, s.now); v != Pass {
				t.Error(v)
			}
		}
	}
	open()
	if v := s.Check(Out, nil, tcp(alice4, bob4, 5000, 81, syn), s.now); v != NoRule { // nobody could be meant
		t.Error(v)
	}
	for _, p := range [][]byte{tcp(bob4, alice4, 80, 5000, synAck), udp(bob4, alice4, 53, 5000), icmp(bob4, alice4, 0, 3)} {
		if v := s.in("carol", p); v == Pass {
			t.Error("carol answers, to whom alice may not speak")
		}
		if v := s.in("bob", p); v != Pass {
			t.Errorf("bob's answer: %v", v)
		}
		if v := s.in("carol", p); v == Pass {
			t.Error("carol answers for bob")
		}
	}
	open() // it is still not known who has the address
	s.talk(t, "and then it is", step{out, tcp(alice4, bob4, 5000, 80, ack), Pass}, step{in, tcp(bob4, alice4, 80, 5000, ack), Pass},
		step{in, tcp(bob4, alice4, 80, 5000, syn), NoRule})
	if v := s.in("carol", tcp(carol4, alice4, 7, 22, syn)); v != Pass {
		t.Error(v)
	}
	if v := s.Check(Out, nil, tcp(alice4, carol4, 22, 7, synAck), s.now); v != Pass {
		t.Errorf("our answer to all: %v", v)
	}
	s.audit(t)
}

func TestFrames(t *testing.T) {
	s := newStation(t, "allow bob -> alice tcp:22\nallow carol -> alice *")
	frame := func(typ uint16, vlan bool, p []byte) ([]byte, int) {
		f := make([]byte, 12)
		if vlan {
			f = append(f, 0x81, 0, 0, 7)
		}
		f = binary.BigEndian.AppendUint16(f, typ)
		return append(f, p...), len(f)
	}
	nd := func(typ, hops uint8) []byte {
		p := icmp("fe80::1", "ff02::1:ff00:1", typ, 0, make([]byte, 16)...)
		p[7] = hops
		return p
	}
	mld := func(typ, hops uint8) []byte {
		p := ip("fe80::1", "ff02::16", packet.ProtoHopByHop, append([]byte{packet.ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0, typ}, make([]byte, 20)...))
		p[7] = hops
		return p
	}
	for _, c := range []struct {
		name string
		from node.Name
		typ  uint16
		p    []byte
		want Verdict
	}{
		{"ARP", "bob", packet.TypeARP, make([]byte, 28), Pass},
		{"a solicitation", "bob", packet.TypeIPv6, nd(135, 255), Pass},
		{"an advertisement", "bob", packet.TypeIPv6, nd(136, 255), Pass},
		{"one from afar", "bob", packet.TypeIPv6, nd(136, 254), NoRule},
		{"a router's advertisement", "bob", packet.TypeIPv6, nd(134, 255), NoRule},
		{"a redirect", "bob", packet.TypeIPv6, nd(137, 255), NoRule},
		{"a report of groups", "bob", packet.TypeIPv6, mld(143, 1), Pass},
		{"a report from afar", "bob", packet.TypeIPv6, mld(143, 2), NoRule},
		{"a router's advertisement with options before it", "bob", packet.TypeIPv6, mld(134, 255), NoRule},
		{"a connection", "bob", packet.TypeIPv4, tcp(bob4, alice4, 5000, 22, syn), Pass},
		{"another one", "bob", packet.TypeIPv4, tcp(bob4, alice4, 5000, 23, syn), NoRule},
		{"IPv4 that says it is IPv6", "bob", packet.TypeIPv6, tcp(bob4, alice4, 5000, 22, syn), Malformed},
		{"another type", "bob", 0x88cc, tcp(bob4, alice4, 5000, 22, syn), NoRule},
		{"another type of one who may", "carol", 0x88cc, []byte{1}, Pass},
		{"nothing in it", "carol", packet.TypeIPv4, nil, Malformed},
	} {
		for _, vlan := range []bool{false, true} {
			f, l2 := frame(c.typ, vlan, c.p)
			if v := s.CheckFrame(In, s.peer(c.from), f, l2, s.now); v != c.want {
				t.Errorf("%s: %v instead of %v", c.name, v, c.want)
			}
		}
	}
}

func TestANewPolicy(t *testing.T) {
	s := newStation(t, "allow bob -> alice tcp:22 udp:53\nallow alice -> bob tcp icmp")
	s.talk(t, "before",
		step{in, tcp(bob4, alice4, 5000, 22, syn), Pass},
		step{out, tcp(alice4, bob4, 22, 5000, synAck), Pass},
		step{in, udp(bob4, alice4, 5000, 53), Pass},
		step{out, tcp(alice4, bob4, 6000, 80, syn), Pass})
	s.SetPolicy(compile(t, "allow alice -> bob tcp icmp"))
	s.talk(t, "after",
		step{in, tcp(bob4, alice4, 5000, 22, ack), NoFlow},
		step{out, tcp(alice4, bob4, 22, 5000, ack), NoFlow}, // though alice may connect to bob: this is bob's connection
		step{in, tcp(bob4, alice4, 5000, 22, ack), NoFlow},
		step{out, icmp(alice4, bob4, 3, 0, tcp(bob4, alice4, 5000, 22, ack)...), Pass}, // by the rule
		step{in, icmp(bob4, alice4, 3, 0, tcp(alice4, bob4, 22, 5000, ack)...), NoFlow},
		step{in, udp(bob4, alice4, 5000, 53), NoRule},
		step{out, udp(alice4, bob4, 53, 5000), NoRule},
		step{in, tcp(bob4, alice4, 80, 6000, ack), Pass})
	s.now += time.Hour
	s.talk(t, "an hour later",
		step{out, tcp(alice4, bob4, 22, 5000, ack), NoFlow},
		step{in, tcp(bob4, alice4, 5000, 22, syn), NoRule},
		step{out, tcp(alice4, bob4, 22, 5000, syn), Pass}, // it is alice who connects now
		step{in, tcp(bob4, alice4, 5000, 22, synAck), Pass})
	s.SetPolicy(compile(t, "allow alice -> bob icmp"))
	s.talk(t, "nothing", step{in, tcp(bob4, alice4, 80, 6000, ack), NoFlow})
	s.SetPolicy(compile(t, "allow alice -> bob tcp"))
	s.talk(t, "and back", step{in, tcp(bob4, alice4, 80, 6000, ack), Pass})
	s.SetPolicy(nil)
	s.talk(t, "none", step{in, tcp(bob4, alice4, 1, 2, syn), Pass})
}

func TestWhatIsRefusedIsListed(t *testing.T) {
	s := newStation(t, "allow bob -> alice tcp:22")
	s.in("bob", tcp(bob4, alice4, 5000, 23, syn))
	s.in("bob", tcp(bob4, alice4, 5001, 23, syn))
	s.now += time.Second
	s.out("carol", udp(alice4, carol4, 5, 53))
	s.in("bob", []byte{1})
	var got []string
	for _, r := range s.Refused() {
		got = append(got, fmt.Sprint(r.Peer, " ", r.Dir, " ", r.Protocol, " ", r.Port, " ", r.Why, " ", r.Count))
	}
	want := "bob in * 0 malformed 1, carol out udp 53 no rule allows it 1, bob in tcp 23 no rule allows it 2"
	if strings.Join(got, ", ") != want {
		t.Errorf("%s", strings.Join(got, ", "))
	}
	// A scan of ports leaves room for what others do.
	for port := range 5000 {
		s.now += 20 * time.Millisecond
		s.in("bob", tcp(bob4, alice4, 5000, port+100, syn))
	}
	list, carols := s.Refused(), 0
	for _, r := range list {
		if r.Peer == "carol" {
			carols++
		}
	}
	if len(list) > maxRefusals || carols != 1 {
		t.Errorf("%d are listed, %d of carol", len(list), carols)
	}
}

func TestAFloodTakesNothingFromOthers(t *testing.T) {
	s := newStation(t, "allow * -> * *")
	honest := func(i int) []byte { return udp(alice4, bob4, 1000+i, 53) }
	const flows = 2000
	for i := range flows {
		if v := s.out("bob", honest(i)); v != Pass {
			t.Fatal(v)
		}
	}
	s.SetPolicy(compile(t, "allow alice -> bob udp:53\nallow carol -> alice udp")) // bob's answers need their flow
	random := rand.New(rand.NewPCG(1, 2))
	for range 150_000 {
		src := fmt.Sprintf("10.2.%d.%d", random.IntN(256), random.IntN(256))
		s.in("carol", udp(src, alice4, random.IntN(65536), random.IntN(65536)))
	}
	s.audit(t)
	if held := s.peer("carol").held.Load(); held < maxFlows/2 || held > maxFlows {
		t.Errorf("carol has %d flows", held)
	}
	lost := 0
	for i := range flows {
		if s.in("bob", udp(bob4, alice4, 53, 1000+i)) != Pass {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d flows of another node are lost", lost, flows)
	}
	// Others come in, though the table is full.
	for i := range flows {
		s.out("bob", udp(alice4, bob4, 10_000+i, 53))
	}
	for i := range flows {
		if s.in("bob", udp(bob4, alice4, 53, 10_000+i)) != Pass {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d new flows of another node found no room", lost, flows)
	}
	s.now += time.Hour
	for i := range 10_000 {
		s.out("bob", udp(alice4, bob4, 20_000+i, 53))
	}
	s.audit(t)
}

// TestNothingComesInUninvited: whatever the packets are, what comes in is allowed by a rule, or was asked for.
func TestNothingComesInUninvited(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	type pair struct {
		proto        string
		ours, theirs int
	}
	passed, asked := 0, make(map[pair]bool)
	s := newStation(t, "allow alice -> bob tcp:3 udp:3,4\nallow bob -> alice tcp:1 udp:1")
	other := s.NewChecker() // of another goroutine
	for range 60_000 {
		s.now += time.Duration(random.IntN(300)) * time.Millisecond
		s.Checker, other = other, s.Checker
		ours, theirs := random.IntN(5), random.IntN(5)
		flags := []uint8{syn, synAck, ack, ack, ack, fin, rst}[random.IntN(7)]
		proto := []string{"tcp", "udp"}[random.IntN(2)]
		p := pair{proto, ours, theirs}
		if random.IntN(2) == 0 {
			b := tcp(alice4, bob4, ours, theirs, flags)
			if proto == "udp" {
				b = udp(alice4, bob4, ours, theirs)
			}
			if s.out("bob", b) == Pass && (theirs == 3 || proto == "udp" && theirs == 4) && (proto == "udp" || flags == syn || flags&^packet.FlagFIN == ack) {
				asked[p] = true
			}
			continue
		}
		b := tcp(bob4, alice4, theirs, ours, flags)
		if proto == "udp" {
			b = udp(bob4, alice4, theirs, ours)
		}
		if s.in("bob", b) != Pass || ours == 1 {
			continue
		}
		passed++
		if !asked[p] || proto == "tcp" && flags == syn {
			t.Fatalf("%+v with flags %x came in", p, flags)
		}
	}
	if passed < 300 {
		t.Errorf("only %d answers came in", passed)
	}
}

func TestManyGoroutines(t *testing.T) {
	s := newStation(t, "allow alice -> * udp\nallow carol -> alice tcp")
	one, two := compile(t, "allow alice -> * udp"), compile(t, "allow alice -> bob udp:53")
	peers := []*Peer{s.peer("bob"), s.peer("carol")}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(g), 1))
			c := s.NewChecker()
			for i := range 10_000 {
				peer, now := peers[random.IntN(2)], time.Hour+time.Duration(i)*time.Millisecond
				port := random.IntN(2000)
				c.Check(Out, peer, udp(alice4, bob4, port, 53), now)
				c.Check(In, peer, udp(bob4, alice4, 53, port), now)
				c.Check(In, peer, icmp(bob4, alice4, 3, 0, udp(alice4, bob4, port, 53)...), now)
				if g == 0 && i%1000 == 0 {
					s.SetPolicy([]*policy.Compiled{one, two}[i/1000%2])
					s.Refused()
				}
			}
		})
	}
	wg.Wait()
	s.audit(t)
}

func FuzzCheck(f *testing.F) {
	for _, p := range [][]byte{
		tcp(bob4, alice4, 5000, 22, syn), udp(bob6, alice6, 5, 53), icmp(bob4, alice4, 3, 0, tcp(alice4, bob4, 9, 80, syn)...),
		part(ip(bob6, alice6, packet.ProtoUDP, udpHeader(5000, 53, 3000)), 1, 0, 1400),
		part(ip(bob4, alice4, packet.ProtoUDP, udpHeader(5000, 53, 3000)), 1, 1400, 2800),
		ip(bob6, alice6, packet.ProtoDestOptions, append([]byte{6, 0, 0, 0, 0, 0, 0, 0}, tcpHeader(5, 22, syn)...)),
	} {
		f.Add(p)
	}
	s := newStation(f, "allow bob -> alice tcp:22")
	f.Fuzz(func(t *testing.T, p []byte) {
		s.out("bob", p)
		frame := append(make([]byte, 14), p...)
		copy(frame[12:], []byte{8, 0})
		s.CheckFrame(Out, nil, frame, 14, s.now)
		fresh := New("alice", [5]uint64{1, 2, 3, 4, 5}, time.Time{})
		fresh.SetPolicy(s.current.Load().c)
		if fresh.NewChecker().Check(In, s.peer("bob"), p, s.now) != Pass {
			return
		}
		// Nothing but a connection to port 22 comes in, as others read the packet.
		h, ok := packet.Parse(p)
		if !ok || h.Proto != packet.ProtoTCP || h.Later {
			t.Fatalf("%x came in: %+v %v", p, h, ok)
		}
		if tcp, ok := packet.ParseTCP(p[h.Transport:h.Total]); !ok || tcp.Dst != 22 {
			t.Fatalf("%x came in: %+v %v", p, tcp, ok)
		}
	})
}

func TestNothingIsAllocated(t *testing.T) {
	s := newStation(t, "allow alice -> bob udp tcp")
	data, reply := tcp(alice4, bob4, 5000, 80, ack), tcp(bob4, alice4, 80, 5000, ack)
	s.out("bob", tcp(alice4, bob4, 5000, 80, syn))
	one := udp(alice4, bob4, 1, 53)
	for i := range 30_000 { // the table has grown
		binary.BigEndian.PutUint16(one[20:], uint16(i))
		s.out("bob", one)
	}
	i := 0
	n := testing.AllocsPerRun(5000, func() {
		i++
		s.now += time.Millisecond
		s.out("bob", data)
		s.in("bob", reply)
		binary.BigEndian.PutUint16(one[20:], uint16(40_000+i))
		s.out("bob", one)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	var rules strings.Builder
	for i := range 90 {
		fmt.Fprintf(&rules, "allow n%d -> alice tcp:%d\n", i, i)
	}
	rules.WriteString("allow alice -> bob tcp udp")
	b.Run("no policy", func(b *testing.B) {
		s := newStation(b, "")
		s.SetPolicy(nil)
		peer, p := s.peer("bob"), tcp(alice4, bob4, 5000, 80, ack)
		b.ReportAllocs()
		for b.Loop() {
			s.Check(Out, peer, p, s.now)
		}
	})
	for _, v := range []struct{ name, src, dst string }{{"IPv4", alice4, bob4}, {"IPv6", alice6, bob6}} {
		b.Run("one flow/"+v.name, func(b *testing.B) {
			s := newStation(b, rules.String())
			peer := s.peer("bob")
			s.out("bob", tcp(v.src, v.dst, 5000, 80, syn))
			p := tcp(v.src, v.dst, 5000, 80, ack)
			b.ReportAllocs()
			for b.Loop() {
				s.Check(Out, peer, p, s.now)
			}
		})
	}
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n, " flows"), func(b *testing.B) {
			s := newStation(b, rules.String())
			peer := s.peer("bob")
			list := make([][]byte, n)
			for i := range list {
				s.out("bob", tcp(alice4, bob4, 5000+i, 80, syn))
				list[i] = tcp(alice4, bob4, 5000+i, 80, ack)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				s.Check(Out, peer, list[i%n], s.now)
				i += 7
			}
		})
	}
	b.Run("new flows", func(b *testing.B) {
		s := newStation(b, rules.String())
		peer := s.peer("bob")
		p := udp(alice4, bob4, 0, 0)
		b.ReportAllocs()
		i := uint32(0)
		for b.Loop() {
			i += 0x9e3779b1
			binary.BigEndian.PutUint32(p[20:], i)
			s.Check(Out, peer, p, s.now)
		}
	})
	b.Run("refused", func(b *testing.B) {
		s := newStation(b, rules.String())
		peer := s.peer("carol")
		p := udp(carol4, alice4, 0, 0)
		b.ReportAllocs()
		i := uint32(0)
		for b.Loop() {
			i += 0x9e3779b1
			binary.BigEndian.PutUint32(p[20:], i)
			s.Check(In, peer, p, s.now)
		}
	})
}

package lab

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/packet"
)

// Passing is a packet of TCP or UDP that passes a link, as somebody on the way sees it.
type Passing struct {
	At       time.Time
	TCP      bool // else UDP
	From, To netip.AddrPort
	Payload  []byte // only valid during the call
}

// FlowOf is the same for all packets of one connection, in both directions.
type FlowOf struct {
	TCP  bool
	A, B netip.AddrPort // A is the smaller one
}

// Flow is the connection that p belongs to.
func (p *Passing) Flow() FlowOf {
	f := FlowOf{p.TCP, p.From, p.To}
	if p.To.Compare(p.From) < 0 {
		f.A, f.B = p.To, p.From
	}
	return f
}

// A Censor decides about each packet of TCP and UDP of a link, in both directions, whether it passes. Only one call runs at a time.
type Censor func(p *Passing) (pass bool)

// Watch has a censor look at all that a cable carries, and drop what it does not like; nil ends that. Other
// packets than those of TCP and UDP, and fragments, pass.
func (l *Link) Watch(c Censor) error {
	if l.cable == nil {
		return fmt.Errorf("watching the link between %s and %s: %w", l.host.name, l.router.name, ErrNoCable)
	}
	var one sync.Mutex
	watch := func(frame []byte) bool {
		p, ok := parsePassing(frame)
		if !ok {
			return true
		}
		one.Lock()
		defer one.Unlock()
		p.At = time.Now()
		return c(&p)
	}
	if c == nil {
		watch = nil
	}
	for _, t := range []*track{l.cable.toHost, l.cable.toRouter} {
		t.mu.Lock()
		t.watch = watch
		t.mu.Unlock()
	}
	return nil
}

func parsePassing(frame []byte) (p Passing, ok bool) {
	if len(frame) < etherHeader {
		return p, false
	}
	ip := frame[etherHeader:]
	h, ok := packet.Parse(ip)
	src, ok1 := packet.Src(ip)
	dst, ok2 := packet.Dst(ip)
	if !ok || !ok1 || !ok2 || h.Fragment || len(ip) < h.Transport+packet.UDPLen {
		return p, false
	}
	t := ip[h.Transport:max(h.Total, h.Transport)]
	switch {
	case h.Proto == packet.ProtoUDP && len(t) >= packet.UDPLen:
		p.Payload = t[packet.UDPLen:]
	case h.Proto == packet.ProtoTCP && len(t) >= packet.TCPLen:
		p.TCP = true
		p.Payload = t[min(max(int(t[12]>>4)*4, packet.TCPLen), len(t)):]
	default:
		return p, false
	}
	p.From = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
	p.To = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
	return p, true
}

// AllOf is a censor that lets pass what all of some let pass.
func AllOf(cs ...Censor) Censor {
	return func(p *Passing) bool {
		return !slices.ContainsFunc(cs, func(c Censor) bool { return !c(p) })
	}
}

// NoUDP lets no UDP pass.
func NoUDP(p *Passing) bool { return p.TCP }

// OnlyTCP lets pass only TCP to one port, and the answers.
func OnlyTCP(port uint16) Censor {
	return func(p *Passing) bool { return p.TCP && (p.To.Port() == port || p.From.Port() == port) }
}

// OnlyNames lets pass only TCP connections that begin with a greeting of TLS which asks for one of some names (SNI), in clear.
func OnlyNames(names ...string) Censor {
	flows := map[FlowOf]bool{}
	return func(p *Passing) bool {
		if !p.TCP {
			return false
		}
		f := p.Flow()
		allowed, known := flows[f]
		if !known && len(p.Payload) > 0 { // who connects speaks first
			allowed = slices.Contains(names, serverName(p.Payload))
			flows[f], known = allowed, true
		}
		return allowed || !known
	}
}

// serverName is the name that a greeting of TLS asks for (RFC 8446, 4.1.2; RFC 6066, 3), "" if there is none. The greeting may be cut
// off after it.
func serverName(b []byte) string {
	take := func(n int) (out []byte) {
		n = min(n, len(b))
		out, b = b[:n], b[n:]
		return out
	}
	number := func(size int) (n int) {
		for _, c := range take(size) {
			n = n<<8 | int(c)
		}
		return n
	}
	if number(1) != 0x16 { // handshake
		return ""
	}
	take(4)
	if number(1) != 1 { // client hello
		return ""
	}
	take(3 + 2 + 32)
	take(number(1)) // session
	take(number(2)) // ciphers
	take(number(1)) // compressions
	take(2)
	for len(b) >= 4 {
		kind, size := number(2), number(2)
		if kind != 0 {
			take(size)
			continue
		}
		take(3) // of the list, and of names of hosts
		return string(take(number(2)))
	}
	return ""
}

// SlowUDP drops UDP beyond so many bits a second.
func SlowUDP(rate int) Censor {
	left, last := float64(rate)/8, time.Time{}
	return func(p *Passing) bool {
		if p.TCP {
			return true
		}
		if !last.IsZero() {
			left = min(left+p.At.Sub(last).Seconds()*float64(rate)/8, float64(rate)/8)
		}
		last = p.At
		if left < float64(len(p.Payload)) {
			return false
		}
		left -= float64(len(p.Payload))
		return true
	}
}

// FrozenTCP lets pass so many bytes of each TCP connection, and nothing more of it.
func FrozenTCP(bytes int) Censor {
	passed := map[FlowOf]int{}
	return func(p *Passing) bool {
		if !p.TCP {
			return true
		}
		f := p.Flow()
		passed[f] += len(p.Payload)
		return passed[f] <= bytes
	}
}

// ConstantBytes blocks each flow of UDP that has a byte which is the same in the first so many datagrams of a direction,
// at one of the first offsets (from the start of the payload). It needs no knowledge of any protocol.
func ConstantBytes(datagrams, offsets int) Censor {
	type seen struct {
		first   []byte
		count   int
		varied  []bool
		blocked bool
	}
	flows := map[[2]netip.AddrPort]*seen{}
	return func(p *Passing) bool {
		if p.TCP {
			return true
		}
		key := [2]netip.AddrPort{p.From, p.To}
		s := flows[key]
		if s == nil {
			s = &seen{first: slices.Clone(p.Payload[:min(offsets, len(p.Payload))]), varied: make([]bool, offsets)}
			flows[key] = s
		}
		for i := range min(len(s.first), len(p.Payload)) {
			s.varied[i] = s.varied[i] || s.first[i] != p.Payload[i]
		}
		if s.count++; s.count == datagrams {
			s.blocked = slices.Contains(s.varied[:len(s.first)], false)
		}
		return !s.blocked
	}
}

// EvenFirstPacket blocks each flow of which the first packet looks like random bytes, by the rule that the Great Firewall has
// had for TCP (Wu et al., USENIX Security 2023): on average 3.4 to 4.6 bits of a byte are set, the first six bytes
// cannot all be printed, nor can half of all or twenty in a row, and it is neither TLS nor HTTP.
func EvenFirstPacket() Censor {
	flows := map[FlowOf]bool{}
	return func(p *Passing) bool {
		f := p.Flow()
		if blocked, known := flows[f]; known || len(p.Payload) == 0 {
			return !blocked
		}
		flows[f] = looksRandom(p.Payload)
		return !flows[f]
	}
}

func looksRandom(b []byte) bool {
	set, printable, inARow, most, first := 0, 0, 0, 0, 0
	for i, c := range b {
		set += bits.OnesCount8(c)
		if c < 0x20 || c > 0x7e {
			inARow = 0
			continue
		}
		printable++
		inARow++
		most = max(most, inARow)
		if i == first {
			first++
		}
	}
	mean := float64(set) / float64(len(b))
	tls := len(b) > 2 && (b[0] == 0x16 || b[0] == 0x17) && b[1] == 3 && b[2] <= 9
	return mean > 3.4 && mean < 4.6 && first < 6 && printable*2 <= len(b) && most <= 20 && !tls
}

// Observer notes what passes a link, and drops nothing.
type Observer struct{ flows map[FlowOf]*Observed }

// Observed is one flow, by what a filter could look at.
type Observed struct {
	FlowOf
	First     []byte            // the first payload
	Datagrams [][]byte          // the first 64 bytes of each of the first thousand datagrams, UDP only
	Sizes     map[int]int       // how often each size of a datagram below 512 bytes came
	Times     []time.Time       // when these came
	By        netip.AddrPort    // who sent First
	Heads     map[string][]byte // by direction ("from to"): the first 64 bytes of what was sent by TCP
}

// NewObserver returns one that has seen nothing.
func NewObserver() *Observer { return &Observer{flows: map[FlowOf]*Observed{}} }

// See is a [Censor] that lets everything pass.
func (o *Observer) See(p *Passing) bool {
	if len(p.Payload) == 0 {
		return true
	}
	f := p.Flow()
	s := o.flows[f]
	if s == nil {
		s = &Observed{FlowOf: f, First: slices.Clone(p.Payload), By: p.From, Sizes: map[int]int{}, Heads: map[string][]byte{}}
		o.flows[f] = s
	}
	if p.TCP {
		key := p.From.String() + " " + p.To.String()
		if n := 64 - len(s.Heads[key]); n > 0 {
			s.Heads[key] = append(s.Heads[key], p.Payload[:min(n, len(p.Payload))]...)
		}
		return true
	}
	if len(p.Payload) < 512 {
		s.Sizes[len(p.Payload)]++
		s.Times = append(s.Times, p.At)
	}
	if len(s.Datagrams) < 1000 {
		s.Datagrams = append(s.Datagrams, slices.Clone(p.Payload[:min(64, len(p.Payload))]))
	}
	return true
}

// Flows are those that were seen. The link must not be watched any more.
func (o *Observer) Flows() (list []*Observed) {
	for _, s := range o.flows {
		list = append(list, s)
	}
	return list
}

// Constant lists the offsets, among the first so many, at which all datagrams of at least two have the same byte in a direction.
func (s *Observed) Constant(offsets int) (list []int) {
	if len(s.Datagrams) < 2 {
		return nil
	}
	for i := range offsets {
		same := true
		for _, d := range s.Datagrams {
			same = same && i < len(d) && i < len(s.Datagrams[0]) && d[i] == s.Datagrams[0][i]
		}
		if same {
			list = append(list, i)
		}
	}
	return list
}

// Random tells whether the first packet looks like random bytes, see [EvenFirstPacket].
func (s *Observed) Random() bool { return looksRandom(s.First) }

// CommonSize is the size below 512 bytes that most datagrams have, and the share of these.
func (s *Observed) CommonSize() (size int, share float64) {
	all, most := 0, 0
	for n, count := range s.Sizes {
		all += count
		if count > most {
			size, most = n, count
		}
	}
	return size, float64(most) / float64(max(all, 1))
}

// Greets tells whether it is TCP that begins in clear as the connections of tinc do: "0 NAME 17.".
func (s *Observed) Greets() bool {
	for _, head := range s.Heads {
		var name string
		var minor int
		if n, _ := fmt.Sscanf(string(head), "0 %s 17.%d\n", &name, &minor); n == 2 {
			return true
		}
	}
	return false
}

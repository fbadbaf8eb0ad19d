// Package flow decides about the packets of one node by the policy of its network. The first packet of a flow is decided
// by the rules; what belongs to a flow that was allowed passes.
//
//   - A packet belongs to a flow if addresses, protocol and ports are the same, in either direction, and if it is exchanged
//     with the same peer.
//   - A TCP connection is opened by a SYN. Only the side whose SYN the rules allowed opens it: a SYN of the other side on the
//     same ports is decided by the rules. There is no check of sequence numbers: it is with the peer alone
//     that the connection is, and its packets are authenticated.
//   - An answer to a query of ICMP needs the query. An error of ICMP needs a flow with the packet that it quotes, in the
//     other direction, whoever sends it.
//   - Of a packet in fragments the first decides, and has to hold the transport header. The others follow if they
//     come after it, and do not reach into it.
//   - A packet that goes out to all nodes, since nobody knows who has its destination, opens a flow with the node that answers, if the
//     rules allow a flow to that one.
//   - What passes by a rule without being part of a flow is decided each time: packets to groups and to everybody, messages
//     of ICMP that are neither query nor error.
//   - What cannot be read is refused: a chain of more than 8 extension headers, routing headers and source routes that
//     lead on, impossible TCP flags, addresses of IPv4 in IPv6.
//
// When the policy changes each flow is decided again, at its next packet.
//
// A connection that was opened before its flow was known (the node was started anew, the flow was forgotten) is taken over in
// the middle: at the side that was dialled, by the rule that allows the connection; at the side
// that has dialled only if that rule names ports, since else nobody could tell who has opened it.
//
// [Filter] is what the goroutines of a node share: a table in shards with a lock each. [Checker] belongs to one goroutine and
// remembers the last flow, so a batch of packets of one flow costs one lookup. Nothing is allocated for a packet.
//
// Not here: where packets come from and go to (the data plane), and the rules (package policy).
package flow

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/node"
	"tincan/internal/packet"
	"tincan/internal/policy"
)

// Direction is where a packet goes, as our node sees it.
type Direction uint8

const (
	Out Direction = iota // from our device to a peer
	In                   // from a peer to our device
)

// String is "out" or "in".
func (d Direction) String() string {
	if d == In {
		return "in"
	}
	return "out"
}

// Peer is another node. It must not be copied, and stay the same as long as packets are exchanged with the node.
type Peer struct {
	Name node.Name
	held atomic.Int32 // entries of the table
}

// Verdict says whether a packet passes.
type Verdict uint8

// Verdicts.
const (
	Pass      Verdict = iota
	NoRule            // no rule allows the flow
	NoFlow            // it is none of a flow, and can open none: an answer without a question, part of an unknown connection
	Fragment          // a fragment whose first one has not come before, or that reaches into it
	Malformed         // it cannot be read, or hides where it goes
	verdicts
)

var verdictNames = [verdicts]string{
	"passed", "no rule allows it", "part of no flow", "fragment without its first one", "malformed",
}

// String is the verdict in words.
func (v Verdict) String() string {
	if v < verdicts {
		return verdictNames[v]
	}
	return "unknown verdict"
}

// Filter decides about the packets of one node. It is safe for concurrent use, by way of a [Checker] for each goroutine.
type Filter struct {
	self     node.Name
	start    time.Time
	current  atomic.Pointer[published]
	made     atomic.Uint32
	table    table
	mu       sync.Mutex // held while a policy or devices are set
	devices  map[netip.Addr]node.Name
	everyone Peer // who packets go to if it is not known who has their destination
	refusals refusals
}

// published is a policy in force.
type published struct {
	c       *policy.Compiled
	self    *policy.Sides
	devices map[policy.Addr]*policy.Sides // by address; nil: there are none
	made    uint32
}

// New makes a filter without a policy: everything passes. The secret must not be known to others. The times that the filter is
// given are counted from start.
func New(self node.Name, secret [5]uint64, start time.Time) *Filter {
	return &Filter{self: self, start: start, table: table{secret: secret}}
}

// SetPolicy replaces the policy; nil: everything passes, and nothing is remembered.
func (f *Filter) SetPolicy(c *policy.Compiled) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.publish(c)
}

// SetDevices says which names the rules use for what has some addresses, if it is on our side of the filter: devices that are no
// nodes. What is on the other side is told by its [Peer].
func (f *Filter) SetDevices(devices map[netip.Addr]node.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if maps.Equal(devices, f.devices) {
		return
	}
	f.devices = maps.Clone(devices)
	if p := f.current.Load(); p != nil {
		f.publish(p.c)
	}
}

// publish puts a policy in force. f.mu is held.
func (f *Filter) publish(c *policy.Compiled) {
	if c == nil {
		f.current.Store(nil)
		return
	}
	p := &published{c: c, self: c.Sides(f.self), made: f.made.Add(1)}
	if len(f.devices) > 0 {
		p.devices = make(map[policy.Addr]*policy.Sides, len(f.devices))
		for addr, name := range f.devices {
			p.devices[policy.AddrOf(addr)] = c.Sides(name)
		}
	}
	f.current.Store(p)
}

// Active tells whether there is a policy.
func (f *Filter) Active() bool { return f.current.Load() != nil }

// Uses is how many flows each rule has allowed, nil without a policy.
func (f *Filter) Uses() []policy.Use {
	if p := f.current.Load(); p != nil {
		return p.c.Uses()
	}
	return nil
}

// Checker asks a filter for one goroutine.
type Checker struct {
	f    *Filter
	last memo
}

// NewChecker makes one.
func (f *Filter) NewChecker() *Checker { return &Checker{f: f} }

// memo is a flow of which packets passed a moment ago, as it is in the headers of plain packets.
type memo struct {
	policy *published
	peer   *Peer
	until  time.Duration
	addrs  [4]uint64
	ports  uint32
	proto  uint8
	v6     bool
	dir    Direction
}

// memoFor is how long a packet passes only because the one before it did: so long the table does not hear of it.
const memoFor = time.Second

// plain returns the transport header of p and what follows it if p is a packet of TCP or UDP with nothing unusual in it, that
// changes nothing in the state of its flow.
func plain(p []byte) (t []byte, proto uint8, ok bool) {
	if len(p) < packet.IPv4Len+packet.UDPLen {
		return nil, 0, false
	}
	if p[0] == 0x45 {
		total := int(binary.BigEndian.Uint16(p[2:]))
		if total > len(p) || total < packet.IPv4Len+packet.UDPLen || binary.BigEndian.Uint16(p[6:])&0x3fff != 0 {
			return nil, 0, false
		}
		t, proto = p[packet.IPv4Len:total], p[9]
	} else {
		if p[0]>>4 != 6 || len(p) < packet.IPv6Len+packet.UDPLen {
			return nil, 0, false
		}
		total := packet.IPv6Len + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) || total < packet.IPv6Len+packet.UDPLen {
			return nil, 0, false
		}
		t, proto = p[packet.IPv6Len:total], p[6]
	}
	switch proto {
	case packet.ProtoTCP:
		if len(t) < packet.TCPLen || t[13]&(packet.FlagSYN|packet.FlagFIN|packet.FlagRST|packet.FlagACK) != packet.FlagACK {
			return nil, 0, false
		}
		hdr := int(t[12]>>4) * 4
		return t, proto, hdr >= packet.TCPLen && hdr <= len(t)
	case packet.ProtoUDP:
		n := int(binary.BigEndian.Uint16(t[4:]))
		return t, proto, n >= packet.UDPLen && n <= len(t)
	}
	return nil, 0, false
}

// has tells whether p, which is plain, is of that flow.
func (m *memo) has(p, t []byte, proto uint8) bool {
	if binary.LittleEndian.Uint32(t) != m.ports || proto != m.proto || (p[0]>>4 == 6) != m.v6 {
		return false
	}
	if !m.v6 {
		return binary.LittleEndian.Uint64(p[12:]) == m.addrs[0]
	}
	p = p[8:packet.IPv6Len]
	return binary.LittleEndian.Uint64(p) == m.addrs[0] && binary.LittleEndian.Uint64(p[8:]) == m.addrs[1] &&
		binary.LittleEndian.Uint64(p[16:]) == m.addrs[2] && binary.LittleEndian.Uint64(p[24:]) == m.addrs[3]
}

// set makes it the flow of p, which is plain.
func (m *memo) set(p, t []byte, proto uint8) {
	m.ports, m.proto, m.v6 = binary.LittleEndian.Uint32(t), proto, p[0]>>4 == 6
	if !m.v6 {
		m.addrs[0] = binary.LittleEndian.Uint64(p[12:])
		return
	}
	for i := range m.addrs {
		m.addrs[i] = binary.LittleEndian.Uint64(p[8+8*i:])
	}
}

// Check decides about an IP packet, or a super-packet of one flow, that is exchanged with a peer. peer is nil for a packet
// that goes out to everybody, or to where nobody knows; what comes in always has one. now is the time since the filter's
// start.
func (c *Checker) Check(dir Direction, peer *Peer, p []byte, now time.Duration) Verdict {
	policy := c.f.current.Load()
	if policy == nil {
		return Pass
	}
	t, proto, ok := plain(p)
	m := &c.last
	if ok && m.policy == policy && m.peer == peer && m.dir == dir && now < m.until && m.has(p, t, proto) {
		return Pass
	}
	v, kept := c.f.check(policy, dir, peer, p, now)
	if ok && kept {
		m.policy, m.peer, m.dir, m.until = policy, peer, dir, now+memoFor
		m.set(p, t, proto)
	}
	return v
}

// CheckFrame is Check for an Ethernet frame, of which l2 bytes are header and VLAN tags. ARP and what IPv6 has for it pass.
func (c *Checker) CheckFrame(dir Direction, peer *Peer, frame []byte, l2 int, now time.Duration) Verdict {
	policy := c.f.current.Load()
	if policy == nil {
		return Pass
	}
	if l2 < packet.EthernetLen || l2 >= len(frame) {
		return Malformed
	}
	p := frame[l2:]
	switch typ := binary.BigEndian.Uint16(frame[l2-2:]); typ {
	case packet.TypeARP:
		return Pass
	case packet.TypeIPv4, packet.TypeIPv6:
		if want, ok := packet.EtherTypeOf(p); !ok || want != typ {
			return Malformed
		}
		if typ == packet.TypeIPv6 && discovery(p) {
			return Pass
		}
		return c.Check(dir, peer, p, now)
	}
	from, to := policy.sides(dir, peer)
	d := policy.c.DecideFrame(from, to)
	if !d.Allowed() {
		return NoRule
	}
	d.Count()
	return Pass
}

// discovery tells whether an IPv6 packet is one without which nobody on a link finds the others, and switches not the members of
// groups: solicitations, neighbour advertisements (RFC 4861), and reports of groups (RFC 2710, RFC 3810).
func discovery(p []byte) bool {
	d, ok := parse(p)
	if !ok || d.kind != message || d.proto != packet.ProtoICMPv6 || d.fragment != whole {
		return false
	}
	switch typ := d.data[0]; typ {
	case 133, 135, 136:
		return d.hops == 255 && d.plain
	case 130, 131, 132, 143:
		return d.hops == 1
	}
	return false
}

// sides are what the rules say of the two ends of a packet.
func (p *published) sides(dir Direction, peer *Peer) (from, to *policy.Sides) {
	other := p.c.Anybody()
	if peer != nil && peer.Name != "" {
		other = p.c.Sides(peer.Name)
	}
	if dir == In {
		return other, p.self
	}
	return p.self, other
}

// decide asks the rules about a flow that is opened in a direction.
func (p *published) decide(opener Direction, peer *Peer, k *key) policy.Decision {
	from, to := p.sides(opener, peer)
	if device := p.devices[k.local]; device != nil {
		if opener == In {
			to = device
		} else {
			from = device
		}
	}
	src, dst, port := k.local, k.remote, k.remotePort
	if opener == In {
		src, dst, port = k.remote, k.local, k.localPort
	}
	proto := policy.OfIP(k.proto)
	if !proto.HasPorts() {
		port = 0
	}
	return p.c.Decide(from, to, src, dst, proto, port)
}

// keyOf is the key of the flow that a packet in a direction belongs to.
func (d *parsed) keyOf(dir Direction) key {
	k := key{local: d.src, remote: d.dst, localPort: d.srcPort, remotePort: d.dstPort, proto: d.proto, space: flows}
	if dir == In {
		k.local, k.remote, k.localPort, k.remotePort = d.dst, d.src, d.dstPort, d.srcPort
	}
	if d.kind == query || d.kind == answer {
		k.space = queriesOut
		if (d.kind == query) == (dir == In) {
			k.space = queriesIn
		}
	}
	return k
}

// check is Check without what the checker remembers. kept tells that the flow is in the table.
func (f *Filter) check(policy *published, dir Direction, peer *Peer, p []byte, now time.Duration) (v Verdict, kept bool) {
	d, ok := parse(p)
	if !ok {
		return Malformed, false
	}
	second := uint32(now / time.Second)
	owner := peer
	if owner == nil {
		owner = &f.everyone
	}
	if d.fragment == later {
		if !f.follows(dir, owner, &d, second) {
			return Fragment, false
		}
		return Pass, false
	}
	switch {
	case d.kind == icmpError:
		v = f.about(policy, dir, peer, &d, second)
	case d.group || d.kind == message:
		v = policy.once(dir, peer, &d)
	default:
		v, kept = f.flow(policy, dir, owner, &d, second)
	}
	if v != Pass {
		return v, false
	}
	if d.fragment == first {
		f.remember(dir, owner, &d, second)
	}
	return Pass, kept
}

// once decides about a packet that belongs to no flow.
func (p *published) once(dir Direction, peer *Peer, d *parsed) Verdict {
	k := d.keyOf(dir)
	allowed := p.decide(dir, peer, &k)
	if !allowed.Allowed() {
		if d.kind == answer {
			return NoFlow
		}
		return NoRule
	}
	allowed.Count()
	return Pass
}

// about decides about an ICMP error: it passes with the flow of the packet that it quotes.
func (f *Filter) about(p *published, dir Direction, peer *Peer, d *parsed, now uint32) Verdict {
	quoted, ok := parseQuoted(d.data[icmpLen:])
	if !ok || quoted.v6 != d.v6 {
		return Malformed
	}
	other := Out
	if dir == Out {
		other = In
	}
	k := quoted.keyOf(other)
	hash := f.table.hash(&k)
	s := f.table.of(hash)
	s.Lock()
	e := s.find(hash, &k, now)
	known := e != nil && e.still(p)
	s.Unlock()
	if known {
		return Pass
	}
	if v := p.once(dir, peer, d); v != Pass {
		return NoFlow
	}
	return Pass
}

// flow decides about a packet that belongs to a flow or opens one. kept tells that the flow is in the table.
func (f *Filter) flow(p *published, dir Direction, peer *Peer, d *parsed, now uint32) (v Verdict, kept bool) {
	k := d.keyOf(dir)
	hash := f.table.hash(&k)
	s := f.table.of(hash)
	s.Lock()
	defer s.Unlock()
	e := s.find(hash, &k, now)
	if e != nil && e.peer == &f.everyone && e.opener == Out && e.peer != peer && p.decide(Out, peer, &k).Allowed() {
		e.move(peer) // it was not known whose the address is
	}
	opens := k.proto != packet.ProtoTCP || d.flags&(packet.FlagSYN|packet.FlagACK) == packet.FlagSYN
	if e != nil && (e.peer == peer || dir == Out && peer == &f.everyone) {
		switch {
		case e.still(p) && (dir == e.opener || !opens || k.proto != packet.ProtoTCP):
			e.saw(dir, d, opens)
			e.seen = now
			return Pass, true
		case k.proto == packet.ProtoTCP && !opens:
			e.seen = now
			return NoFlow, false
		}
	}

	allowed := p.decide(dir, peer, &k)
	opener, keep := dir, opens
	switch {
	case d.kind == answer:
		keep = false
	case opens:
	case d.flags&(packet.FlagSYN|packet.FlagRST) != 0: // by a SYN with ACK our side answers, by a RST it ends
	case allowed.Allowed():
		keep = dir == In || allowed.NamesPorts()
	}
	if !allowed.Allowed() {
		if d.kind == answer {
			return NoFlow, false
		}
		if opens {
			return NoRule, false
		}
		// What our side answers to whom it may answer: the flow has been forgotten.
		if dir == In {
			return NoFlow, false
		}
		if allowed = p.decide(In, peer, &k); !allowed.Allowed() {
			return NoFlow, false
		}
		opener, keep = In, true
	}
	allowed.Count()
	if !keep {
		return Pass, false
	}
	if e != nil {
		if e.peer != peer && dir == In { // who has the flow keeps it
			return Pass, false
		}
		s.remove(e)
	}
	if e = s.insert(&f.table, hash, &k, peer, now); e == nil {
		return Pass, false
	}
	e.opener, e.made = opener, p.made
	e.saw(dir, d, opens)
	return Pass, true
}

// still tells whether a flow is allowed; by a policy that is newer than the last decision that is decided again.
func (e *entry) still(p *published) bool {
	if e.made != p.made {
		e.made = p.made
		e.state &^= refused
		if !p.decide(e.opener, e.peer, &e.key).Allowed() {
			e.state |= refused
		}
	}
	return e.state&refused == 0
}

// saw takes note of a packet of the flow.
func (e *entry) saw(dir Direction, d *parsed, opens bool) {
	fin := finOpener
	if dir != e.opener {
		e.state |= answered
		fin = finOther
	}
	if e.proto != packet.ProtoTCP {
		return
	}
	switch {
	case opens:
		e.state = 0
	case d.flags&packet.FlagRST != 0:
		e.state |= reset
	case d.flags&packet.FlagFIN != 0:
		e.state |= fin
	}
}

// Times in seconds after which what was seen last is forgotten.
const (
	tcpOpening  = 60
	tcpOpen     = 7440 // RFC 5382, REQ-5
	tcpHalfway  = 600  // one side has ended it
	tcpClosed   = 60
	tcpReset    = 10
	udpOnce     = 30
	udpAnswered = 180 // RFC 4787, REQ-5
	queryFor    = 30
	otherFor    = 600
	fragmentFor = 30 // RFC 791 says 15, RFC 8200 says 60
)

// expired tells whether the entry counts no more.
func (e *entry) expired(now uint32) bool {
	life := uint32(otherFor)
	switch {
	case e.space == fragmentsIn || e.space == fragmentsOut:
		life = fragmentFor
	case e.space != flows:
		life = queryFor
	case e.proto == packet.ProtoTCP:
		switch {
		case e.state&refused != 0:
			life = tcpOpen
		case e.state&reset != 0:
			life = tcpReset
		case e.state&(finOpener|finOther) == finOpener|finOther:
			life = tcpClosed
		case e.state&(finOpener|finOther) != 0:
			life = tcpHalfway
		case e.state&answered != 0:
			life = tcpOpen
		default:
			life = tcpOpening
		}
	case e.proto == packet.ProtoUDP:
		life = udpOnce
		if e.state&answered != 0 {
			life = udpAnswered
		}
	}
	return now-e.seen > life && now > e.seen
}

// fragmentKey is the key of the fragments of a packet.
func (d *parsed) fragmentKey(dir Direction) key {
	k := key{local: d.src, remote: d.dst, localPort: uint16(d.id >> 16), remotePort: uint16(d.id), space: fragmentsOut}
	if dir == In {
		k.local, k.remote, k.space = d.dst, d.src, fragmentsIn
	}
	if !d.v6 {
		k.proto = d.proto // of IPv6 a later fragment does not say what the first was
	}
	return k
}

// remember lets the fragments pass that follow the first one d.
func (f *Filter) remember(dir Direction, peer *Peer, d *parsed, now uint32) {
	k := d.fragmentKey(dir)
	hash := f.table.hash(&k)
	s := f.table.of(hash)
	s.Lock()
	defer s.Unlock()
	if e := s.find(hash, &k, now); e != nil {
		if e.peer != peer {
			return
		}
		s.remove(e)
	}
	if e := s.insert(&f.table, hash, &k, peer, now); e != nil {
		e.offset = d.offset
	}
}

// follows tells whether a fragment follows a first one that has passed.
func (f *Filter) follows(dir Direction, peer *Peer, d *parsed, now uint32) bool {
	k := d.fragmentKey(dir)
	hash := f.table.hash(&k)
	s := f.table.of(hash)
	s.Lock()
	defer s.Unlock()
	e := s.find(hash, &k, now)
	return e != nil && e.peer == peer && d.offset >= e.offset
}

package policy

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"tincan/internal/node"
)

// Compiled is a policy made for quick decisions: what each rule says of a member, of an address, and of a protocol and
// port, are sets of rules, of which a decision is the intersection. It is immutable apart from what it counts, and safe
// for concurrent use.
type Compiled struct {
	policy  *Policy
	lines   []int           // by rule
	named   set             // rules that name ports
	uses    []atomic.Uint64 // by rule
	members map[node.Name]*Sides
	other   *Sides // of nodes that are no members, and that no rule names
	anybody *Sides // for a destination that is not known: every rule may be about it

	src4, src6, dst4, dst6 *table                  // by address
	services               [AnyProtocol + 1]*table // by destination port
}

// Sides are what the rules say of one node, as the source and as the destination of flows.
type Sides struct{ from, to set }

// set is a set of rules.
type set []uint64

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s set) or(other set) {
	for i := range other {
		s[i] |= other[i]
	}
}

// Addr is an IP address in the form in which addresses are compared: IPv4 as ::ffff:a.b.c.d, which no packet of IPv6 may have.
type Addr struct{ Hi, Lo uint64 }

// AddrOf is addr in that form.
func AddrOf(addr netip.Addr) Addr {
	b := addr.As16()
	return Addr{be(b[:8]), be(b[8:])}
}

// Netip is the address as package netip has it.
func (a Addr) Netip() netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(a.Hi>>(56-8*i)), byte(a.Lo>>(56-8*i))
	}
	return netip.AddrFrom16(b).Unmap()
}

func be(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// is4 tells whether it is an address of IPv4.
func (a Addr) is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

func (a Addr) compare(b Addr) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

// table says which rules are about a value: an address, or a port. sets[i] goes for those from first[i] to before the next.
type table struct {
	first []Addr // the first is zero
	sets  []set
}

// span are the values from first to last, which a rule is about.
type span struct {
	first, last Addr
	rule        int
}

func newTable(spans []span, newSet func() set) *table {
	t := &table{first: []Addr{{}}}
	for _, s := range spans {
		t.first = append(t.first, s.first)
		if next := s.last.next(); next != (Addr{}) {
			t.first = append(t.first, next)
		}
	}
	slices.SortFunc(t.first, Addr.compare)
	t.first = slices.Compact(t.first)
	for range t.first {
		t.sets = append(t.sets, newSet())
	}
	for _, s := range spans {
		at, _ := slices.BinarySearchFunc(t.first, s.first, Addr.compare)
		for ; at < len(t.first) && t.first[at].compare(s.last) <= 0; at++ {
			t.sets[at].add(s.rule)
		}
	}
	return t
}

// next is the value after a, zero after the last.
func (a Addr) next() Addr {
	a.Lo++
	if a.Lo == 0 {
		a.Hi++
	}
	return a
}

// at is the set of rules about a value.
func (t *table) at(a Addr) set {
	lo, hi := 0, len(t.first) // first[lo] <= a < first[hi]
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if f := &t.first[mid]; f.Hi < a.Hi || f.Hi == a.Hi && f.Lo <= a.Lo {
			lo = mid
		} else {
			hi = mid
		}
	}
	return t.sets[lo]
}

// Compile prepares a policy for decisions about the members and others. What it counts goes on where before, which may be
// nil, is if that was made of the same policy.
func (p *Policy) Compile(m *Members, before *Compiled) *Compiled {
	words := (len(p.Rules) + 63) / 64
	newSet := func() set { return make(set, words) }
	c := &Compiled{
		policy:  p,
		lines:   make([]int, len(p.Rules)),
		named:   newSet(),
		uses:    make([]atomic.Uint64, len(p.Rules)),
		members: make(map[node.Name]*Sides, len(m.list)),
		other:   &Sides{newSet(), newSet()},
		anybody: &Sides{newSet(), newSet()},
	}
	if before != nil && before.policy == p {
		c.uses = before.uses
	}
	names := make(map[node.Name]*Sides)
	groups := make(map[string]*Sides)
	var src4, src6, dst4, dst6 []span
	for i := range p.Rules {
		r := &p.Rules[i]
		c.lines[i] = r.Line
		side := func(list []Selector, of func(*Sides) set, v4, v6 *[]span) {
			for _, s := range list {
				switch {
				case s.Any:
					of(c.other).add(i)
				case s.Name != "":
					of(entry(names, s.Name, newSet)).add(i)
				case s.Group != "":
					of(entry(groups, s.Group, newSet)).add(i)
				case s.Prefix.Addr().Is4():
					*v4 = append(*v4, span{AddrOf(s.Prefix.Addr()), AddrOf(lastOf(s.Prefix)), i})
				default:
					*v6 = append(*v6, span{AddrOf(s.Prefix.Addr()), AddrOf(lastOf(s.Prefix)), i})
				}
			}
			of(c.anybody).add(i)
		}
		side(r.From, func(s *Sides) set { return s.from }, &src4, &src6)
		side(r.To, func(s *Sides) set { return s.to }, &dst4, &dst6)
		if !slices.ContainsFunc(r.Services, func(s Service) bool { return len(s.Ports) == 0 }) {
			c.named.add(i)
		}
	}
	c.src4, c.src6 = newTable(src4, newSet), newTable(src6, newSet)
	c.dst4, c.dst6 = newTable(dst4, newSet), newTable(dst6, newSet)
	for i := range m.list {
		of := &m.list[i]
		if c.members[of.Name] != nil {
			continue
		}
		s := &Sides{slices.Clone(c.other.from), slices.Clone(c.other.to)}
		s.add(names[of.Name])
		for _, g := range of.Groups {
			s.add(groups[g])
		}
		c.members[of.Name] = s
	}
	for name, named := range names {
		if c.members[name] == nil {
			named.add(c.other)
			c.members[name] = named
		}
	}
	c.compileServices(p.Rules, newSet)
	return c
}

// entry is what a map has for a key, made if there is nothing.
func entry[K comparable](m map[K]*Sides, key K, newSet func() set) *Sides {
	if m[key] == nil {
		m[key] = &Sides{newSet(), newSet()}
	}
	return m[key]
}

// add adds what the rules say of something that the node has, too; nil: nothing.
func (s *Sides) add(other *Sides) {
	if other != nil {
		s.from.or(other.from)
		s.to.or(other.to)
	}
}

// compileServices fills c.services. Protocols that no rule names share what goes for any.
func (c *Compiled) compileServices(rules []Rule, newSet func() set) {
	var named [AnyProtocol + 1]bool
	for i := range rules {
		for _, s := range rules[i].Services {
			named[s.Protocol] = true
		}
	}
	named[AnyProtocol] = true
	for p := range named {
		if named[p] {
			c.services[p] = portsOf(rules, Protocol(p), newSet)
		}
	}
	for p := range named {
		if !named[p] {
			c.services[p] = c.services[AnyProtocol]
		}
	}
}

// portsOf makes the table of one protocol.
func portsOf(rules []Rule, p Protocol, newSet func() set) *table {
	var spans []span
	for i := range rules {
		for _, s := range rules[i].Services {
			switch {
			case s.Protocol == AnyProtocol || s.Protocol == p && len(s.Ports) == 0:
				spans = append(spans, span{Addr{}, Addr{Lo: 0xffff}, i})
			case s.Protocol == p:
				for _, r := range s.Ports {
					spans = append(spans, span{Addr{Lo: uint64(r.First)}, Addr{Lo: uint64(r.Last)}, i})
				}
			}
		}
	}
	return newTable(spans, newSet)
}

// Sides are what the rules say of a node.
func (c *Compiled) Sides(name node.Name) *Sides {
	if s := c.members[name]; s != nil {
		return s
	}
	return c.other
}

// Anybody stands for a destination that is not known: what may go to somebody may go there.
func (c *Compiled) Anybody() *Sides { return c.anybody }

// Decision is what the rules say of a flow.
type Decision struct {
	rule int // from 1; 0: none
	c    *Compiled
}

// Allowed tells whether the flow is allowed.
func (d Decision) Allowed() bool { return d.rule > 0 }

// Line is the line of the rule that allows it, 0 if none does.
func (d Decision) Line() int {
	if d.rule == 0 {
		return 0
	}
	return d.c.lines[d.rule-1]
}

// NamesPorts tells whether the rule that allows it is about certain ports only.
func (d Decision) NamesPorts() bool { return d.rule > 0 && d.c.named.has(d.rule-1) }

// Count counts a flow that the rule has allowed, for [Compiled.Uses].
func (d Decision) Count() {
	if d.rule > 0 {
		d.c.uses[d.rule-1].Add(1)
	}
}

// Decide says what the rules decide about a flow. port is its destination port, 0 if the protocol has none. It does not
// allocate.
func (c *Compiled) Decide(from, to *Sides, src, dst Addr, p Protocol, port uint16) Decision {
	srcs, dsts := c.src6, c.dst6
	if src.is4() {
		srcs, dsts = c.src4, c.dst4
	}
	bySrc, byDst, service := srcs.at(src), dsts.at(dst), c.services[p].at(Addr{Lo: uint64(port)})
	for w := range service {
		if rules := (from.from[w] | bySrc[w]) & (to.to[w] | byDst[w]) & service[w]; rules != 0 {
			return Decision{w*64 + bits.TrailingZeros64(rules) + 1, c}
		}
	}
	return Decision{}
}

// DecideFrame is Decide for a frame that holds no IP packet: only rules about names, groups or everybody, and any protocol
// allow it.
func (c *Compiled) DecideFrame(from, to *Sides) Decision {
	for w, rules := range c.services[AnyProtocol].sets[0] {
		if rules &= from.from[w] & to.to[w]; rules != 0 {
			return Decision{w*64 + bits.TrailingZeros64(rules) + 1, c}
		}
	}
	return Decision{}
}

// Use is how many flows a rule has allowed.
type Use struct {
	Line  int
	Flows uint64
}

// Uses lists the rules in their order.
func (c *Compiled) Uses() []Use {
	list := make([]Use, len(c.lines))
	for i := range list {
		list[i] = Use{c.lines[i], c.uses[i].Load()}
	}
	return list
}

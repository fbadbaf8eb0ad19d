package subnet

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"tincan/internal/node"
)

// Rank is how well a claim to a subnet is founded. A better founded one outranks others, see [Table.Lookup].
type Rank int8

const (
	Silent    Rank = iota - 1 // others say that its owner is there, which has not answered
	Announced                 // somebody in the mesh said so
	Written                   // it stands in the owner's host file here, too
	Own                       // it is our own
)

// Prefixes shorter than these are routes to what lies behind a node (all of the internet, say) rather than a
// node's own network: others may have parts of them, whoever wrote down what.
const (
	leastGuard4 = 16
	leastGuard6 = 48
)

// Entry is a subnet in a [Table] together with its owner. An entry without
// an owner's name is a broadcast subnet, which counts as reachable.
type Entry[O any] struct {
	Subnet    Subnet
	Owner     O         // whatever the caller wants back
	OwnerName node.Name // decides between entries that are otherwise equal
	Reachable bool
	Rank      Rank
	Claimed   bool // Owner may not be there: whoever else has the same subnet is preferred
}

// usable tells whether e counts before others: whoever does not answer is asked for only if nobody else has the address.
func (e *Entry[O]) usable() bool { return e.Reachable && e.Rank != Silent || e.OwnerName == "" }

// guards tells whether e keeps others from taking parts of its subnet.
func (e *Entry[O]) guards() bool {
	least := leastGuard4
	if e.Subnet.kind == IPv6 {
		least = leastGuard6
	}
	return e.Rank > Announced && e.usable() && e.Subnet.kind != MAC && int(e.Subnet.bits) >= least
}

// Table finds the owner of an address. It is immutable and safe for concurrent use;
// [Table.Change] makes another that shares what is the same.
//
// Of each prefix only the first entry in order counts: by rank, then in tinc's order. Entries
// with a reachable owner are in one table and the others in a second one that is
// asked only if the first has no answer: so a packet for a reachable node costs one
// longest-prefix lookup, and a smaller prefix of a reachable node takes over
// when the owner of a larger one is gone. Which claims are outranked is found out when the table is made or changed.
type Table[O any] struct {
	ip, mac family[O]
	guards  *bart.Table[*Entry[O]]
	answers *answers[O] // where lookups in the others are not for free
	len     int
}

// claim is the first entry of a prefix, and the others. It is immutable.
type claim[O any] struct {
	Entry[O]
	more  []*Entry[O] // in order
	guard *Entry[O]   // what outranks the first, nil if nothing does
}

// family are the tables of IP prefixes, or of MAC addresses.
type family[O any] struct {
	live, dead *bart.Table[*claim[O]]
}

// Build makes a table of entries no two of which have the same subnet and owner. It keeps no reference to the slice.
func Build[O any](entries []Entry[O]) *Table[O] {
	t := &Table[O]{ip: newFamily[O](), mac: newFamily[O](), guards: new(bart.Table[*Entry[O]]), answers: newAnswers[O](!freeLookup)}
	claims := make([]claim[O], len(entries))
	var c *claim[O]
	var several []*claim[O] // those with more than one entry
	insert := func(first *claim[O], found bool) (*claim[O], bool) {
		if !found {
			return c, false
		}
		if first.more = append(first.more, &c.Entry); len(first.more) == 1 {
			several = append(several, first)
		}
		return first, false
	}
	founded := false
	for i := range entries {
		c = &claims[i]
		c.Entry = entries[i]
		f, prefix, ok := t.place(c.Subnet)
		if !ok {
			continue
		}
		t.len++
		founded = founded || c.Rank > Announced
		if c.usable() {
			f.live.Modify(prefix, insert)
		} else {
			f.dead.Modify(prefix, insert)
		}
	}
	for _, c := range several {
		first := c.Entry
		list := append(c.more, &first)
		slices.SortFunc(list, order[O])
		*c = *newClaim(list)
	}
	if founded {
		for prefix, c := range t.ip.live.All() {
			if c.guards() {
				t.guards.Insert(prefix, &c.Entry)
			}
		}
	}
	if t.guards.Size() > 0 {
		t.judge(t.ip.live.All(), func(prefix netip.Prefix, c *claim[O]) { t.ip.live.Insert(prefix, c) })
	}
	return t
}

func newFamily[O any]() family[O] {
	return family[O]{new(bart.Table[*claim[O]]), new(bart.Table[*claim[O]])}
}

// place tells where a subnet belongs; ok is false for what is no subnet.
func (t *Table[O]) place(s Subnet) (f *family[O], prefix netip.Prefix, ok bool) {
	switch s.kind {
	case MAC:
		return &t.mac, macPrefix(s.MAC()), true
	case IPv4, IPv6:
		return &t.ip, s.Prefix().Masked(), true
	}
	return nil, netip.Prefix{}, false
}

// newClaim makes a claim of entries in order, nil of none.
func newClaim[O any](list []*Entry[O]) *claim[O] {
	if len(list) == 0 {
		return nil
	}
	return &claim[O]{Entry: *list[0], more: list[1:]}
}

// entries are all of the prefix, in order; none of nil.
func (c *claim[O]) entries() iter.Seq[*Entry[O]] {
	return func(yield func(*Entry[O]) bool) {
		if c == nil || !yield(&c.Entry) {
			return
		}
		for _, e := range c.more {
			if !yield(e) {
				return
			}
		}
	}
}

// with returns c with another entry.
func (c *claim[O]) with(e *Entry[O]) *claim[O] {
	list := slices.Collect(c.entries())
	i, _ := slices.BinarySearchFunc(list, e, order[O])
	return newClaim(slices.Insert(list, i, e))
}

// without returns c without the entry of owner for s. If there is none that is c.
func (c *claim[O]) without(s Subnet, owner node.Name) *claim[O] {
	same := func(e *Entry[O]) bool { return e.Subnet == s && e.OwnerName == owner }
	for e := range c.entries() {
		if same(e) {
			return newClaim(slices.DeleteFunc(slices.Collect(c.entries()), same))
		}
	}
	return c
}

// judge works out what outranks each of these claims, and puts those of which that has changed.
func (t *Table[O]) judge(list iter.Seq2[netip.Prefix, *claim[O]], put func(netip.Prefix, *claim[O])) {
	type change struct {
		prefix netip.Prefix
		claim  *claim[O]
	}
	var changes []change // made afterwards: list may go through the same table
	for prefix, c := range list {
		if g := t.outranks(prefix, &c.Entry); g != c.guard {
			changed := *c
			changed.guard = g
			changes = append(changes, change{prefix, &changed})
		}
	}
	for _, c := range changes {
		put(c.prefix, c.claim)
	}
}

// outranks returns what outranks an entry, which is of that prefix; nil if nothing does.
func (t *Table[O]) outranks(prefix netip.Prefix, e *Entry[O]) *Entry[O] {
	if e.Rank > Announced || e.OwnerName == "" || e.Subnet.kind == MAC {
		return nil
	}
	if g, ok := t.guards.LookupPrefix(prefix); ok && g.OwnerName != e.OwnerName {
		return g
	}
	return nil
}

// Change returns a table without the entries gone, and with those of set added, or put in the place of those with
// the same subnet and owner. It takes time in proportion to the changes, and to what those outrank. t stays as it is.
func (t *Table[O]) Change(set, gone []Entry[O]) *Table[O] {
	next := *t
	next.answers = newAnswers[O](t.answers != nil)
	for i := range gone {
		next.change(&gone[i], nil)
	}
	for _, s := range set {
		next.change(&s, &s)
	}
	return &next
}

// change removes the entry with the subnet and the owner of old, and adds with, if that is not nil.
func (t *Table[O]) change(old, with *Entry[O]) {
	f, prefix, ok := t.place(old.Subnet)
	if !ok {
		return
	}
	wasLive, _ := f.live.Get(prefix)
	wasDead, _ := f.dead.Get(prefix)
	live, dead := wasLive.without(old.Subnet, old.OwnerName), wasDead.without(old.Subnet, old.OwnerName)
	if live != wasLive || dead != wasDead {
		t.len--
	}
	if with != nil {
		t.len++
		if with.usable() {
			live = live.with(with)
		} else {
			dead = dead.with(with)
		}
	}
	guarded := live != nil && live.guards()
	if live != wasLive && live != nil { // its first may be another, or a guard no more
		first := *live
		first.guard = nil
		if !guarded {
			first.guard = t.outranks(prefix, &first.Entry)
		}
		live = &first
	}
	put(&f.live, prefix, live, wasLive)
	put(&f.dead, prefix, dead, wasDead)
	if live == wasLive || f == &t.mac {
		return
	}
	was, _ := t.guards.Get(prefix)
	var guard *Entry[O]
	if guarded {
		guard = &live.Entry
	}
	if guard == nil && was == nil {
		return
	}
	put(&t.guards, prefix, guard, was)
	t.judge(t.ip.live.Subnets(prefix), func(p netip.Prefix, c *claim[O]) { t.ip.live = t.ip.live.InsertPersist(p, c) })
}

// put replaces what a table has for a prefix; nil is nothing.
func put[V any](table **bart.Table[*V], prefix netip.Prefix, now, was *V) {
	switch {
	case now == was:
	case now != nil:
		*table = (*table).InsertPersist(prefix, now)
	default:
		*table = (*table).DeletePersist(prefix)
	}
}

// order is the order of the entries of one prefix.
func order[O any](a, b *Entry[O]) int {
	return cmp.Or(ifSo(a.gone(), b.gone()), ifSo(a.Claimed, b.Claimed), cmp.Compare(b.Rank, a.Rank), Compare(a.Subnet, b.Subnet), cmp.Compare(a.OwnerName, b.OwnerName))
}

// gone tells whether the owner cannot be reached.
func (e *Entry[O]) gone() bool { return !e.Reachable && e.OwnerName != "" }

// ifSo puts what is so behind what is not.
func ifSo(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// macPrefix stands for a MAC address in a table of its own.
func macPrefix(mac [6]byte) netip.Prefix {
	var a [16]byte
	copy(a[:], mac[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// Lookup returns the first entry, in tinc's order, that contains addr and whose
// owner is reachable (or that is a broadcast subnet). If there is none it
// returns the longest match with an unreachable owner, so that the caller can
// tell "unreachable" from "unknown". It does not allocate, or on a few processors only for an address
// that was not asked for lately. An IPv4-mapped IPv6
// address is looked up as IPv6.
//
// There is one exception from tinc's order: a subnet that is our own, or stands in the host file of its owner,
// outranks what others, of whom that cannot be said, claim of it, be it equal or narrower. Prefixes that are shorter than
// 16 bits (IPv4) or 48 (IPv6) outrank only equal ones.
func (t *Table[O]) Lookup(addr netip.Addr) (Entry[O], bool) {
	if t.answers == nil {
		return found(t.ip.find(addr))
	}
	return found(t.answers.get(addr, false, t.ip.find))
}

// LookupMAC is [Table.Lookup] for Ethernet addresses.
func (t *Table[O]) LookupMAC(mac [6]byte) (Entry[O], bool) {
	if t.answers == nil {
		return found(t.mac.find(macPrefix(mac).Addr()))
	}
	return found(t.answers.get(macPrefix(mac).Addr(), true, t.mac.find))
}

// find returns what counts for an address, nil if that is nobody's.
func (f *family[O]) find(addr netip.Addr) *Entry[O] {
	c, ok := f.live.Lookup(addr)
	if !ok {
		if c, ok = f.dead.Lookup(addr); !ok {
			return nil
		}
	}
	if c.guard != nil { // never of a MAC address
		return c.guard
	}
	return &c.Entry
}

func found[O any](e *Entry[O]) (Entry[O], bool) {
	if e == nil {
		return Entry[O]{}, false
	}
	return *e, true
}

// MaySend tells whether addr, as the source of a packet, is one of owner's: it lies in a subnet of owner, and nobody
// else has a narrower one, or one that outranks it. If not, other is the entry that it belongs to, zero if there is none.
func (t *Table[O]) MaySend(owner node.Name, addr netip.Addr) (ok bool, other Entry[O]) {
	best, found := t.Lookup(addr)
	if found && best.OwnerName == owner {
		return true, best
	}
	for _, table := range []*bart.Table[*claim[O]]{t.ip.live, t.ip.dead} {
		for _, list := range table.Supernets(netip.PrefixFrom(addr, addr.BitLen())) {
			for e := range list.entries() {
				if e.OwnerName == owner && (!found || e.Subnet.bits >= best.Subnet.bits && e.Rank >= best.Rank) {
					return true, best
				}
			}
		}
	}
	return false, best
}

// AnotherThan tells whether addr is somebody's who is not called self. If it is nobody's it returns nobody.
func (t *Table[O]) AnotherThan(self node.Name, addr netip.Addr, nobody bool) bool {
	best, found := t.Lookup(addr)
	if !found || best.OwnerName != self {
		return found || nobody
	}
	for _, e := range t.At(best.Subnet.Prefix().Masked()) {
		if e.OwnerName != self {
			return true
		}
	}
	return false
}

// Outranked yields the entries that do not count in Lookup, though their owner can be reached, and what outranks each.
func (t *Table[O]) Outranked() iter.Seq2[Entry[O], Entry[O]] {
	return func(yield func(Entry[O], Entry[O]) bool) {
		for prefix, first := range t.ip.live.All() {
			for e := range first.entries() {
				best := &first.Entry
				if g := t.outranks(prefix, e); g != nil {
					best = g
				}
				if e.OwnerName != "" && best.Rank > max(e.Rank, Announced) && best.OwnerName != e.OwnerName && !yield(*e, *best) {
					return
				}
			}
		}
	}
}

// At returns the entries with exactly this prefix, the first in order first.
func (t *Table[O]) At(prefix netip.Prefix) (out []Entry[O]) {
	for _, table := range []*bart.Table[*claim[O]]{t.ip.live, t.ip.dead} {
		list, _ := table.Get(prefix)
		for e := range list.entries() {
			out = append(out, *e)
		}
	}
	slices.SortFunc(out, func(a, b Entry[O]) int { return order(&a, &b) })
	return out
}

// Has tells whether there is an entry with this subnet and owner.
func (t *Table[O]) Has(s Subnet, owner node.Name) bool {
	f, prefix, ok := t.place(s)
	if !ok {
		return false
	}
	for _, table := range []*bart.Table[*claim[O]]{f.live, f.dead} {
		list, _ := table.Get(prefix)
		for e := range list.entries() {
			if e.Subnet == s && e.OwnerName == owner {
				return true
			}
		}
	}
	return false
}

// All are the prefixes of the entries of IP addresses, each with one of them, in no order.
func (t *Table[O]) All() iter.Seq2[O, netip.Prefix] {
	return func(yield func(O, netip.Prefix) bool) {
		for _, table := range []*bart.Table[*claim[O]]{t.ip.live, t.ip.dead} {
			for prefix, c := range table.All() {
				if !yield(c.Owner, prefix) {
					return
				}
			}
		}
	}
}

// Len is the number of entries.
func (t *Table[O]) Len() int { return t.len }

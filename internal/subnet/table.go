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
type Rank uint8

const (
	Announced Rank = iota // somebody in the mesh said so
	Written               // it stands in the owner's host file here, too
	Own                   // it is our own
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
}

func (e *Entry[O]) usable() bool { return e.Reachable || e.OwnerName == "" }

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
// Of each prefix only the first entry in order is in the tables for lookups: by rank, then in tinc's order. Entries
// with a reachable owner are in one table and the others in a second one that is
// asked only if the first has no answer: so a packet for a reachable node costs one
// longest-prefix lookup, and a smaller prefix of a reachable node takes over
// when the owner of a larger one is gone. A second lookup looks for a claim that outranks
// what was found, if there are any that could.
type Table[O any] struct {
	ip, mac family[O]
	guards  *bart.Table[*Entry[O]]
	len     int
}

// family are the tables of IP prefixes, or of MAC addresses.
type family[O any] struct {
	all        *bart.Table[[]*Entry[O]] // of each prefix, the first in order first
	live, dead *bart.Table[*Entry[O]]
}

// Build makes a table. It keeps no reference to the slice.
func Build[O any](entries []Entry[O]) *Table[O] {
	t := &Table[O]{ip: newFamily[O](), mac: newFamily[O](), guards: new(bart.Table[*Entry[O]])}
	edit[O]{t, true}.apply(entries, nil)
	return t
}

func newFamily[O any]() family[O] {
	return family[O]{new(bart.Table[[]*Entry[O]]), new(bart.Table[*Entry[O]]), new(bart.Table[*Entry[O]])}
}

// Change returns a table without the entries gone, and with those of set added, or put in the place of those with
// the same subnet and owner. It takes time in proportion to the changes. t stays as it is.
func (t *Table[O]) Change(set, gone []Entry[O]) *Table[O] {
	next := *t
	edit[O]{&next, false}.apply(set, gone)
	return &next
}

// edit changes a table: in place, or by copying what it touches.
type edit[O any] struct {
	t       *Table[O]
	inPlace bool
}

func (e edit[O]) apply(set, gone []Entry[O]) {
	for i := range gone {
		e.change(&gone[i], nil)
	}
	for _, s := range set {
		e.change(&s, &s)
	}
}

// change removes the entry with the subnet and the owner of old, and adds with, if that is not nil.
func (e edit[O]) change(old, with *Entry[O]) {
	f, prefix := &e.t.ip, old.Subnet.Prefix()
	switch old.Subnet.kind {
	case MAC:
		f, prefix = &e.t.mac, macPrefix(old.Subnet.MAC())
	case IPv4, IPv6:
		prefix = prefix.Masked()
	default:
		return
	}
	list, _ := f.all.Get(prefix)
	before := len(list)
	list = slices.DeleteFunc(slices.Clone(list), func(x *Entry[O]) bool {
		return x.Subnet == old.Subnet && x.OwnerName == old.OwnerName
	})
	if with != nil {
		i, _ := slices.BinarySearchFunc(list, with, order[O])
		list = slices.Insert(list, i, with)
	}
	e.t.len += len(list) - before
	put(e, &f.all, prefix, list, len(list) > 0)
	first(e, &f.live, prefix, list, (*Entry[O]).usable)
	first(e, &f.dead, prefix, list, func(x *Entry[O]) bool { return !x.usable() })
	if old.Subnet.kind != MAC {
		first(e, &e.t.guards, prefix, list, (*Entry[O]).guards)
	}
}

// first puts the first of a list that is wanted into a table.
func first[O any](e edit[O], table **bart.Table[*Entry[O]], prefix netip.Prefix, list []*Entry[O], wanted func(*Entry[O]) bool) {
	i := slices.IndexFunc(list, wanted)
	if i < 0 {
		put(e, table, prefix, nil, false)
		return
	}
	put(e, table, prefix, list[i], true)
}

// put sets or removes what a table has for a prefix.
func put[O, V any](e edit[O], table **bart.Table[V], prefix netip.Prefix, v V, keep bool) {
	switch {
	case e.inPlace && keep:
		(*table).Insert(prefix, v)
	case e.inPlace:
		(*table).Delete(prefix)
	case keep:
		*table = (*table).InsertPersist(prefix, v)
	default:
		if _, ok := (*table).Get(prefix); ok {
			*table = (*table).DeletePersist(prefix)
		}
	}
}

// order is the order of the entries of one prefix.
func order[O any](a, b *Entry[O]) int {
	return cmp.Or(cmp.Compare(b.Rank, a.Rank), Compare(a.Subnet, b.Subnet), cmp.Compare(a.OwnerName, b.OwnerName))
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
// tell "unreachable" from "unknown". It does not allocate. An IPv4-mapped IPv6
// address is looked up as IPv6.
//
// There is one exception from tinc's order: a subnet that is our own, or stands in the host file of its owner,
// outranks what others, of whom that cannot be said, claim of it, be it equal or narrower. Prefixes that are shorter than
// 16 bits (IPv4) or 48 (IPv6) outrank only equal ones.
func (t *Table[O]) Lookup(addr netip.Addr) (Entry[O], bool) {
	e, ok := t.ip.live.Lookup(addr)
	if !ok {
		if e, ok = t.ip.dead.Lookup(addr); !ok {
			return Entry[O]{}, false
		}
		return *e, true
	}
	if e.Rank == Announced {
		if g, ok := t.guards.Lookup(addr); ok && g.OwnerName != e.OwnerName && e.OwnerName != "" {
			return *g, true
		}
	}
	return *e, true
}

// LookupMAC is [Table.Lookup] for Ethernet addresses.
func (t *Table[O]) LookupMAC(mac [6]byte) (Entry[O], bool) {
	at := macPrefix(mac).Addr()
	e, ok := t.mac.live.Lookup(at)
	if !ok {
		if e, ok = t.mac.dead.Lookup(at); !ok {
			return Entry[O]{}, false
		}
	}
	return *e, true
}

// MaySend tells whether addr, as the source of a packet, is one of owner's: it lies in a subnet of owner, and nobody
// else has a narrower one, or one that outranks it. If not, other is the entry that it belongs to, and found is
// false if there is none.
func (t *Table[O]) MaySend(owner node.Name, addr netip.Addr) (ok bool, other Entry[O], found bool) {
	best, found := t.Lookup(addr)
	if found && best.OwnerName == owner {
		return true, best, true
	}
	for _, list := range t.ip.all.Supernets(netip.PrefixFrom(addr, addr.BitLen())) {
		for _, e := range list {
			if e.OwnerName == owner && (!found || e.Subnet.bits >= best.Subnet.bits && e.Rank >= best.Rank) {
				return true, best, found
			}
		}
	}
	return false, best, found
}

// Outranked yields the entries that do not count in Lookup, though their owner can be reached, and what outranks each.
func (t *Table[O]) Outranked() iter.Seq2[Entry[O], Entry[O]] {
	return func(yield func(Entry[O], Entry[O]) bool) {
		for prefix, list := range t.ip.all.All() {
			for _, e := range list {
				best, _ := t.ip.live.Get(prefix)
				if !e.usable() || best == nil || e.OwnerName == "" {
					continue
				}
				if e.Rank == Announced {
					if g, ok := t.guards.LookupPrefix(prefix); ok {
						best = g
					}
				}
				if best.Rank > e.Rank && best.OwnerName != e.OwnerName && !yield(*e, *best) {
					return
				}
			}
		}
	}
}

// At returns the entries with exactly this prefix, the first in order first.
func (t *Table[O]) At(prefix netip.Prefix) []Entry[O] {
	list, _ := t.ip.all.Get(prefix)
	out := make([]Entry[O], len(list))
	for i, e := range list {
		out[i] = *e
	}
	return out
}

// Has tells whether there is an entry with this subnet and owner.
func (t *Table[O]) Has(s Subnet, owner node.Name) bool {
	list, _ := t.ip.all.Get(s.Prefix())
	if s.kind == MAC {
		list, _ = t.mac.all.Get(macPrefix(s.MAC()))
	}
	return slices.ContainsFunc(list, func(e *Entry[O]) bool { return e.Subnet == s && e.OwnerName == owner })
}

// Len is the number of entries.
func (t *Table[O]) Len() int { return t.len }

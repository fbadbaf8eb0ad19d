package subnet

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"tincan/internal/node"
)

// Entry is a subnet in a [Table] together with its owner. An entry without
// an owner's name is a broadcast subnet, which counts as reachable.
type Entry[O any] struct {
	Subnet    Subnet
	Owner     O         // whatever the caller wants back
	OwnerName node.Name // decides between entries that are otherwise equal
	Reachable bool
}

func (e *Entry[O]) usable() bool { return e.Reachable || e.OwnerName == "" }

// Table finds the owner of an address. It is immutable and safe for concurrent use.
//
// Of each prefix only the first entry in tinc's order is kept. Entries with a
// reachable owner are in one table and the others in a second one that is
// asked only if the first has no answer: so a packet for a reachable node costs one
// longest-prefix lookup, and a smaller prefix of a reachable node takes over
// when the owner of a larger one is gone.
type Table[O any] struct {
	entries []Entry[O]
	live    half
	dead    half
}

// half maps prefixes and MAC addresses to indices of Table.entries.
type half struct {
	ip  bart.Table[uint32]
	mac map[[6]byte]uint32
}

// Build makes a table. It keeps no reference to the slice.
func Build[O any](entries []Entry[O]) *Table[O] {
	t := &Table[O]{entries: slices.Clone(entries)}
	for i := range t.entries {
		e := &t.entries[i]
		h := &t.dead
		if e.usable() {
			h = &t.live
		}
		switch e.Subnet.kind {
		case MAC:
			if h.mac == nil {
				h.mac = make(map[[6]byte]uint32)
			}
			if old, ok := h.mac[e.Subnet.MAC()]; !ok || t.before(e, old) {
				h.mac[e.Subnet.MAC()] = uint32(i)
			}
		case IPv4, IPv6:
			h.ip.Modify(e.Subnet.Prefix(), func(old uint32, ok bool) (uint32, bool) {
				if ok && !t.before(e, old) {
					return old, false
				}
				return uint32(i), false
			})
		}
	}
	return t
}

func (t *Table[O]) before(e *Entry[O], other uint32) bool {
	o := &t.entries[other]
	return cmp.Or(Compare(e.Subnet, o.Subnet), cmp.Compare(e.OwnerName, o.OwnerName)) < 0
}

// Lookup returns the first entry, in tinc's order, that contains addr and whose
// owner is reachable (or that is a broadcast subnet). If there is none it
// returns the longest match with an unreachable owner, so that the caller can
// tell "unreachable" from "unknown". It does not allocate. An IPv4-mapped IPv6
// address is looked up as IPv6.
func (t *Table[O]) Lookup(addr netip.Addr) (Entry[O], bool) {
	if i, ok := t.live.ip.Lookup(addr); ok {
		return t.entries[i], true
	}
	if i, ok := t.dead.ip.Lookup(addr); ok {
		return t.entries[i], true
	}
	return Entry[O]{}, false
}

// LookupMAC is [Table.Lookup] for Ethernet addresses.
func (t *Table[O]) LookupMAC(mac [6]byte) (Entry[O], bool) {
	if i, ok := t.live.mac[mac]; ok {
		return t.entries[i], true
	}
	if i, ok := t.dead.mac[mac]; ok {
		return t.entries[i], true
	}
	return Entry[O]{}, false
}

// Len is the number of entries the table was built from.
func (t *Table[O]) Len() int { return len(t.entries) }

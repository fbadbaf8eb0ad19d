package dataplane

import (
	"hash/maphash"
	"sync/atomic"
)

// loopDetector detects routing loops. Relays that disagree about a path, because
// their topologies differ for a moment or one of them is tinc, could forward a datagram in a loop
// for ever: the format has no hop count. A relay that receives a datagram from another relay, and
// not from its source, checks here whether it has already forwarded the same one.
//
// It is a table of the latest few thousand datagrams, identified by ids, record number and tag.
// An entry that is overwritten too early costs one more round. It is safe for concurrent use.
type loopDetector struct {
	seed  maphash.Seed
	table [4096]atomic.Uint64
}

// seen reports whether blob, ids and record, was seen before, and remembers it.
func (l *loopDetector) seen(blob []byte) bool {
	const head, tail = idsLen + 4, 16
	var key [head + tail]byte
	copy(key[:], blob[:head])
	copy(key[head:], blob[len(blob)-tail:])
	sum := maphash.Bytes(l.seed, key[:]) | 1 // not zero
	return l.table[sum>>32%uint64(len(l.table))].Swap(sum) == sum
}

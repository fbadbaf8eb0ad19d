package dataplane

import (
	"hash/maphash"
	"sync/atomic"
)

// loopDetector notices datagrams that go in circles. Relays that disagree about the way, since
// their maps differ for a moment or one of them is tinc, could pass a datagram around for
// ever: the format has no hop count. Whoever gets one from another relay, and
// not from its source, looks here whether it has passed the same one on before.
//
// It is a table of the latest few thousand, which are told apart by ids, record number and tag.
// What is forgotten too early makes one lap more. It may be used by several goroutines.
type loopDetector struct {
	seed  maphash.Seed
	table [4096]atomic.Uint64
}

// again tells whether blob, ids and record, was here before, and remembers it.
func (l *loopDetector) again(blob []byte) bool {
	const head, tail = idsLen + 4, 16
	var key [head + tail]byte
	copy(key[:], blob[:head])
	copy(key[head:], blob[len(blob)-tail:])
	sum := maphash.Bytes(l.seed, key[:]) | 1 // not zero
	return l.table[sum>>32%uint64(len(l.table))].Swap(sum) == sum
}

package flow

import (
	"math/bits"
	"sync"

	"tincan/internal/policy"
)

// table remembers flows, and fragments that have been let through. It is an open hash table in shards, each with its own
// lock and grown by itself up to a bound. Entries lie in sets of a few; a key can only be in one set. Nothing is allocated
// but when a shard grows.
//
// When a set is full and the table may not grow, an entry of the peer that has the most of all is given up, and if that
// is who wants one, one of its own. So whoever fills the table takes from nobody who has fewer, and a
// peer that alone uses it may use all of it.
type table struct {
	secret [5]uint64
	shards [shardCount]shard
}

const (
	shardCount   = 16
	ways         = 8   // entries of a set
	leastSets    = 4   // of a shard
	mostSets     = 512 // of a shard: 65,536 entries of 64 bytes in all
	maxFlows     = shardCount * mostSets * ways
	sweepInserts = 4 // entries that are looked at whether they have expired, for each that is inserted
)

type shard struct {
	sync.Mutex
	entries []entry // a power of two of sets
	used    int
	hand    int // where the next sweep goes on
}

// key tells flows apart. It is the same for both directions.
type key struct {
	local, remote policy.Addr
	localPort     uint16
	remotePort    uint16
	proto         uint8
	space         space
}

// space keeps keys apart that would look alike.
type space uint8

const (
	flows      space = iota + 1
	queriesOut       // of ICMP: who asks matters, not only the id
	queriesIn
	fragmentsOut // the ports are the id
	fragmentsIn
)

// entry is what is known of a flow; not in use if key.space is 0.
type entry struct {
	key
	state  state
	opener Direction
	offset uint16 // of fragments: where the next may begin, in units of 8 bytes
	seen   uint32 // when it was last, in seconds
	made   uint32 // by which policy it was allowed
	peer   *Peer
}

// state is what has been seen of a flow.
type state uint8

const (
	answered state = 1 << iota
	finOpener
	finOther
	reset
	refused // by a later policy: only a new connection may use it again
)

func (t *table) hash(k *key) uint64 {
	ports := uint64(k.localPort)<<48 | uint64(k.remotePort)<<32 | uint64(k.proto)<<8 | uint64(k.space)
	h := fold(k.local.Lo^t.secret[0], k.remote.Lo^t.secret[1])
	h ^= fold(k.local.Hi^t.secret[2], k.remote.Hi^t.secret[3])
	return fold(h^t.secret[4], ports^t.secret[0])
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

func (t *table) of(hash uint64) *shard { return &t.shards[hash>>60] }

// set is where entries with this hash are.
func (s *shard) set(hash uint64) []entry {
	sets := len(s.entries) / ways
	if sets == 0 {
		return nil
	}
	at := int(hash) & (sets - 1) * ways
	return s.entries[at : at+ways : at+ways]
}

// find returns the entry of a key, nil if there is none that has not expired. The caller holds the lock.
func (s *shard) find(hash uint64, k *key, now uint32) *entry {
	set := s.set(hash)
	for i := range set {
		if e := &set[i]; e.localPort == k.localPort && e.remotePort == k.remotePort && e.key == *k {
			if e.expired(now) {
				s.remove(e)
				return nil
			}
			return e
		}
	}
	return nil
}

func (s *shard) remove(e *entry) {
	e.peer.held.Add(-1)
	s.used--
	*e = entry{}
}

// insert makes an entry, which must not be there; nil if others have a better right to the room. The caller holds the lock.
func (s *shard) insert(t *table, hash uint64, k *key, peer *Peer, now uint32) *entry {
	s.sweep(now)
	victim := s.room(hash, now)
	for sets := len(s.entries) / ways; sets < mostSets; { // grown before a set is full, at best
		if victim != nil && s.used*2 < len(s.entries) && (victim.space == 0 || s.used*8 < len(s.entries)) {
			break
		}
		sets = max(leastSets, sets*2)
		s.grow(t, sets, now)
		victim = s.room(hash, now)
	}
	if victim.space != 0 {
		if peer.held.Load() >= victim.peer.held.Load() {
			set := s.set(hash)
			victim = nil
			for i := range set {
				if e := &set[i]; e.peer == peer && (victim == nil || e.before(victim)) {
					victim = e
				}
			}
			if victim == nil {
				return nil
			}
		}
		s.remove(victim)
	}
	peer.held.Add(1)
	s.used++
	*victim = entry{key: *k, peer: peer, seen: now}
	return victim
}

// room is the place for an entry with this hash: a free one, or whose entry is given up first; nil if there is no place at all.
func (s *shard) room(hash uint64, now uint32) (place *entry) {
	set := s.set(hash)
	for i := range set {
		e := &set[i]
		if e.space != 0 && e.expired(now) {
			s.remove(e)
		}
		if e.space == 0 {
			return e
		}
		if place == nil || e.before(place) {
			place = e
		}
	}
	return place
}

// move makes e an entry of another peer.
func (e *entry) move(to *Peer) {
	e.peer.held.Add(-1)
	to.held.Add(1)
	e.peer = to
}

// before tells whether e is given up before other: it is of a peer that has more, or older.
func (e *entry) before(other *entry) bool {
	if a, b := e.peer.held.Load(), other.peer.held.Load(); a != b {
		return a > b
	}
	return e.seen < other.seen
}

// sweep removes some of what has expired.
func (s *shard) sweep(now uint32) {
	if len(s.entries) == 0 {
		return
	}
	for range sweepInserts {
		s.hand = (s.hand + 1) & (len(s.entries) - 1)
		if e := &s.entries[s.hand]; e.space != 0 && e.expired(now) {
			s.remove(e)
		}
	}
}

// grow gives the shard that many sets.
func (s *shard) grow(t *table, sets int, now uint32) {
	old := s.entries
	s.entries, s.hand = make([]entry, sets*ways), 0
	for i := range old {
		e := &old[i]
		if e.space == 0 {
			continue
		}
		set, placed := s.set(t.hash(&e.key)), false
		for j := range set {
			if set[j].space == 0 && !e.expired(now) {
				set[j], placed = *e, true
				break
			}
		}
		if !placed {
			e.peer.held.Add(-1)
			s.used--
		}
	}
}

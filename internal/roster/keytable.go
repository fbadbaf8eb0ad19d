package roster

import "hash/maphash"

// keyTable finds members by their keys: the Ed25519 key, and the hash of the RSA key. It is a hash table with open
// addressing. An evaluation makes one for all members, and in a map that would take most of its time. The zero value is
// empty. It is not safe for concurrent use as long as it changes.
type keyTable struct {
	slots []keySlot // a power of two of them; at least a quarter is free
	used  int       // slots that are or were taken
}

type keySlot struct {
	hash uint64 // of the key
	m    *Membership
}

var (
	// keySeed keeps those who choose keys from choosing ones that meet in the table.
	keySeed = maphash.MakeSeed()
	// forgotten is in the slot of a key that was taken out.
	forgotten = &Membership{}
)

func hashOfKey(key *[32]byte) uint64 { return maphash.Bytes(keySeed, key[:]) }

// get returns the member with a key, nil if there is none. Nobody has the key zero.
func (t *keyTable) get(key [32]byte) *Membership {
	if i := t.find(&key, hashOfKey(&key)); i >= 0 {
		return t.slots[i].m
	}
	return nil
}

// find returns the slot of a key, -1 if it is not there.
func (t *keyTable) find(key *[32]byte, hash uint64) int {
	if t.used == 0 || *key == ([32]byte{}) {
		return -1
	}
	mask := len(t.slots) - 1
	for i := int(hash) & mask; t.slots[i].m != nil; i = (i + 1) & mask {
		if s := &t.slots[i]; s.hash == hash && (s.m.Key == *key || s.m.RSA == *key) {
			return i
		}
	}
	return -1
}

// put enters a key of m, which is not zero. It reports whether nobody had it.
func (t *keyTable) put(key [32]byte, m *Membership) bool {
	hash := hashOfKey(&key)
	if i := t.find(&key, hash); i >= 0 {
		t.slots[i].m = m
		return false
	}
	t.reserve(1)
	t.insert(keySlot{hash, m})
	return true
}

func (t *keyTable) insert(s keySlot) {
	mask := len(t.slots) - 1
	i := int(s.hash) & mask
	for t.slots[i].m != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = s
	t.used++
}

// reserve makes room for n keys more.
func (t *keyTable) reserve(n int) {
	if (t.used+n)*4 <= len(t.slots)*3 {
		return
	}
	old, size := t.slots, max(16, len(t.slots))
	for (t.used+n)*4 > size*3 {
		size *= 2
	}
	t.slots, t.used = make([]keySlot, size), 0
	for _, s := range old {
		if s.m != nil && s.m != forgotten {
			t.insert(s)
		}
	}
}

// remove takes a key out, if it is there.
func (t *keyTable) remove(key [32]byte) {
	if i := t.find(&key, hashOfKey(&key)); i >= 0 {
		t.slots[i].m = forgotten
	}
}

// clear empties the table.
func (t *keyTable) clear() {
	clear(t.slots)
	t.used = 0
}

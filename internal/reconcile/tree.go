package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// ID names an item: the SHA-256 of its bytes.
type ID [sha256.Size]byte

// IDOf is the id of an item.
func IDOf(item []byte) ID { return sha256.Sum256(item) }

// nibble returns the four bits of the id at depth i.
func (id *ID) nibble(i int) int {
	if i%2 == 0 {
		return int(id[i/2] >> 4)
	}
	return int(id[i/2] & 15)
}

// maxDepth is the number of nibbles of an ID.
const maxDepth = 2 * sha256.Size

// prefix stands for the items of a class whose ids begin with the same nibbles.
type prefix struct {
	urgent bool
	depth  uint8 // nibbles of id that count; the others are zero
	id     ID
}

// child is the prefix that is one nibble longer. There must be room.
func (p prefix) child(nibble int) prefix {
	if p.depth%2 == 0 {
		p.id[p.depth/2] = byte(nibble) << 4
	} else {
		p.id[p.depth/2] |= byte(nibble)
	}
	p.depth++
	return p
}

// covers tells whether id begins with the prefix.
func (p prefix) covers(id *ID) bool {
	whole := int(p.depth / 2)
	return bytes.Equal(p.id[:whole], id[:whole]) && (p.depth%2 == 0 || p.id[whole]>>4 == id[whole]>>4)
}

// fingerprint stands for a set of ids on the wire: the first half of the hash of a subtree. Two sets with the same one
// take 2^64 attempts to find, by somebody who can make items that are accepted.
type fingerprint [16]byte

// sum is what is below a prefix.
type sum struct {
	count int
	print fingerprint // zero if count is 0
}

// entry is an item as the tree holds it.
type entry struct {
	id   ID
	size uint16 // bytes
}

func compare(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) }

// leafMax is how many ids a leaf holds at most. It is part of the protocol, since fingerprints depend on it.
const leafMax = 16

// tree holds ids by their nibbles, with a hash of what is below each nibble that is worked out when it is asked for. A
// subtree with at most leafMax ids is a leaf, so that the hashes depend on nothing but the set. The zero value is empty.
//
//	hash of a leaf:         SHA-256(0 ‖ its ids, ascending)
//	hash of an inner node:  SHA-256(1 ‖ the hashes of its 16 children, zeros for one that is empty)
type tree struct{ root branch }

type branch struct {
	count    int
	hashed   bool
	hash     [sha256.Size]byte
	children *[16]branch // nil: a leaf
	leaf     []entry     // ascending
}

// insert adds an entry. It returns false if there is one with that id.
func (t *tree) insert(e entry) bool { return t.root.insert(e, 0) }

func (b *branch) insert(e entry, depth int) bool {
	if b.children != nil {
		if !b.children[e.id.nibble(depth)].insert(e, depth+1) {
			return false
		}
		b.count, b.hashed = b.count+1, false
		return true
	}
	i, found := slices.BinarySearchFunc(b.leaf, e, compare)
	if found {
		return false
	}
	b.leaf = slices.Insert(b.leaf, i, e)
	b.count, b.hashed = b.count+1, false
	if b.count > leafMax {
		b.children = new([16]branch)
		for _, e := range b.leaf {
			b.children[e.id.nibble(depth)].insert(e, depth+1)
		}
		b.leaf = nil
	}
	return true
}

// remove takes an id out. It returns false if it is not there.
func (t *tree) remove(id *ID) bool { return t.root.remove(id, 0) }

func (b *branch) remove(id *ID, depth int) bool {
	if b.children != nil {
		if !b.children[id.nibble(depth)].remove(id, depth+1) {
			return false
		}
		b.count, b.hashed = b.count-1, false
		if b.count <= leafMax {
			leaf := make([]entry, 0, leafMax)
			b.each(func(e entry) { leaf = append(leaf, e) })
			b.children, b.leaf = nil, leaf
		}
		return true
	}
	i, found := slices.BinarySearchFunc(b.leaf, entry{id: *id}, compare)
	if !found {
		return false
	}
	b.leaf = slices.Delete(b.leaf, i, i+1)
	b.count, b.hashed = b.count-1, false
	return true
}

// find returns the entry with an id.
func (t *tree) find(id *ID) (entry, bool) {
	b := &t.root
	for depth := 0; b.children != nil; depth++ {
		b = &b.children[id.nibble(depth)]
	}
	i, found := slices.BinarySearchFunc(b.leaf, entry{id: *id}, compare)
	if !found {
		return entry{}, false
	}
	return b.leaf[i], true
}

// below returns the subtree with the ids that begin with p. It is to be read only, until the tree changes.
func (t *tree) below(p prefix) *branch {
	b := &t.root
	for depth := range int(p.depth) {
		if b.children == nil {
			part := &branch{}
			for _, e := range b.leaf {
				if p.covers(&e.id) {
					part.leaf = append(part.leaf, e)
				}
			}
			part.count = len(part.leaf)
			return part
		}
		b = &b.children[p.id.nibble(depth)]
	}
	return b
}

// each calls f for all entries, ascending.
func (b *branch) each(f func(entry)) {
	if b.children != nil {
		for i := range b.children {
			b.children[i].each(f)
		}
		return
	}
	for _, e := range b.leaf {
		f(e)
	}
}

// sum is what there is in the subtree, as it is told others.
func (b *branch) sum() sum {
	if b.count == 0 {
		return sum{}
	}
	h := b.sha()
	return sum{b.count, fingerprint(h[:])}
}

// sha returns the hash of the subtree, zeros if it is empty.
func (b *branch) sha() *[sha256.Size]byte {
	if b.hashed || b.count == 0 {
		if b.count == 0 {
			b.hash = [sha256.Size]byte{}
		}
		return &b.hash
	}
	var buf [1 + 16*sha256.Size]byte
	text := buf[:1]
	if b.children != nil {
		text[0] = 1
		for i := range b.children {
			text = append(text, b.children[i].sha()[:]...)
		}
	} else {
		for _, e := range b.leaf {
			text = append(text, e.id[:]...)
		}
	}
	b.hash, b.hashed = sha256.Sum256(text), true
	return &b.hash
}

// rootOf is the fingerprint of a whole set: that of both trees, with the number of items.
func rootOf(urgent, ordinary *tree) fingerprint {
	text := append([]byte{2}, urgent.root.sha()[:]...)
	text = append(text, ordinary.root.sha()[:]...)
	text = binary.BigEndian.AppendUint64(text, uint64(urgent.root.count))
	h := sha256.Sum256(text)
	return fingerprint(h[:])
}

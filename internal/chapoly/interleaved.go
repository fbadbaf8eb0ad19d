//go:build amd64 || arm64

package chapoly

import (
	"crypto/subtle"
	"slices"
	"unsafe"
)

// interleaved is the cipher in passes of passBlocks blocks. A pass makes keystream
// in the vector unit and at the same time continues the tag in the scalar unit: of
// the ciphertext of the passes before when it seals, of what has come when it opens.
type interleaved struct {
	state   [16]uint32
	poly    polySum
	tag     [Overhead]byte
	sealed  uint64   // number of the record that was sealed last
	ahead   bool     // scratch is the first keystream of the record after that
	nextKey [32]byte // and this the key of its tag
	scratch [scratchSize]byte
}

const (
	firstSize = (passBlocks - 1) * blockSize // what the first pass ciphers, which makes the key of the tag too
	passSize  = passBlocks * blockSize
	// maxGroups is how many groups a pass can add to the tag.
	maxGroups = 10
)

// pass XORs n bytes of src with keystream into dst, which is src or does not overlap
// it. state[12] is the number of the first block; n is at most passSize. If polyKey is
// not nil, that block goes there, the data start with the next one, and n is at most
// firstSize. Meanwhile pass continues poly by groups of msg, at most maxGroups; dst must
// not overlap them.
//
//go:noescape
func pass(dst, src *byte, n int, state *[16]uint32, msg *byte, groups int, poly *polySum, polyKey *[32]byte)

func newInterleaved(key *[KeySize]byte) *interleaved {
	return &interleaved{state: initialState(key)}
}

func (k *interleaved) clone() implementation { return &interleaved{state: k.state} }

// first makes the key of the tag of record n and ciphers the beginning of src. It
// returns how much that is. Nothing can be tagged meanwhile, so if the last pass would
// need only part of its blocks, this one is short.
func (k *interleaved) first(dst, src []byte, n uint64) int {
	setNumber(&k.state, n)
	made, size := uint32(passBlocks), min(len(src), firstSize)
	blocks := 1 + (len(src)+blockSize-1)/blockSize
	if last := blocks % passBlocks; 0 < last && last <= shortBlocks && len(src) <= scratchSize {
		made, size = shortBlocks, min(len(src), (shortBlocks-1)*blockSize)
	}
	passAlone(unsafe.SliceData(dst), unsafe.SliceData(src), size, &k.state, &k.poly.key)
	k.state[12] = made
	return size
}

// next ciphers as much of src as another pass can and adds as many groups of msg to
// the tag. It returns the lengths of both.
func (k *interleaved) next(dst, src, msg []byte) (ciphered, tagged int) {
	ciphered = min(len(src), passSize)
	groups := min(len(msg)/groupSize, maxGroups)
	if groups > 0 && k.poly.grouped {
		pass(&dst[0], &src[0], ciphered, &k.state, &msg[0], groups, &k.poly, nil)
	} else {
		passAlone(&dst[0], &src[0], ciphered, &k.state, nil)
		groups = 0
	}
	k.state[12] += passBlocks
	return ciphered, groups * groupSize
}

func (k *interleaved) seal(dst, plain []byte, n uint64) []byte {
	start, size := len(dst), len(plain)
	dst = slices.Grow(dst, size+Overhead)[:start+size+Overhead]
	out := dst[start:]
	follows := n == k.sealed+1
	var done int
	if follows && k.ahead {
		k.poly.key = k.nextKey
		setNumber(&k.state, n)
		k.state[12] = passBlocks
		done = subtle.XORBytes(out, plain, k.scratch[:firstSize])
	} else {
		done = k.first(out[:size], plain, n)
	}
	k.sealed, k.ahead = n, follows && size >= longTag
	tagged := k.poly.start(out, size)
	for done < size {
		msg := out[tagged:done]
		if k.ahead && size-done <= shortBlocks*blockSize {
			msg = nil // a short pass is quicker, and lookAhead takes many groups
		}
		c, t := k.next(out[done:size], plain[done:], msg)
		done, tagged = done+c, tagged+t
	}
	if k.ahead {
		tagged += k.lookAhead(n+1, out[tagged:size])
	}
	k.poly.finish(&k.tag, out[tagged:size])
	copy(out[size:], k.tag[:])
	return dst
}

// lookAhead makes the first keystream of record n while the tag of the one before is
// continued by some of msg. It returns the length of those.
func (k *interleaved) lookAhead(n uint64, msg []byte) (tagged int) {
	setNumber(&k.state, n)
	groups := min(len(msg)/groupSize, maxGroups)
	pass(&k.scratch[0], &zeros[0], firstSize, &k.state, unsafe.SliceData(msg), groups, &k.poly, &k.nextKey)
	return groups * groupSize
}

var zeros [firstSize]byte

func (k *interleaved) open(dst, sealed []byte, n uint64) ([]byte, error) {
	// Nobody may see what is deciphered before the tag is known to be right.
	size := len(sealed) - Overhead
	hidden := min(size, scratchSize)
	k.ahead = false
	done := k.first(k.scratch[:], sealed[:size], n)
	tagged := k.poly.start(sealed, size)
	for done < hidden {
		c, t := k.next(k.scratch[done:], sealed[done:hidden], sealed[tagged:size])
		done, tagged = done+c, tagged+t
	}
	k.poly.finish(&k.tag, sealed[tagged:size])
	if subtle.ConstantTimeCompare(k.tag[:], sealed[size:]) != 1 {
		return dst, ErrOpen
	}
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	copy(dst[start:], k.scratch[:done])
	for done < size {
		c, _ := k.next(dst[start+done:], sealed[done:size], nil)
		done += c
	}
	return dst, nil
}

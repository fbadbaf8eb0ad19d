package chapoly

import (
	"crypto/subtle"
	"math/bits"
	"slices"
	"unsafe"
)

// wide is the cipher with AVX-512, in which the keystream of a whole record is made
// so quickly that the tag is made after it.
type wide struct {
	state   [16]uint32
	poly    polySum
	r       [3]uint64
	tag     [Overhead]byte
	ifma    bool // vectors for the tag, too
	scratch [scratchSize]byte
}

func newWide(key *[KeySize]byte, ifma bool) *wide {
	return &wide{state: initialState(key), ifma: ifma}
}

func (k *wide) clone() implementation { return &wide{state: k.state, ifma: k.ifma} }

// shortData is what xor512x8 ciphers when it makes the key of the tag, too.
const shortData = 7 * blockSize

// xor512x24 XORs n bytes of src with keystream into dst, which is src or does
// not overlap it. state[12] is the number of the first block. If polyKey is not
// nil, that block goes there and the data start with the next one. n is at most
// 23*64 with polyKey, and 24*64 without.
//
//go:noescape
func xor512x24(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte)

// xor512x8 is the same for at most 7*64 or 8*64 bytes.
//
//go:noescape
func xor512x8(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte)

// polyBlocks512 sets h to the Poly1305 sum of whole blocks of 16 bytes, at least
// sixteen. Both h and r are limbs of 44, 44 and 42 bits; those of h are some bits
// longer.
//
//go:noescape
func polyBlocks512(h *[3]uint64, msg *byte, blocks int, r *[3]uint64)

// first makes the key of the tag of record n and ciphers as much of src as one
// pass can. It returns how much that is.
func (k *wide) first(dst, src []byte, n uint64) int {
	setNumber(&k.state, n)
	size := min(len(src), scratchSize)
	to, from := unsafe.SliceData(dst), unsafe.SliceData(src)
	if size <= shortData {
		xor512x8(to, from, size, &k.state, &k.poly.key)
	} else {
		xor512x24(to, from, size, &k.state, &k.poly.key)
	}
	return size
}

// rest ciphers what first has left.
func (k *wide) rest(dst, src []byte) {
	for k.state[12] = 24; len(src) > 0; k.state[12] += 24 {
		size := min(len(src), 24*blockSize)
		if size <= 8*blockSize {
			xor512x8(&dst[0], &src[0], size, &k.state, nil)
		} else {
			xor512x24(&dst[0], &src[0], size, &k.state, nil)
		}
		dst, src = dst[size:], src[size:]
	}
}

func (k *wide) seal(dst, plain []byte, n uint64) []byte {
	start, size := len(dst), len(plain)
	dst = slices.Grow(dst, size+Overhead)[:start+size+Overhead]
	out := dst[start:]
	done := k.first(out[:size], plain, n)
	if done < size {
		k.rest(out[done:size], plain[done:])
	}
	k.sum(out[:size])
	copy(out[size:], k.tag[:])
	return dst
}

func (k *wide) open(dst, sealed []byte, n uint64) ([]byte, error) {
	size := len(sealed) - Overhead
	// The pass that makes the key deciphers too, but nobody may see that before
	// the tag is known to be right.
	done := k.first(k.scratch[:], sealed[:size], n)
	k.sum(sealed[:size])
	if subtle.ConstantTimeCompare(k.tag[:], sealed[size:]) != 1 {
		return dst, ErrOpen
	}
	start := len(dst)
	dst = slices.Grow(dst, size)[:start+size]
	copy(dst[start:], k.scratch[:done])
	if done < size {
		k.rest(dst[start+done:], sealed[done:size])
	}
	return dst, nil
}

// sum sets tag to the Poly1305 of msg.
func (k *wide) sum(msg []byte) {
	if !k.ifma || len(msg) < longTag {
		done := k.poly.start(msg, len(msg))
		k.poly.finish(&k.tag, msg[done:])
		return
	}
	r0, r1 := k.poly.factor()
	k.r = [3]uint64{r0 & (1<<44 - 1), (r0>>44 | r1<<20) & (1<<44 - 1), r1 >> 24}
	h := &k.poly.h
	polyBlocks512(h, &msg[0], len(msg)/16, &k.r)
	h0, c := bits.Add64(h[0], h[1]<<44, 0)
	h1, c := bits.Add64(h[1]>>20, h[2]<<24, c)
	h2 := h[2]>>40 + c
	h0, c = bits.Add64(h0, 5*(h2>>2), 0)
	h1, c = bits.Add64(h1, 0, c)
	*h = [3]uint64{h0, h1, h2&3 + c}
	k.poly.finish(&k.tag, msg[len(msg)&^15:])
}

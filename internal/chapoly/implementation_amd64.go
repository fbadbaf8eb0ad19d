package chapoly

import (
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"slices"
	"unsafe"

	//lint:ignore SA1019 tinc's tag is a bare Poly1305, which the recommended AEAD cannot make
	"golang.org/x/crypto/poly1305"
	"golang.org/x/sys/cpu"
)

//go:generate go run gen/gen.go

// Kinds of kernels that this CPU and its operating system can run.
var (
	has256  = cpu.X86.HasAVX2 && cpu.X86.HasBMI2
	has512  = has256 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	hasIFMA = has512 && cpu.X86.HasAVX512IFMA
)

func newImplementation(key *[KeySize]byte) implementation {
	if has256 {
		return newKernel(key, has512, hasIFMA)
	}
	return newLibrary(key)
}

const (
	blockSize = 64
	// passData is what one pass ciphers when it makes the Poly1305 key too.
	passData = 23 * blockSize
	// shortData is the same for the kernel that makes fewer blocks.
	shortData = 7 * blockSize
	// longTag is the length from which it pays to make powers of r.
	longTag = 256
)

// kernel is the cipher in assembly.
type kernel struct {
	state   [16]uint32
	polyKey [32]byte
	tag     [Overhead]byte
	sumH    [3]uint64
	r       [3]uint64
	powers  [15]uint64
	wide    bool // AVX-512 for the keystream
	ifma    bool // and for the tag
	scratch [passData]byte
}

func newKernel(key *[KeySize]byte, wide, ifma bool) *kernel {
	k := &kernel{wide: wide, ifma: ifma}
	copy(k.state[:], []uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}) // "expand 32-byte k"
	for i := range 8 {
		k.state[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return k
}

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

// xor256 is the same for any n, except that it makes no Poly1305 key without
// data: n is at least one.
//
//go:noescape
func xor256(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte)

// polyBlocks512 sets h to the Poly1305 sum of whole blocks of 16 bytes, at least
// sixteen. Both h and r are limbs of 44, 44 and 42 bits; those of h are some bits
// longer.
//
//go:noescape
func polyBlocks512(h *[3]uint64, msg *byte, blocks int, r *[3]uint64)

// polyBlocks4 continues the Poly1305 sum h by groups of four blocks, at least
// one group. powers are r^4, r^3, r^2 and r, and their sum, each of three words.
//
//go:noescape
func polyBlocks4(h *[3]uint64, msg *byte, groups int, powers *[15]uint64)

// first makes the Poly1305 key of record n and ciphers as much of src as one
// pass can. It returns how much that is.
func (k *kernel) first(dst, src []byte, n uint64) int {
	k.state[12], k.state[13] = 0, 0
	k.state[14], k.state[15] = bits.ReverseBytes32(uint32(n>>32)), bits.ReverseBytes32(uint32(n))
	size := min(len(src), passData)
	to, from := unsafe.SliceData(dst), unsafe.SliceData(src)
	switch {
	case !k.wide:
		xor256(to, from, size, &k.state, &k.polyKey)
	case size <= shortData:
		xor512x8(to, from, size, &k.state, &k.polyKey)
	default:
		xor512x24(to, from, size, &k.state, &k.polyKey)
	}
	return size
}

// rest ciphers what first has left.
func (k *kernel) rest(dst, src []byte) {
	for k.state[12] = 24; len(src) > 0; k.state[12] += 24 {
		size := min(len(src), 24*blockSize)
		switch {
		case !k.wide:
			xor256(&dst[0], &src[0], size, &k.state, nil)
		case size <= 8*blockSize:
			xor512x8(&dst[0], &src[0], size, &k.state, nil)
		default:
			xor512x24(&dst[0], &src[0], size, &k.state, nil)
		}
		dst, src = dst[size:], src[size:]
	}
}

func (k *kernel) seal(dst, plain []byte, n uint64) []byte {
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

func (k *kernel) open(dst, sealed []byte, n uint64) ([]byte, error) {
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

func (k *kernel) verify(sealed []byte, n uint64) bool {
	size := len(sealed) - Overhead
	k.first(nil, nil, n)
	k.sum(sealed[:size])
	return subtle.ConstantTimeCompare(k.tag[:], sealed[size:]) == 1
}

// sum sets tag to the Poly1305 of msg.
func (k *kernel) sum(msg []byte) {
	if len(msg) < longTag {
		poly1305.Sum(&k.tag, msg, &k.polyKey)
		return
	}
	le := binary.LittleEndian
	r0 := le.Uint64(k.polyKey[0:]) & 0x0ffffffc0fffffff
	r1 := le.Uint64(k.polyKey[8:]) & 0x0ffffffc0ffffffc
	var h0, h1, h2, c uint64
	if k.ifma {
		k.r = [3]uint64{r0 & (1<<44 - 1), (r0>>44 | r1<<20) & (1<<44 - 1), r1 >> 24}
		polyBlocks512(&k.sumH, &msg[0], len(msg)/16, &k.r)
		h0, c = bits.Add64(k.sumH[0], k.sumH[1]<<44, 0)
		h1, c = bits.Add64(k.sumH[1]>>20, k.sumH[2]<<24, c)
		h2 = k.sumH[2]>>40 + c
	} else {
		k.makePowers(r0, r1)
		k.sumH = [3]uint64{}
		whole := len(msg) &^ 63
		polyBlocks4(&k.sumH, &msg[0], whole/64, &k.powers)
		h0, h1, h2 = k.sumH[0], k.sumH[1], k.sumH[2]
		for msg = msg[whole:]; len(msg) >= 16; msg = msg[16:] {
			h0, c = bits.Add64(h0, le.Uint64(msg[0:]), 0)
			h1, c = bits.Add64(h1, le.Uint64(msg[8:]), c)
			h0, h1, h2 = polyMul(h0, h1, h2+c+1, r0, r1)
		}
	}
	if tail := msg[len(msg)&^15:]; len(tail) > 0 {
		var block [17]byte
		copy(block[:], tail)
		block[len(tail)] = 1
		h0, c = bits.Add64(h0, le.Uint64(block[0:]), 0)
		h1, c = bits.Add64(h1, le.Uint64(block[8:]), c)
		h2 += c
		h0, h1, h2 = polyMul(h0, h1, h2, r0, r1)
	}

	// Reduce modulo 2^130-5: add 5 for the bits above, then once more if what
	// is left is not below the modulus.
	h0, c = bits.Add64(h0, 5*(h2>>2), 0)
	h1, c = bits.Add64(h1, 0, c)
	h2 = h2&3 + c
	g0, c := bits.Add64(h0, 5, 0)
	g1, c := bits.Add64(h1, 0, c)
	mask := -((h2 + c) >> 2) // all ones if h+5 reaches 2^130
	h0 ^= mask & (h0 ^ g0)
	h1 ^= mask & (h1 ^ g1)
	h0, c = bits.Add64(h0, le.Uint64(k.polyKey[16:]), 0)
	h1, _ = bits.Add64(h1, le.Uint64(k.polyKey[24:]), c)
	le.PutUint64(k.tag[0:], h0)
	le.PutUint64(k.tag[8:], h1)
}

// makePowers fills powers for the factor r.
func (k *kernel) makePowers(r0, r1 uint64) {
	p := &k.powers
	p[9], p[10], p[11] = r0, r1, 0
	for i := 9; i > 0; i -= 3 {
		p[i-3], p[i-2], p[i-1] = polyMul(p[i], p[i+1], p[i+2], r0, r1)
	}
	var sum [3]uint64
	for i := 0; i < 12; i += 3 {
		var c uint64
		sum[0], c = bits.Add64(sum[0], p[i], 0)
		sum[1], c = bits.Add64(sum[1], p[i+1], c)
		sum[2] += p[i+2] + c
	}
	copy(p[12:], sum[:])
}

// polyMul multiplies h by r modulo 2^130-5. r is clamped, so the product of one
// of its words with the few bits of h2 fits a word. The result is not fully reduced.
func polyMul(h0, h1, h2, r0, r1 uint64) (uint64, uint64, uint64) {
	h0, c := bits.Add64(h0, 5*(h2>>2), 0)
	h1, c = bits.Add64(h1, 0, c)
	h2 = h2&3 + c

	a1, t0 := bits.Mul64(h0, r0)
	b1, b0 := bits.Mul64(h0, r1)
	c1, c0 := bits.Mul64(h1, r0)
	d1, d0 := bits.Mul64(h1, r1)
	t1, c := bits.Add64(a1, b0, 0)
	t2, c := bits.Add64(b1, d0, c)
	t3 := d1 + c
	t1, c = bits.Add64(t1, c0, 0)
	t2, c = bits.Add64(t2, c1, c)
	t3 += c
	t2, c = bits.Add64(t2, h2*r0, 0)
	t3 += h2*r1 + c

	// Above bit 130: four times the excess, and once.
	h0, c = bits.Add64(t0, t2&^3, 0)
	h1, c = bits.Add64(t1, t3, c)
	h2 = t2&3 + c
	h0, c = bits.Add64(h0, t2>>2|t3<<62, 0)
	h1, c = bits.Add64(h1, t3>>2, c)
	return h0, h1, h2 + c
}

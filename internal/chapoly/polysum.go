//go:build amd64 || arm64

package chapoly

import (
	"encoding/binary"
	"math/bits"
)

// polySum is a Poly1305 that is made piece by piece. The assembly knows where its
// fields are.
type polySum struct {
	h      [3]uint64
	powers [15]uint64 // r^4, r^3, r^2 and r, and their sum, each of three words
	key    [32]byte   // r and s
	// grouped says that there are powers. They pay for messages of some length.
	grouped bool
}

const (
	groupSize = 64  // four blocks, which are taken with one reduction
	longTag   = 256 // the length from which it pays to make powers of r
)

// polyBlocks4 continues the sum h by groups of four blocks, at least one group.
//
//go:noescape
func polyBlocks4(h *[3]uint64, msg *byte, groups int, powers *[15]uint64)

// factor returns r.
func (p *polySum) factor() (r0, r1 uint64) {
	return binary.LittleEndian.Uint64(p.key[0:]) & 0x0ffffffc0fffffff,
		binary.LittleEndian.Uint64(p.key[8:]) & 0x0ffffffc0ffffffc
}

// start begins the sum of a message of size bytes after key has been set. msg is the
// first part of the message: start takes so many blocks of it that the others make
// whole groups, and returns their length.
func (p *polySum) start(msg []byte, size int) int {
	p.h = [3]uint64{}
	if p.grouped = size >= longTag; !p.grouped {
		return 0
	}
	p.makePowers()
	lead := size % groupSize &^ 15
	p.blocks(msg[:lead])
	return lead
}

// makePowers fills powers for the r in key.
func (p *polySum) makePowers() {
	r0, r1 := p.factor()
	a0, a1, a2 := polyMul(r0, r1, 0, r0, r1)
	b0, b1, b2 := polyMul(a0, a1, a2, r0, r1)
	c0, c1, c2 := polyMul(b0, b1, b2, r0, r1)
	s0, s1, s2 := add192(a0, a1, a2, r0, r1, 0)
	s0, s1, s2 = add192(s0, s1, s2, b0, b1, b2)
	s0, s1, s2 = add192(s0, s1, s2, c0, c1, c2)
	w := &p.powers
	w[0], w[1], w[2] = c0, c1, c2
	w[3], w[4], w[5] = b0, b1, b2
	w[6], w[7], w[8] = a0, a1, a2
	w[9], w[10], w[11] = r0, r1, 0
	w[12], w[13], w[14] = s0, s1, s2
}

func add192(x0, x1, x2, y0, y1, y2 uint64) (uint64, uint64, uint64) {
	z0, c := bits.Add64(x0, y0, 0)
	z1, c := bits.Add64(x1, y1, c)
	return z0, z1, x2 + y2 + c
}

// blocks continues the sum by the whole blocks in msg, one at a time.
func (p *polySum) blocks(msg []byte) {
	r0, r1 := p.factor()
	h0, h1, h2 := p.h[0], p.h[1], p.h[2]
	for ; len(msg) >= 16; msg = msg[16:] {
		var c uint64
		h0, c = bits.Add64(h0, binary.LittleEndian.Uint64(msg[0:]), 0)
		h1, c = bits.Add64(h1, binary.LittleEndian.Uint64(msg[8:]), c)
		h0, h1, h2 = polyMul(h0, h1, h2+c+1, r0, r1)
	}
	p.h = [3]uint64{h0, h1, h2}
}

// finish sets tag to the sum after msg, the rest of the message.
func (p *polySum) finish(tag *[Overhead]byte, msg []byte) {
	if groups := len(msg) / groupSize; p.grouped && groups > 0 {
		polyBlocks4(&p.h, &msg[0], groups, &p.powers)
		msg = msg[groups*groupSize:]
	}
	p.blocks(msg)
	le := binary.LittleEndian
	h0, h1, h2 := p.h[0], p.h[1], p.h[2]
	var c uint64
	if tail := msg[len(msg)&^15:]; len(tail) > 0 {
		var block [16]byte
		block[copy(block[:], tail)] = 1
		r0, r1 := p.factor()
		h0, c = bits.Add64(h0, le.Uint64(block[0:]), 0)
		h1, c = bits.Add64(h1, le.Uint64(block[8:]), c)
		h0, h1, h2 = polyMul(h0, h1, h2+c, r0, r1)
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
	h0, c = bits.Add64(h0, le.Uint64(p.key[16:]), 0)
	h1, _ = bits.Add64(h1, le.Uint64(p.key[24:]), c)
	le.PutUint64(tag[0:], h0)
	le.PutUint64(tag[8:], h1)
}

// polyMul multiplies h by r modulo 2^130-5. r is clamped and h2 below 16, so the
// product of h2 with one word of r fits a word. The result is not fully reduced, but
// its h2 is at most 5.
func polyMul(h0, h1, h2, r0, r1 uint64) (uint64, uint64, uint64) {
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

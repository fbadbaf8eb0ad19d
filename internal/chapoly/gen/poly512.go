package main

// limbs are three registers with 44, 44 and 42 bits of a number modulo 2^130-5
// in each lane. A factor also has its upper limbs times 20: 2^132 is 4*5.
type limbs [3]string

type factor struct {
	r      limbs
	s1, s2 string
}

var (
	dLo = limbs{"Z8", "Z9", "Z10"} // sums of the lower 52 bits of products
	dHi = limbs{"Z11", "Z12", "Z13"}
)

const (
	mask44 = "Z31"
	mask42 = "Z30"
	pad    = "Z29" // 2^128, which is bit 40 of the upper limb
)

// mul leaves h*f in dLo and dHi; h has less than 2^46 in each limb.
func mul(h limbs, f factor) {
	for n := range 3 {
		i("VPXORQ %s, %s, %s", dLo[n], dLo[n], dLo[n])
		i("VPXORQ %s, %s, %s", dHi[n], dHi[n], dHi[n])
	}
	r := f.r
	// The order of a column is free; limb 0 is the last to be ready.
	terms := [][3][2]string{
		{{h[2], f.s1}, {h[2], f.s2}, {h[2], r[0]}},
		{{h[1], f.s2}, {h[1], r[0]}, {h[1], r[1]}},
		{{h[0], r[0]}, {h[0], r[1]}, {h[0], r[2]}},
	}
	for _, t := range terms {
		for n := range 3 {
			i("VPMADD52HUQ %s, %s, %s", t[n][1], t[n][0], dHi[n])
		}
		for n := range 3 {
			i("VPMADD52LUQ %s, %s, %s", t[n][1], t[n][0], dLo[n])
		}
	}
}

// reduce brings dLo and dHi back to limbs h. All carries are taken at once, so
// that limbs stay some bits too long, for which mul has room.
func reduce(h limbs) {
	i("VPSLLQ $10, %s, Z14", dHi[2]) // 2^(88+52) is 2^10 * 5
	i("VPSLLQ $12, %s, Z15", dHi[2])
	i("VPSLLQ $8, %s, %s", dHi[0], dHi[0])
	i("VPSLLQ $8, %s, %s", dHi[1], dHi[1])
	i("VPADDQ Z14, %s, %s", dLo[0], dLo[0])
	i("VPADDQ %s, %s, %s", dHi[0], dLo[1], dLo[1])
	i("VPADDQ %s, %s, %s", dHi[1], dLo[2], dLo[2])
	i("VPADDQ Z15, %s, %s", dLo[0], dLo[0])
	i("VPSRLQ $42, %s, Z14", dLo[2])
	i("VPSRLQ $44, %s, %s", dLo[1], dHi[1])
	i("VPSRLQ $44, %s, %s", dLo[0], dHi[0])
	i("VPSLLQ $2, Z14, Z15")
	i("VPANDQ %s, %s, %s", mask42, dLo[2], h[2])
	i("VPANDQ %s, %s, %s", mask44, dLo[1], h[1])
	i("VPANDQ %s, %s, %s", mask44, dLo[0], h[0])
	i("VPADDQ %s, %s, %s", dHi[1], h[2], h[2])
	i("VPADDQ %s, %s, %s", dHi[0], h[1], h[1])
	i("VPADDQ Z14, %s, %s", h[0], h[0])
	i("VPADDQ Z15, %s, %s", h[0], h[0])
}

// times20 completes the factor f.
func times20(f factor) {
	for n, s := range []string{f.s1, f.s2} {
		i("VPSLLQ $4, %s, Z14", f.r[n+1])
		i("VPSLLQ $2, %s, %s", f.r[n+1], s)
		i("VPADDQ Z14, %s, %s", s, s)
	}
}

func each3(f func(n int)) {
	for n := range 3 {
		f(n)
	}
}

// What polyBlocks512 keeps in registers.
var (
	firstSum   = limbs{"Z5", "Z6", "Z7"}                     // sum of the first eight of each sixteen
	secondSum  = limbs{"Z26", "Z27", "Z28"}                  // and of the others
	power      = factor{limbs{"Z0", "Z1", "Z2"}, "Z3", "Z4"} // r, r^2, r^4, r^8, r^16 in turn
	lanePowers = limbs{"Z16", "Z17", "Z18"}                  // powers for the lanes
	eighth     = limbs{"Z19", "Z20", "Z21"}                  // r^8 at last
)

// poly512 emits polyBlocks512: sixteen blocks at a time, one in each lane of two
// sums that do not wait for each other. Each step multiplies by r^16, and the
// last ones by what the lanes lack.
func poly512() {
	function("polyBlocks512", "h *[3]uint64, msg *byte, blocks int, r *[3]uint64", 0, 32)
	i("MOVQ h+0(FP), DI")
	i("MOVQ msg+8(FP), SI")
	i("MOVQ blocks+16(FP), CX")
	i("MOVQ r+24(FP), AX")
	for _, c := range [][2]string{{"0xfffffffffff", mask44}, {"0x3ffffffffff", mask42}, {"0x10000000000", pad}} {
		i("MOVQ $%s, R8", c[0])
		i("VPBROADCASTQ R8, %s", c[1])
	}
	powers512()
	firstSixteen512()
	i("JMP next")

	label("sixteen")
	for half, h := range []limbs{firstSum, secondSum} {
		i("VMOVDQU64 %d(SI), Z22", 128*half)
		i("VMOVDQU64 %d(SI), Z23", 128*half+64)
		split512(pad)
		mul(h, power)
		reduce(h)
		each3(func(n int) { i("VPADDQ Z%d, %s, %s", 22+n, h[n], h[n]) })
	}
	label("next")
	i("ADDQ $256, SI")
	i("DECQ CX")
	i("JNZ sixteen")
	finish512()
}

// powers512 makes the powers of r.
func powers512() {
	each3(func(n int) { i("VPBROADCASTQ %d(AX), %s", 8*n, power.r[n]) })

	// Exponents in the lanes, from lane 0 on. Unpacking puts the blocks into the
	// lanes in the order 0 4 1 5 2 6 3 7, so 8 4 7 3 6 2 5 1 is wanted.
	times20(power)
	mul(power.r, power)
	reduce(eighth) // 2 in all
	for n, mask := range []int{0x33, 0x0f, 0xaa} {
		i("MOVQ $0x%02x, R8", mask)
		i("KMOVW R8, K%d", n+1)
	}
	each3(func(n int) { i("VPBLENDMQ %s, %s, K1, %s", eighth[n], power.r[n], lanePowers[n]) }) // 2 2 1 1 2 2 1 1
	each3(func(n int) { i("VMOVDQA64 %s, %s", eighth[n], power.r[n]) })
	times20(power)
	mul(lanePowers, power)
	reduce(eighth)                                                                                // 4 4 3 3 4 4 3 3
	each3(func(n int) { i("VPBLENDMQ %s, %s, K2, %s", eighth[n], lanePowers[n], lanePowers[n]) }) // 4 4 3 3 2 2 1 1
	each3(func(n int) { i("VPBROADCASTQ X%s, %s", eighth[n][1:], power.r[n]) })
	times20(power)
	mul(lanePowers, power)
	reduce(eighth)                                                                                // 8 8 7 7 6 6 5 5
	each3(func(n int) { i("VPBLENDMQ %s, %s, K3, %s", lanePowers[n], eighth[n], lanePowers[n]) }) // 8 4 7 3 6 2 5 1
	each3(func(n int) { i("VPBROADCASTQ X%s, %s", eighth[n][1:], power.r[n]) })
	times20(power)

	each3(func(n int) { i("VMOVDQA64 %s, %s", power.r[n], eighth[n]) }) // r^8 for later
	mul(eighth, power)
	reduce(power.r)
	times20(power)
}

// firstSixteen512 loads the first blocks.
func firstSixteen512() {
	// Blocks that fill up the first sixteen stand before the message and are zero.
	// They are not loaded: a masked load that touches a missing page is very slow.
	i("MOVQ CX, R9")
	i("NEGQ R9")
	i("ANDQ $15, R9")
	i("ADDQ R9, CX")
	i("SHRQ $4, CX")
	i("SHLQ $1, R9")
	i("MOVL $0xffffffff, R8")
	i("SHLXQ R9, R8, R8")
	i("SHLQ $3, R9") // their length in bytes
	i("XORQ R10, R10")
	for half, h := range []limbs{firstSum, secondSum} {
		for n := range 2 {
			i("KMOVW R8, K%d", 1+n)
			i("SHRQ $8, R8")
			i("MOVQ $%d, R11", 64*(2*half+n))
			i("SUBQ R9, R11")
			i("CMOVQLT R10, R11")
			i("VMOVDQU64 (SI)(R11*1), Z%d", 22+n)
			i("VPEXPANDQ.Z Z%d, K%d, Z%d", 22+n, 1+n, 22+n)
			i("VMOVDQA64.Z %s, K%d, Z%d", pad, 1+n, 14+n)
		}
		i("VPUNPCKLQDQ Z15, Z14, Z15")
		split512("Z15")
		each3(func(n int) { i("VMOVDQA64 Z%d, %s", 22+n, h[n]) })
	}
	i("SUBQ R9, SI")
}

// split512 makes limbs in Z22 to Z24 of eight blocks in Z22 and Z23, with their bit 128.
func split512(pad string) {
	i("VPUNPCKLQDQ Z23, Z22, Z24")
	i("VPUNPCKHQDQ Z23, Z22, Z25")
	i("VPSRLQ $44, Z24, Z23")
	i("VPSLLQ $20, Z25, Z14")
	i("VPANDQ %s, Z24, Z22", mask44)
	i("VPTERNLOGQ $0xa8, %s, Z14, Z23", mask44) // (Z23 | Z14) & mask
	i("VPSRLQ $24, Z25, Z24")
	i("VPORQ %s, Z24, Z24", pad)
}

// finish512 multiplies the lanes by what they lack and adds them.
func finish512() {
	eight := factor{eighth, power.s1, power.s2}
	times20(eight)
	mul(firstSum, eight)
	reduce(firstSum)
	each3(func(n int) { i("VPADDQ %s, %s, %s", secondSum[n], firstSum[n], firstSum[n]) })
	last := factor{lanePowers, "Z22", "Z23"}
	times20(last)
	mul(firstSum, last)
	reduce(firstSum)
	each3(func(n int) {
		z := firstSum[n][1:]
		i("VEXTRACTI64X4 $1, Z%s, Y14", z)
		i("VPADDQ Y14, Y%s, Y%s", z, z)
		i("VEXTRACTI128 $1, Y%s, X14", z)
		i("VPADDQ X14, X%s, X%s", z, z)
		i("VPSHUFD $0x4e, X%s, X14", z)
		i("VPADDQ X14, X%s, X%s", z, z)
		i("VMOVQ X%s, %d(DI)", z, 8*n)
	})
	i("VZEROUPPER")
	i("RET")
}

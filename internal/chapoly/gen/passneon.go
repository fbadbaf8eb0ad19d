package main

import "fmt"

// In NEON, ChaCha20 is computed vertically for four blocks. There are 32 registers:
// 0 to 15 hold the words of the state, 16 to 19 take turns with those of row b, since a
// rotation by shifts needs another register for its result, and 20 to 23 are for data.
const (
	neonCounters = 26 // 0, 1, 2, 3
	neonRotate8  = 27
	neonState    = 28 // and the next three: the state before the rounds
)

// passNEON emits pass: four blocks in the vector unit, and during the rounds Poly1305
// of what was sealed before in the scalar unit.
//
// R0 to R7 are the parameters in their order, R8 counts double rounds without a tag,
// and the others are those of fourBlocksARM.
func passNEON() {
	function("pass", "dst, src *byte, n int, state *[16]uint32, msg *byte, groups int, poly *polySum, polyKey *[32]byte", 64, 64)
	for n, name := range []string{"dst", "src", "n", "state", "msg", "groups", "poly", "polyKey"} {
		i("MOVD %s+%d(FP), R%d", name, 8*n, n)
	}
	i("VLD1 (R3), [V28.S4, V29.S4, V30.S4, V31.S4]")
	for n, name := range []string{"counters", "rotate8"} {
		i("MOVD $·%s<>(SB), R8", name)
		i("VLD1 (R8), [V%d.B16]", neonCounters+n)
	}
	for word := range 16 {
		i("VDUP V%d.S[%d], V%d.S4", neonState+word/4, word%4, word)
	}
	i("VADD V%d.S4, V12.S4, V12.S4", neonCounters)
	roundsNEON()
	addStateNEON()
	outputNEON()
}

// roundsNEON emits the ten double rounds.
func roundsNEON() {
	double := record(doubleRoundNEON)
	i("MOVD $10, R8")
	i("SUB R5, R8, R8")
	i("CBZ R5, alone")
	loadSumARM("R6")
	label("both")
	interleave(double, record(func() { fourBlocksARM(4, 6, 24) }))
	i("SUB $1, R5, R5")
	i("CBNZ R5, both")
	storeSumARM("R6")
	i("CBZ R8, done")
	label("alone")
	lines = append(lines, double...)
	i("SUB $1, R8, R8")
	i("CBNZ R8, alone")
	label("done")
}

// doubleRoundNEON emits quarter rounds of four columns and of four diagonals, step by
// step, so that no instruction has to wait for the one before it.
func doubleRoundNEON() {
	register := [16]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	for _, round := range [2][4][4]int{
		{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}},
		{{0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}},
	} {
		each := func(f func(a, b, c, d int)) {
			for _, w := range round {
				f(w[0], register[w[1]], w[2], w[3])
			}
		}
		for _, left := range []int{12, 7} {
			each(func(a, b, c, d int) { i("VADD V%d.S4, V%d.S4, V%d.S4", b, a, a) })
			each(func(a, b, c, d int) { i("VEOR V%d.B16, V%d.B16, V%d.B16", a, d, d) })
			if left == 12 {
				each(func(a, b, c, d int) { i("VREV32 V%d.H8, V%d.H8", d, d) })
			} else {
				each(func(a, b, c, d int) { i("VTBL V%d.B16, [V%d.B16], V%d.B16", neonRotate8, d, d) })
			}
			each(func(a, b, c, d int) { i("VADD V%d.S4, V%d.S4, V%d.S4", d, c, c) })
			each(func(a, b, c, d int) { i("VEOR V%d.B16, V%d.B16, V%d.B16", c, b, b) })
			// 4 becomes 16, and 16 becomes 4.
			other := func(b int) int { return (b + 12) % 24 }
			each(func(a, b, c, d int) { i("VSHL $%d, V%d.S4, V%d.S4", left, b, other(b)) })
			each(func(a, b, c, d int) { i("VSRI $%d, V%d.S4, V%d.S4", 32-left, b, other(b)) })
			for word := 4; word < 8; word++ {
				register[word] = other(register[word])
			}
		}
	}
}

// addStateNEON adds the state that the rounds began with.
func addStateNEON() {
	for word := range 16 {
		tmp := 16 + word%4
		i("VDUP V%d.S[%d], V%d.S4", neonState+word/4, word%4, tmp)
		i("VADD V%d.S4, V%d.S4, V%d.S4", tmp, word, word)
	}
	i("VADD V%d.S4, V12.S4, V12.S4", neonCounters)
}

// outputNEON transposes the words of four blocks to the blocks, and XORs them with the
// data. Block n is in registers n, n+4, n+8 and n+12 then.
func outputNEON() {
	for w := 0; w < 16; w += 4 {
		i("VZIP1 V%d.S4, V%d.S4, V16.S4", w+1, w)
		i("VZIP2 V%d.S4, V%d.S4, V17.S4", w+1, w)
		i("VZIP1 V%d.S4, V%d.S4, V18.S4", w+3, w+2)
		i("VZIP2 V%d.S4, V%d.S4, V19.S4", w+3, w+2)
		for block := range 4 {
			i("VZIP%d V%d.D2, V%d.D2, V%d.D2", 1+block%2, 18+block/2, 16+block/2, w+block)
		}
	}
	i("CBZ R7, data0")
	i("VST1.P [V0.B16], 16(R7)")
	i("VST1 [V4.B16], (R7)")
	i("B data1")
	for block := range 4 {
		label("data%d", block)
		i("CMP $64, R2")
		i("BLT end%d", block)
		i("VLD1.P 64(R1), [V20.B16, V21.B16, V22.B16, V23.B16]")
		for row := range 4 {
			i("VEOR V%d.B16, V%d.B16, V%d.B16", block+4*row, 20+row, 20+row)
		}
		i("VST1.P [V20.B16, V21.B16, V22.B16, V23.B16], 64(R0)")
		i("SUB $64, R2, R2")
	}
	i("RET")
	for block := range 4 {
		label("end%d", block)
		i("MOVD $block-64(SP), R8")
		for row := range 4 {
			i("VST1.P [V%d.B16], 16(R8)", block+4*row)
		}
		if block < 3 {
			i("B tail")
		}
	}
	label("tail")
	i("MOVD $block-64(SP), R8")
	for bit := 5; bit >= 0; bit-- {
		tailNEON(bit)
	}
	i("RET")
}

// tailNEON XORs 2^bit bytes from R8 on if n has that bit.
func tailNEON(bit int) {
	size := 1 << bit
	less := fmt.Sprintf("less%d", size)
	i("TBZ $%d, R2, %s", bit, less)
	switch size {
	case 32:
		i("VLD1.P 32(R8), [V16.B16, V17.B16]")
		i("VLD1.P 32(R1), [V20.B16, V21.B16]")
		i("VEOR V16.B16, V20.B16, V20.B16")
		i("VEOR V17.B16, V21.B16, V21.B16")
		i("VST1.P [V20.B16, V21.B16], 32(R0)")
	case 16:
		i("VLD1.P 16(R8), [V16.B16]")
		i("VLD1.P 16(R1), [V20.B16]")
		i("VEOR V16.B16, V20.B16, V20.B16")
		i("VST1.P [V20.B16], 16(R0)")
	default:
		move := map[int]string{8: "MOVD", 4: "MOVWU", 2: "MOVHU", 1: "MOVBU"}[size]
		i("%s.P %d(R8), R9", move, size)
		i("%s.P %d(R1), R10", move, size)
		i("EOR R9, R10, R10")
		i("%s.P R10, %d(R0)", move, size)
	}
	label("%s", less)
}

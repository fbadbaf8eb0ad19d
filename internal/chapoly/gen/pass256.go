package main

import (
	"fmt"
	"slices"
)

// In AVX2, ChaCha20 is computed vertically: register n holds word n of the state for
// eight blocks. That leaves no register for intermediate results, so words 8 and 10
// are in memory in turn: word 10 before and after a double round.
const (
	memoryWord = 10
	spare      = "Y10"
)

// y is the register of a word of the state.
func y(word int) string { return fmt.Sprintf("Y%d", word) }

// The frame of pass256: counts at its start, then, from DI on and aligned to a
// vector, what follows.
const (
	countBoth  = "0(SP)" // double rounds with four blocks of the tag
	countAlone = "8(SP)" // double rounds without
	frame256   = 16 + 32 + 224
	powersAt   = 0   // 15 words
	memoryAt   = 128 // word 8 or 10
	blockAt    = 160 // one block
)

func vectors256() {
	data("counters256", 0, 1, 2, 3, 4, 5, 6, 7) // of the blocks in a pass
	data("counters2", 0, 0, 0, 0, 1, 0, 0, 0)
	data("two", 2, 0, 0, 0, 2, 0, 0, 0)
	// Where VPSHUFB finds the bytes of a rotated word.
	data("rotate16", 0x01000302, 0x05040706, 0x09080b0a, 0x0d0c0f0e, 0x01000302, 0x05040706, 0x09080b0a, 0x0d0c0f0e)
	data("rotate8", 0x02010003, 0x06050407, 0x0a09080b, 0x0e0d0c0f, 0x02010003, 0x06050407, 0x0a09080b, 0x0e0d0c0f)
}

// pass256 emits pass: eight blocks of ChaCha20 in the vector unit, and during the
// rounds Poly1305 of what was sealed before in the scalar unit.
func pass256() {
	function("pass", "dst, src *byte, n int, state *[16]uint32, msg *byte, groups int, poly *polySum, polyKey *[32]byte", frame256, 64)
	alignFrame256()
	i("MOVQ state+24(FP), AX")
	for word := range 16 {
		if word == memoryWord {
			i("VPBROADCASTD %d(AX), %s", 4*word, spare)
			i("VMOVDQA %s, %d(DI)", spare, memoryAt)
			continue
		}
		i("VPBROADCASTD %d(AX), %s", 4*word, y(word))
	}
	i("VPADDD ·counters256<>(SB), %s, %s", y(12), y(12))
	rounds256()
	addState256()
	output256()
}

// alignFrame256 sets DI to the part of the frame after the counts, rounded up.
func alignFrame256() {
	i("LEAQ 47(SP), DI")
	i("ANDQ $-32, DI")
}

// rounds256 emits the ten double rounds.
func rounds256() {
	double := record(doubleRound256)
	i("MOVQ groups+40(FP), CX")
	i("MOVQ $10, R8")
	i("SUBQ CX, R8")
	i("MOVQ CX, %s", countBoth)
	i("MOVQ R8, %s", countAlone)
	i("TESTQ CX, CX")
	i("JZ alone")

	i("MOVQ msg+32(FP), SI")
	i("MOVQ poly+48(FP), AX")
	loadSum("AX")
	for n := range 4 {
		i("VMOVDQU %d(AX), %s", 24+32*n-8*(n/3), spare)
		i("VMOVDQU %s, %d(DI)", spare, powersAt+32*n-8*(n/3))
	}
	label("both")
	interleave(double, record(fourBlocks))
	i("DECQ %s", countBoth)
	i("JNZ both")
	i("MOVQ poly+48(FP), AX")
	storeSum("AX")
	i("CMPQ %s, $0", countAlone)
	i("JZ done")

	label("alone")
	lines = append(lines, double...)
	i("DECQ %s", countAlone)
	i("JNZ alone")
	label("done")
}

const late, diagonals = 6, 16

// timed is an instruction and when it should begin, in cycles.
type timed struct {
	cycle int
	text  string
}

// doubleRound256 emits the quarter rounds of columns and diagonals in the order in
// which a processor that executes four instructions a cycle can begin them. Two quarter
// rounds of each four are late by some cycles, which delays nothing: those that follow
// early begin with what has been ready before, and words 8 and 10 are not needed for so
// long that they can be stored and loaded meanwhile.
func doubleRound256() {
	var all []timed
	for _, q := range []struct{ begin, a, b, c, d int }{
		{0, 0, 4, 8, 12},
		{0, 1, 5, 9, 13},
		{late, 2, 6, 10, 14},
		{late, 3, 7, 11, 15},
		{diagonals, 0, 5, 10, 15},
		{diagonals, 3, 4, 9, 14},
		{diagonals + late, 1, 6, 11, 12},
		{diagonals + late, 2, 7, 8, 13},
	} {
		all = append(all, quarterRound256(q.begin, q.a, q.b, q.c, q.d)...)
	}
	slices.SortStableFunc(all, func(x, y timed) int { return x.cycle - y.cycle })
	for _, t := range all {
		i("%s", t.text)
	}
}

func quarterRound256(begin, a, b, c, d int) (list []timed) {
	at := func(cycle int, format string, args ...any) {
		list = append(list, timed{begin + cycle, fmt.Sprintf(format, args...)})
	}
	for half, rotation := range [2][2]int{{16, 12}, {8, 7}} {
		n := 7 * half
		at(n, "VPADDD %s, %s, %s", y(b), y(a), y(a))
		at(n+1, "VPXOR %s, %s, %s", y(a), y(d), y(d))
		at(n+2, "VPSHUFB ·rotate%d<>(SB), %s, %s", rotation[0], y(d), y(d))
		// Word 8 is in memory when the diagonals begin, and word 10 when the columns do.
		early := begin%diagonals == 0
		stored := half == 0 && !early && (c == 8 || c == 10)
		if stored {
			at(n+3, "VPADDD %d(DI), %s, %s", memoryAt, y(d), y(c))
		} else {
			at(n+3, "VPADDD %s, %s, %s", y(d), y(c), y(c))
		}
		at(n+4, "VPXOR %s, %s, %s", y(c), y(b), y(b))
		if half == 1 && early && (c == 8 || c == 10) {
			at(n+4, "VMOVDQA %s, %d(DI)", y(c), memoryAt)
		}
		tmp := "Y10"
		if t := begin + n + 5; t >= 11 && t < diagonals+11 {
			tmp = "Y8"
		}
		at(n+5, "VPSLLD $%d, %s, %s", rotation[1], y(b), tmp)
		at(n+5, "VPSRLD $%d, %s, %s", 32-rotation[1], y(b), y(b))
		at(n+5, "VPXOR %s, %s, %s", tmp, y(b), y(b))
	}
	return list
}

// addState256 adds the state that the rounds began with.
func addState256() {
	i("MOVQ state+24(FP), AX")
	for word := range 16 {
		i("VPBROADCASTD %d(AX), %s", 4*word, spare)
		if word == memoryWord {
			i("VPADDD %d(DI), %s, %s", memoryAt, spare, spare)
			i("VMOVDQA %s, %d(DI)", spare, memoryAt)
			continue
		}
		i("VPADDD %s, %s, %s", spare, y(word), y(word))
	}
	i("VPADDD ·counters256<>(SB), %s, %s", y(12), y(12))
}

// transpose turns eight registers with one word of eight blocks each into one for
// each block, with eight words of it. It returns where they are, and which
// register is free then.
func transpose(r [8]string, free string) ([8]string, string) {
	pair := func(low, high string, a, b int) {
		i("%s %s, %s, %s", low, r[b], r[a], free)
		i("%s %s, %s, %s", high, r[b], r[a], r[b])
		r[a], free = free, r[a]
	}
	for n := 0; n < 8; n += 2 {
		pair("VPUNPCKLDQ", "VPUNPCKHDQ", n, n+1)
	}
	for n := 0; n < 8; n += 4 {
		pair("VPUNPCKLQDQ", "VPUNPCKHQDQ", n, n+2)
		pair("VPUNPCKLQDQ", "VPUNPCKHQDQ", n+1, n+3)
	}
	for n := range 4 {
		pair("VPERM2I128 $0x20,", "VPERM2I128 $0x31,", n, n+4)
	}
	// The middle two of four changed places when they were unpacked.
	return [8]string{r[0], r[2], r[1], r[3], r[4], r[6], r[5], r[7]}, free
}

// output256 XORs the keystream with the data.
func output256() {
	var words [16]string
	for word := range words {
		words[word] = y(word)
	}
	low, free := transpose([8]string(words[:8]), spare)
	// The first half of the last block makes room for word 11.
	i("VMOVDQA %s, %d(DI)", low[7], blockAt)
	words[memoryWord] = low[7]
	i("VMOVDQA %d(DI), %s", memoryAt, words[memoryWord])
	high, free := transpose([8]string(words[8:]), free)
	i("VMOVDQA %d(DI), %s", blockAt, free)
	low[7] = free

	xorBlocks256(low[:], high[:], "polyKey+56(FP)")
}

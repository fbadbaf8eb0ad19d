package main

import "fmt"

// z is the register of a row of four blocks.
func z(group, row int) string { return fmt.Sprintf("Z%d", 4*group+row) }

// chacha512 emits xor512xN, N blocks in groups of four.
func chacha512(groups int) {
	name := fmt.Sprintf("xor512x%d", 4*groups)
	function(name, "dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte", 0, 40)
	i("MOVQ dst+0(FP), DI")
	i("MOVQ src+8(FP), SI")
	i("MOVQ n+16(FP), CX")
	i("MOVQ state+24(FP), AX")
	i("MOVQ polyKey+32(FP), DX")
	for row := range 4 {
		i("VBROADCASTI32X4 %d(AX), Z%d", 16*row, 24+row)
	}
	i("VBROADCASTI32X4 ·four<>(SB), Z28")
	i("VPADDD ·counters<>(SB), Z27, Z27")
	for g := range groups {
		i("VMOVDQA64 Z24, %s", z(g, 0))
		i("VMOVDQA64 Z25, %s", z(g, 1))
		i("VMOVDQA64 Z26, %s", z(g, 2))
		if g == 0 {
			i("VMOVDQA64 Z27, %s", z(g, 3))
		} else {
			i("VPADDD Z28, %s, %s", z(g-1, 3), z(g, 3))
		}
	}
	rounds512(groups)
	output512(groups)
}

// rounds512 emits the ten double rounds.
func rounds512(groups int) {
	each := func(f func(a, b, c, d string)) {
		for g := range groups {
			f(z(g, 0), z(g, 1), z(g, 2), z(g, 3))
		}
	}
	i("MOVQ $10, R8")
	label("rounds")
	for half := range 2 {
		for _, rot := range [][2]int{{16, 12}, {8, 7}} {
			each(func(a, b, c, d string) { i("VPADDD %s, %s, %s", b, a, a) })
			each(func(a, b, c, d string) { i("VPXORD %s, %s, %s", a, d, d) })
			each(func(a, b, c, d string) { i("VPROLD $%d, %s, %s", rot[0], d, d) })
			each(func(a, b, c, d string) { i("VPADDD %s, %s, %s", d, c, c) })
			each(func(a, b, c, d string) { i("VPXORD %s, %s, %s", c, b, b) })
			each(func(a, b, c, d string) { i("VPROLD $%d, %s, %s", rot[1], b, b) })
		}
		// Columns become diagonals, and back. Row b is ready last, so the others move.
		shuffle := [3]int{0x93, 0x39, 0x4e}
		if half == 1 {
			shuffle = [3]int{0x39, 0x93, 0x4e}
		}
		each(func(a, b, c, d string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[0], a, a) })
		each(func(a, b, c, d string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[1], c, c) })
		each(func(a, b, c, d string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[2], d, d) })
	}
	i("DECQ R8")
	i("JNZ rounds")
}

// output512 adds the state and XORs the keystream with the data.
func output512(groups int) {
	// With a Poly1305 key wanted, block 0 is that and the data start at block 1.
	i("TESTQ DX, DX")
	i("JZ first")
	i("SUBQ $64, DI")
	i("SUBQ $64, SI")
	i("ADDQ $64, CX")
	label("first")
	var endings []string
	for g := range groups {
		a, b, c, d := z(g, 0), z(g, 1), z(g, 2), z(g, 3)
		i("VPADDD Z24, %s, %s", a, a)
		i("VPADDD Z25, %s, %s", b, b)
		i("VPADDD Z26, %s, %s", c, c)
		i("VPADDD Z27, %s, %s", d, d)
		if g+1 < groups {
			i("VPADDD Z28, Z27, Z27")
		}
		for k, block := range fourBlocks512(a, b, c, d) {
			at := 64 * (4*g + k)
			if at == 0 {
				i("TESTQ DX, DX")
				i("JZ data0")
				i("VMOVDQU Y%s, (DX)", block[1:])
				i("JMP data1")
				label("data0")
			}
			i("CMPQ CX, $%d", at+64)
			i("JLT end%d", len(endings))
			endings = append(endings, block)
			i("VPXORQ %d(SI), %s, %s", at, block, block)
			i("VMOVDQU64 %s, %d(DI)", block, at)
			if at == 0 {
				label("data1")
			}
		}
	}
	i("VZEROUPPER")
	i("RET")
	for n, block := range endings {
		label("end%d", n)
		i("VMOVDQA64 %s, Z31", block)
		if n > 0 {
			i("ADDQ $%d, SI", 64*n)
			i("ADDQ $%d, DI", 64*n)
			i("SUBQ $%d, CX", 64*n)
		}
		if n+1 < len(endings) {
			i("JMP tail")
		}
	}
	tail512()
}

// fourBlocks512 turns four rows of four blocks into four blocks.
func fourBlocks512(a, b, c, d string) [4]string {
	i("VSHUFI32X4 $0x44, %s, %s, Z29", b, a)
	i("VSHUFI32X4 $0xee, %s, %s, Z30", b, a)
	i("VSHUFI32X4 $0x44, %s, %s, %s", d, c, a)
	i("VSHUFI32X4 $0xee, %s, %s, %s", d, c, b)
	i("VSHUFI32X4 $0x88, %s, Z29, %s", a, c)
	i("VSHUFI32X4 $0xdd, %s, Z29, %s", a, d)
	i("VSHUFI32X4 $0x88, %s, Z30, Z29", b)
	i("VSHUFI32X4 $0xdd, %s, Z30, Z30", b)
	return [4]string{c, d, "Z29", "Z30"}
}

// tail512 emits the end of a record, which needs only part of the block in Z31.
func tail512() {
	label("tail")
	i("MOVQ $-1, R8")
	i("BZHIQ CX, R8, R8")
	i("KMOVQ R8, K1")
	i("VMOVDQU8.Z (SI), K1, Z30")
	i("VPXORQ Z30, Z31, Z31")
	i("VMOVDQU8 Z31, K1, (DI)")
	i("VZEROUPPER")
	i("RET")
}

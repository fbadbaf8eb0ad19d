package main

// xorBlocks256 XORs n bytes of src with blocks, of which low and high are the halves,
// and returns. If the parameter polyKey is not nil, block 0 goes there and the data
// start with the next one. There is room for a block at blockAt(DI).
func xorBlocks256(low, high []string, polyKey string) {
	i("MOVQ dst+0(FP), BX")
	i("MOVQ src+8(FP), SI")
	i("MOVQ n+16(FP), CX")
	i("MOVQ %s, AX", polyKey)
	i("TESTQ AX, AX")
	i("JZ data0")
	i("SUBQ $64, BX")
	i("SUBQ $64, SI")
	i("ADDQ $64, CX")
	i("VMOVDQU %s, (AX)", low[0])
	i("JMP data1")
	for block := range low {
		label("data%d", block)
		i("CMPQ CX, $%d", 64*block+64)
		i("JLT end%d", block)
		for half, r := range []string{low[block], high[block]} {
			i("VPXOR %d(SI), %s, %s", 64*block+32*half, r, r)
			i("VMOVDQU %s, %d(BX)", r, 64*block+32*half)
		}
	}
	i("VZEROUPPER")
	i("RET")
	for block := range low {
		label("end%d", block)
		i("VMOVDQA %s, %d(DI)", low[block], blockAt)
		i("VMOVDQA %s, %d(DI)", high[block], blockAt+32)
		i("ADDQ $%d, SI", 64*block)
		i("ADDQ $%d, BX", 64*block)
		if block < len(low)-1 {
			i("JMP tail")
		}
	}
	label("tail")
	i("ADDQ $%d, DI", blockAt)
	i("ANDQ $63, CX")
	for size := 32; size > 0; size /= 2 {
		xorTail256(size)
	}
	i("VZEROUPPER")
	i("RET")
}

// xorTail256 XORs size bytes from DI on if CX has that bit.
func xorTail256(size int) {
	i("TESTQ $%d, CX", size)
	i("JZ less%d", size)
	switch size {
	case 32, 16:
		r := map[int]string{32: "Y0", 16: "X0"}[size]
		i("VMOVDQU (DI), %s", r)
		i("VPXOR (SI), %s, %s", r, r)
		i("VMOVDQU %s, (BX)", r)
	default:
		suffix := map[int]string{8: "Q", 4: "L", 2: "W", 1: "B"}[size]
		i("MOV%s (SI), AX", suffix)
		i("XOR%s (DI), AX", suffix)
		i("MOV%s AX, (BX)", suffix)
	}
	if size > 1 {
		for _, pointer := range []string{"DI", "SI", "BX"} {
			i("ADDQ $%d, %s", size, pointer)
		}
	}
	label("less%d", size)
}

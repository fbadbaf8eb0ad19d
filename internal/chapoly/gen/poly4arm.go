package main

// poly4ARM emits polyBlocks4 for arm64.
func poly4ARM() {
	function("polyBlocks4", "h *[3]uint64, msg *byte, groups int, powers *[15]uint64", 0, 32)
	i("MOVD h+0(FP), R6")
	i("MOVD msg+8(FP), R4")
	i("MOVD groups+16(FP), R5")
	i("MOVD powers+24(FP), R7")
	loadSumARM("R6")
	label("four")
	fourBlocksARM(4, 7, 0)
	i("SUB $1, R5, R5")
	i("CBNZ R5, four")
	storeSumARM("R6")
	i("RET")
}

// h is in R9 to R11. R12 to R16 are the words of a product.
func loadSumARM(from string) {
	i("LDP (%s), (R9, R10)", from)
	i("MOVD 16(%s), R11", from)
}

func storeSumARM(to string) {
	i("STP (R9, R10), (%s)", to)
	i("MOVD R11, 16(%s)", to)
}

// addToARM adds words to the product from its word at on, with the carry.
func addToARM(at int, words ...string) {
	for n := at; n < 5; n++ {
		op, w := "ADCS", "ZR"
		switch n {
		case at:
			op = "ADDS"
		case 4:
			op = "ADC"
		}
		if n-at < len(words) {
			w = words[n-at]
		}
		i("%s %s, R%d, R%d", op, w, 12+n, 12+n)
	}
}

// fourBlocksARM is fourBlocks for arm64: blocks at register msg, powers at offset from
// register powers. It changes msg, and R9 to R26.
func fourBlocksARM(msg, powers, offset int) {
	i("LDP %d(R%d), (R14, R15)", offset+96, powers)
	i("MOVD %d(R%d), R16", offset+112, powers)
	for _, block := range []int{1, 2, 3, 0} {
		i("LDP %d(R%d), (R19, R20)", 16*block, msg)
		i("LDP %d(R%d), (R21, R22)", offset+24*block, powers)
		if block != 3 { // the last power is r itself, which has only two words
			i("MOVD %d(R%d), R23", offset+24*block+16, powers)
		}
		if block == 0 {
			i("ADDS R9, R19, R19")
			i("ADCS R10, R20, R20")
			i("ADC ZR, R11, R11")
		}
		timesPowerARM(block)
	}
	i("ADD $64, R%d, R%d", msg, msg)
	reduceProductARM()
}

// mulARM multiplies two registers to two others.
func mulARM(a, b, low, high string) {
	i("MUL %s, %s, %s", a, b, low)
	i("UMULH %s, %s, %s", a, b, high)
}

// timesPowerARM adds the product of a block, in R19 and R20, and its power, in R21 to
// R23, to the sum.
func timesPowerARM(block int) {
	if block == 1 { // the sum begins here
		mulARM("R19", "R21", "R12", "R13")
		mulARM("R19", "R23", "R26", "R17")
		addToARM(2, "R26", "R17")
	} else {
		mulARM("R19", "R21", "R24", "R25")
		if block == 3 {
			addToARM(0, "R24", "R25")
		} else {
			mulARM("R19", "R23", "R26", "R17")
			addToARM(0, "R24", "R25", "R26", "R17")
		}
	}
	mulARM("R19", "R22", "R24", "R25")
	addToARM(1, "R24", "R25")
	mulARM("R20", "R21", "R24", "R25")
	if block == 3 {
		addToARM(1, "R24", "R25")
	} else {
		mulARM("R20", "R23", "R26", "R17")
		addToARM(1, "R24", "R25", "R26", "R17")
	}
	mulARM("R20", "R22", "R24", "R25")
	addToARM(2, "R24", "R25")
	if block == 0 {
		mulARM("R11", "R21", "R24", "R25")
		mulARM("R11", "R22", "R26", "R17")
		i("MUL R11, R23, R23")
		addToARM(2, "R24", "R25", "R17")
		addToARM(3, "R26", "R23")
	}
}

// reduceProductARM brings the product back to h, as reduceProduct does.
func reduceProductARM() {
	i("AND $3, R14, R11")
	i("BIC $3, R14, R17")
	i("ADDS R17, R12, R12")
	i("ADCS R15, R13, R13")
	i("ADC R16, R11, R11")
	i("EXTR $2, R14, R15, R14")
	i("EXTR $2, R15, R16, R15")
	i("LSR $2, R16, R16")
	i("ADDS R14, R12, R12")
	i("ADCS R15, R13, R13")
	i("ADC R16, R11, R11")
	i("LSR $2, R11, R17")
	i("AND $3, R11, R11")
	i("ADD R17<<2, R17, R17")
	i("ADDS R17, R12, R9")
	i("ADCS ZR, R13, R10")
	i("ADC ZR, R11, R11")
}

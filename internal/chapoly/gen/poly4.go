package main

import "fmt"

// poly4 emits polyBlocks4: Poly1305 of groups of four blocks, without a cipher.
func poly4() {
	function("polyBlocks4", "h *[3]uint64, msg *byte, groups int, powers *[15]uint64", 16, 32)
	i("MOVQ h+0(FP), DI")
	i("MOVQ msg+8(FP), SI")
	i("MOVQ groups+16(FP), CX")
	i("MOVQ CX, 0(SP)")
	loadSum("DI")
	i("MOVQ powers+24(FP), DI")
	label("four")
	fourBlocks()
	i("DECQ 0(SP)")
	i("JNZ four")
	i("MOVQ h+0(FP), DI")
	storeSum("DI")
	i("RET")
}

// product are the registers of its five words.
var product = [5]string{"R11", "R12", "R13", "R14", "R15"}

func loadSum(from string) {
	for n := range 3 {
		i("MOVQ %d(%s), R%d", 8*n, from, 8+n)
	}
}

func storeSum(to string) {
	for n := range 3 {
		i("MOVQ R%d, %d(%s)", 8+n, 8*n, to)
	}
}

// addTo adds words to the product from its word at on, with the carry.
func addTo(at int, words ...string) {
	for n := at; n < len(product); n++ {
		op, w := "ADCQ", "$0"
		if n == at {
			op = "ADDQ"
		}
		if n-at < len(words) {
			w = words[n-at]
		}
		i("%s %s, %s", op, w, product[n])
	}
}

// fourBlocks takes four blocks at SI with one reduction,
//
//	h = (h+m0)*r^4 + m1*r^3 + m2*r^2 + m3*r
//
// in 64-bit words, and advances SI. h is in R8 to R10, the powers are at DI; of
// the other registers it leaves only SP alone. Bit 128 of each block is the same
// for all, so its share is one number, which the caller has put behind the powers.
func fourBlocks() {
	for n := range 3 {
		i("MOVQ %d(DI), %s", 96+8*n, product[2+n])
	}
	// The first block waits for the group before, so it comes last.
	for _, block := range []int{1, 2, 3, 0} {
		timesPower(block)
	}
	i("ADDQ $64, SI")
	reduceProduct()
}

// timesPower adds the product of a block and its power to the sum of them.
func timesPower(block int) {
	p := func(word int) string { return fmt.Sprintf("%d(DI)", 24*block+8*word) }
	low, high := fmt.Sprintf("%d(SI)", 16*block), fmt.Sprintf("%d(SI)", 16*block+8)
	if block == 0 {
		i("ADDQ %s, R8", low)
		i("ADCQ %s, R9", high)
		i("ADCQ $0, R10")
		low, high = "R8", "R9"
	}
	// The last power is r itself, which has only two words.
	third := block != 3
	i("MOVQ %s, DX", low)
	if block == 1 { // the sum begins here
		i("MULXQ %s, %s, %s", p(0), product[0], product[1])
		i("MULXQ %s, BP, CX", p(2))
		addTo(2, "BP", "CX")
	} else {
		i("MULXQ %s, AX, BX", p(0))
		if third {
			i("MULXQ %s, BP, CX", p(2))
			addTo(0, "AX", "BX", "BP", "CX")
		} else {
			addTo(0, "AX", "BX")
		}
	}
	i("MULXQ %s, AX, BX", p(1))
	addTo(1, "AX", "BX")
	i("MOVQ %s, DX", high)
	i("MULXQ %s, AX, BX", p(0))
	if third {
		i("MULXQ %s, BP, CX", p(2))
		addTo(1, "AX", "BX", "BP", "CX")
	} else {
		addTo(1, "AX", "BX")
	}
	i("MULXQ %s, AX, BX", p(1))
	addTo(2, "AX", "BX")
	if block == 0 {
		i("MOVQ R10, DX")
		i("MULXQ %s, AX, BX", p(0))
		i("MULXQ %s, BP, CX", p(1))
		i("IMULQ %s, R10", p(2))
		addTo(2, "AX", "BX", "CX")
		addTo(3, "BP", "R10")
	}
}

// reduceProduct brings the product back to h. What is above bit 130 comes back five times:
// once as it stands in the words, which is four times, and once shifted.
// (Shifts of two words are slow on AMD, so they are put together by hand.)
func reduceProduct() {
	i("MOVQ %s, AX", product[2])
	i("ANDQ $-4, AX")
	i("MOVQ %s, R10", product[2])
	i("ANDQ $3, R10")
	i("ADDQ AX, %s", product[0])
	i("ADCQ %s, %s", product[3], product[1])
	i("ADCQ %s, R10", product[4])
	i("RORXQ $2, %s, BX", product[3])
	i("RORXQ $2, %s, CX", product[4])
	i("SHRQ $2, %s", product[2])
	i("SHRQ $2, %s", product[3])
	i("SHRQ $2, %s", product[4])
	i("MOVQ $0xc000000000000000, BP")
	i("ANDQ BP, BX")
	i("ANDQ BP, CX")
	i("ORQ BX, %s", product[2])
	i("ORQ CX, %s", product[3])
	i("ADDQ %s, %s", product[2], product[0])
	i("ADCQ %s, %s", product[3], product[1])
	i("ADCQ %s, R10", product[4])
	// The powers have all 130 bits, so the few bits now above have to come back
	// too, or they would be more each time.
	i("MOVQ R10, R8")
	i("ANDQ $3, R10")
	i("SHRQ $2, R8")
	i("LEAQ (R8)(R8*4), R8")
	i("ADDQ %s, R8", product[0])
	i("MOVQ %s, R9", product[1])
	i("ADCQ $0, R9")
	i("ADCQ $0, R10")
}

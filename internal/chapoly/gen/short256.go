package main

// short256 emits passShort: four blocks of ChaCha20 for a short record. They lie
// horizontally: a register holds a row of the state for two blocks. That takes more
// instructions for each block than the vertical pass, but less time for so few.
func short256() {
	function("passShort", "dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte", frame256, 40)
	alignFrame256()
	i("MOVQ state+24(FP), AX")
	i("VMOVDQU ·rotate16<>(SB), Y12")
	i("VMOVDQU ·rotate8<>(SB), Y13")
	for row := range 4 {
		i("VBROADCASTI128 %d(AX), Y%d", 16*row, 8+row)
	}
	i("VPADDD ·counters2<>(SB), Y11, Y11")
	for row := range 4 {
		i("VMOVDQA Y%d, Y%d", 8+row, row)
		i("VMOVDQA Y%d, Y%d", 8+row, 4+row)
	}
	i("VPADDD ·two<>(SB), Y7, Y7")
	i("MOVQ $10, R8")
	label("rounds")
	horizontalRound256([3]int{0x93, 0x39, 0x4e})
	horizontalRound256([3]int{0x39, 0x93, 0x4e})
	i("DECQ R8")
	i("JNZ rounds")

	var low, high []string
	free := "Y12"
	for n := 0; n < 8; n += 4 {
		for row := range 4 {
			i("VPADDD Y%d, Y%d, Y%d", 8+row, n+row, n+row)
		}
		if n > 0 {
			i("VPADDD ·two<>(SB), Y7, Y7")
		}
		// Four rows of two blocks become two blocks.
		a, b, c, d := y(n), y(n+1), y(n+2), y(n+3)
		i("VPERM2I128 $0x20, %s, %s, %s", b, a, free)
		i("VPERM2I128 $0x31, %s, %s, %s", b, a, a)
		i("VPERM2I128 $0x20, %s, %s, %s", d, c, b)
		i("VPERM2I128 $0x31, %s, %s, %s", d, c, c)
		low, high = append(low, free, a), append(high, b, c)
		free = d
	}
	xorBlocks256(low, high, "polyKey+32(FP)")
}

// horizontalRound256 emits a round of two groups of two blocks, in which the columns
// become diagonals, or the other way round. Row b is ready last, so the others move.
func horizontalRound256(shuffle [3]int) {
	each := func(f func(a, b, c, d, tmp string)) {
		f("Y0", "Y1", "Y2", "Y3", "Y14")
		f("Y4", "Y5", "Y6", "Y7", "Y15")
	}
	for _, step := range []struct {
		shuffled string
		rotation int
	}{{"Y12", 12}, {"Y13", 7}} {
		each(func(a, b, c, d, tmp string) { i("VPADDD %s, %s, %s", b, a, a) })
		each(func(a, b, c, d, tmp string) { i("VPXOR %s, %s, %s", a, d, d) })
		each(func(a, b, c, d, tmp string) { i("VPSHUFB %s, %s, %s", step.shuffled, d, d) })
		each(func(a, b, c, d, tmp string) { i("VPADDD %s, %s, %s", d, c, c) })
		each(func(a, b, c, d, tmp string) { i("VPXOR %s, %s, %s", c, b, b) })
		each(func(a, b, c, d, tmp string) { i("VPSLLD $%d, %s, %s", step.rotation, b, tmp) })
		each(func(a, b, c, d, tmp string) { i("VPSRLD $%d, %s, %s", 32-step.rotation, b, b) })
		each(func(a, b, c, d, tmp string) { i("VPXOR %s, %s, %s", tmp, b, b) })
	}
	each(func(a, b, c, d, tmp string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[0], a, a) })
	each(func(a, b, c, d, tmp string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[1], c, c) })
	each(func(a, b, c, d, tmp string) { i("VPSHUFD $0x%02x, %s, %s", shuffle[2], d, d) })
}

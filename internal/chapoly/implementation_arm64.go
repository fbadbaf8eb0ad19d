package chapoly

// passBlocks is how many blocks pass makes with NEON, which every processor of this
// architecture has.
const passBlocks = 4

// shortBlocks is none: there is no shorter pass.
const shortBlocks = 0

func newImplementation(key *[KeySize]byte) implementation { return newInterleaved(key) }

// passAlone is pass without a tag.
func passAlone(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte) {
	pass(dst, src, n, state, nil, 0, nil, polyKey)
}

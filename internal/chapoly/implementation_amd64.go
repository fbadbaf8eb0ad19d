package chapoly

import "golang.org/x/sys/cpu"

//go:generate go run ./gen

// What this processor and its operating system can run.
var (
	hasAVX2   = cpu.X86.HasAVX2 && cpu.X86.HasBMI2
	hasAVX512 = hasAVX2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL
	hasIFMA   = hasAVX512 && cpu.X86.HasAVX512IFMA
)

// passBlocks is how many blocks pass makes with AVX2.
const passBlocks = 8

func newImplementation(key *[KeySize]byte) implementation {
	switch {
	case hasAVX512:
		return newWide(key, hasIFMA)
	case hasAVX2:
		return newInterleaved(key)
	default:
		return newLibrary(key)
	}
}

// shortBlocks is how many blocks passShort makes.
const shortBlocks = 4

// passShort is pass with fewer blocks and without a tag.
//
//go:noescape
func passShort(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte)

// passAlone is pass without a tag.
func passAlone(dst, src *byte, n int, state *[16]uint32, polyKey *[32]byte) {
	const most = shortBlocks * blockSize
	if n <= most-blockSize || n <= most && polyKey == nil {
		passShort(dst, src, n, state, polyKey)
	} else {
		pass(dst, src, n, state, nil, 0, nil, polyKey)
	}
}

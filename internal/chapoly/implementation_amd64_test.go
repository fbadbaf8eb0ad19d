package chapoly

// kernels are the implementations in assembly that this machine can run.
func kernels() map[string]func(*[KeySize]byte) implementation {
	all := map[string]func(*[KeySize]byte) implementation{}
	if hasAVX2 {
		all["AVX2"] = func(key *[KeySize]byte) implementation { return newInterleaved(key) }
	}
	if hasAVX512 {
		all["AVX-512 without IFMA"] = func(key *[KeySize]byte) implementation { return newWide(key, false) }
	}
	if hasIFMA {
		all["AVX-512"] = func(key *[KeySize]byte) implementation { return newWide(key, true) }
	}
	return all
}

// tagFunctions make a tag by each of them.
func tagFunctions() map[string]func(*[32]byte, []byte) [Overhead]byte {
	all := map[string]func(*[32]byte, []byte) [Overhead]byte{}
	if hasAVX2 {
		all["in passes"] = tagInPasses
	}
	if hasIFMA {
		all["AVX-512"] = func(key *[32]byte, msg []byte) [Overhead]byte {
			k := &wide{ifma: true}
			k.poly.key = *key
			k.sum(msg)
			return k.tag
		}
	}
	return all
}

package chapoly

// kernels are the implementations in assembly that this machine can run.
func kernels() map[string]func(*[KeySize]byte) implementation {
	return map[string]func(*[KeySize]byte) implementation{
		"NEON": func(key *[KeySize]byte) implementation { return newInterleaved(key) },
	}
}

// tagFunctions make a tag by each of them.
func tagFunctions() map[string]func(*[32]byte, []byte) [Overhead]byte {
	return map[string]func(*[32]byte, []byte) [Overhead]byte{"in passes": tagInPasses}
}

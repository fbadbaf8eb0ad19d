//go:build !amd64 && !arm64

package chapoly

func newImplementation(key *[KeySize]byte) implementation { return newLibrary(key) }

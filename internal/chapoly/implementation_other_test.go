//go:build !amd64 && !arm64

package chapoly

func kernels() map[string]func(*[KeySize]byte) implementation { return nil }

func tagFunctions() map[string]func(*[32]byte, []byte) [Overhead]byte { return nil }

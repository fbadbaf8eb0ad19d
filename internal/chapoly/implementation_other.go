//go:build !amd64

package chapoly

func newRoad(key *[KeySize]byte) road { return newLibrary(key) }

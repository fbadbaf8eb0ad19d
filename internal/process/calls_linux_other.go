//go:build linux && !amd64

package process

// forbiddenHere are calls that only this architecture has: none that matter.
func forbiddenHere(bool) []uint32 { return nil }

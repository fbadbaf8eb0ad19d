//go:build !linux && !darwin && !windows

package rootless

// firstFreePort is the first port at which everybody may listen.
func firstFreePort() int { return 1024 }

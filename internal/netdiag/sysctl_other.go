//go:build !linux

package netdiag

// forwardingOff is not known on this system.
func forwardingOff(string, bool) (setting string, off bool) { return "", false }

// strictReversePath is not known on this system.
func strictReversePath(string) bool { return false }

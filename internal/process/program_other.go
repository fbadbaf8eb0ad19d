//go:build !linux

package process

// ReleaseProgram does nothing here.
func ReleaseProgram() error { return nil }

//go:build !linux

package process

import (
	"errors"
	"fmt"

	"tincan/internal/config"
)

var errLinuxOnly = errors.New("that works on Linux only")

// Confine applies w. On this system only empty restrictions can be
// fulfilled, and Sandbox normal, which then is nothing.
func Confine(w Restrictions) (State, error) {
	if w.Account != nil || w.Root != "" {
		return State{}, fmt.Errorf("changing the user or the root directory: %w", errLinuxOnly)
	}
	s := State{Sandbox: config.SandboxOff.String()}
	switch w.Sandbox {
	case config.SandboxHigh:
		return s, fmt.Errorf("sandbox of level high: %w", errLinuxOnly)
	case config.SandboxNormal:
		s.Missing = []string{"everything of level normal, which this system does not have"}
	}
	return s, nil
}

// LookUp finds the account of a user.
func LookUp(string) (*Account, error) {
	return nil, fmt.Errorf("changing the user: %w", errLinuxOnly)
}

// LockMemory keeps the memory of this process from being swapped out.
func LockMemory() error { return fmt.Errorf("locking memory: %w", errLinuxOnly) }

// CanWrite reports whether this process may make files in a directory.
func CanWrite(string) bool { return true }

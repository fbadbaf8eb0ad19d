//go:build !linux

package netconf

import "context"

// Outside leads packets into the VPN that are for nobody in it. It cannot be made on this system.
type Outside struct{}

// NewOutside returns [ErrNotSupported].
func NewOutside(OutsideConfig) (*Outside, error) { return nil, ErrNotSupported }

// OutsidePossible returns [ErrNotSupported].
func OutsidePossible() error { return ErrNotSupported }

// Set returns [ErrNotSupported].
func (*Outside) Set(OutsideConfig) error { return ErrNotSupported }

// Restore does nothing.
func (*Outside) Restore() (int, error) { return 0, nil }

// Close does nothing.
func (*Outside) Close() error { return nil }

// WatchRules does nothing until ctx ends.
func WatchRules(ctx context.Context, _ func()) { <-ctx.Done() }

// ClearOutside does nothing.
func ClearOutside(string) error { return nil }

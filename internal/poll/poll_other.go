//go:build !linux

package poll

import (
	"errors"
	"time"
)

// Poller is available on Linux only.
type Poller struct{}

// New returns an error.
func New(...int) (*Poller, error) { return nil, errors.ErrUnsupported }

// Wait is never called.
func (*Poller) Wait(time.Duration) (ready uint64, err error) { return 0, errors.ErrUnsupported }

// Interrupt is never called.
func (*Poller) Interrupt() {}

// Close is never called.
func (*Poller) Close() {}

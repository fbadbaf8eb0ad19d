//go:build !linux

package confdir

import (
	"context"
	"errors"
)

// WatchDir is not available on this system.
func WatchDir(context.Context, string, chan<- struct{}) (<-chan struct{}, error) {
	return nil, errors.ErrUnsupported
}

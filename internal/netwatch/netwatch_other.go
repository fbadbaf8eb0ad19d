//go:build !linux

package netwatch

import (
	"context"
	"time"
)

// every is how often we look.
const every = 3 * time.Second

// notify gives a hint now and then.
func notify(ctx context.Context, hints chan<- struct{}, _ Config) { poll(ctx, hints, every) }

// defaultRoutes are not known here. A new network comes with new addresses, as a rule.
func defaultRoutes(func(string) bool) []string { return nil }

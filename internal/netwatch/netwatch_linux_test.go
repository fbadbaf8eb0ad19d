package netwatch

import (
	"context"
	"testing"
	"time"
)

// What changes between the first look and the moment from which the kernel tells us, or while it
// does not, is noticed as well.
func TestTheBeginningIsAHint(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hints := make(chan struct{}, 1)
	ended := make(chan error)
	go func() { ended <- subscribe(ctx, hints, &Config{Ignore: func(string) bool { return false }}) }()
	select {
	case <-hints:
	case <-time.After(time.Minute):
		t.Error("no hint")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

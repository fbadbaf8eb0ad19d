package daemon

import (
	"context"
	"testing"
	"time"
)

func TestTicksOfTheClockOnTheWall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ticks, err := wallTicks(ctx, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		select {
		case <-ticks:
		case <-time.After(time.Minute):
			t.Fatal("no tick")
		}
	}
}

package netwatch

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func at(dev string, addrs ...string) (v view) {
	for _, a := range addrs {
		v.addrs = append(v.addrs, addr{netip.MustParseAddr(a), dev})
	}
	return v
}

func TestWhatCountsAsAChange(t *testing.T) {
	routed := at("eth0", "192.0.2.1")
	routed.routes = []string{"192.0.2.254 dev eth0 metric 0"}
	for _, c := range []struct {
		name        string
		before, now view
		want        string
	}{
		{"nothing", at("eth0", "192.0.2.1"), at("eth0", "192.0.2.1"), ""},
		{"a new address", at("eth0", "192.0.2.1"), at("eth0", "192.0.2.1", "2001:db8::1"), "there is now 2001:db8::1 on eth0"},
		{"another address", at("eth0", "192.0.2.1"), at("eth0", "192.0.2.2"), "there is now 192.0.2.2 on eth0, 192.0.2.1 on eth0 is gone"},
		{"the same on another interface", at("eth0", "192.0.2.1"), at("wlan0", "192.0.2.1"), "there is now 192.0.2.1 on wlan0, 192.0.2.1 on eth0 is gone"},
		{"no network at all", at("eth0", "192.0.2.1"), view{}, "192.0.2.1 on eth0 is gone"},
		{"another default route", at("eth0", "192.0.2.1"), routed, "the default route has changed"},
		{"much at once", view{}, at("eth0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"), "there is now 192.0.2.1 on eth0, there is now 192.0.2.2 on eth0, there is now 192.0.2.3 on eth0, and more"},
	} {
		if got := c.now.since(c.before); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestASeriesOfHintsIsTakenTogether(t *testing.T) {
	for name, c := range map[string]struct {
		hints int // 50 ms apart
		want  time.Duration
	}{
		"one":     {1, quietPeriod},
		"three":   {3, 150*time.Millisecond + quietPeriod},
		"endless": {1000, atMost},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				hints := make(chan struct{}, 1)
				var hinting sync.WaitGroup
				defer hinting.Wait()
				hinting.Go(func() {
					for range c.hints {
						if time.Sleep(50 * time.Millisecond); ctx.Err() != nil {
							return
						}
						hint(hints)
					}
				})
				if c.hints == 1 {
					time.Sleep(50 * time.Millisecond)
					<-hints
				}
				start := time.Now()
				if !calm(ctx, hints) {
					t.Error("it has ended")
				}
				if d := time.Since(start); d != c.want {
					t.Errorf("it took %v, want %v", d, c.want)
				}
				if cancel(); calm(ctx, hints) {
					t.Error("it does not end")
				}
			})
		})
	}
}

func TestWatchingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, Config{Ignore: func(string) bool { return false }, Changed: func(string) {}, Failed: func(err error) { t.Error(err) }})
	}()
	time.Sleep(50 * time.Millisecond)
	cancel()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}

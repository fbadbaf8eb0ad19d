package bootnode

import (
	"net/netip"
	"sync"
	"time"
)

// Limits of the service. They leave room for two hundred machines behind one
// address that join at the same moment.
const (
	maxBody     = 64 << 10 // bytes of a request
	maxHeader   = 8 << 10
	patience    = 10 * time.Second // for the header, and for the body
	answerLimit = 20 * time.Second

	maxConns        = 1024
	maxConnsPerAddr = 300
	maxSessions     = 1024
	sessionsPerAddr = 300
	sessionLife     = 30 * time.Second
	failureBurst    = 30 // wrong requests of one address at once
	failureRefill   = 10 * time.Second
	logBurst        = 50 // lines about one address at once
	logRefill       = 5 * time.Second
	maxRemembered   = 4096 // addresses
)

// bucket holds the tokens of one address.
type bucket struct {
	tokens float64
	at     time.Time
}

// buckets counts something by address: burst at once and one every refill after
// that.
type buckets struct {
	burst  int
	refill time.Duration

	mu   sync.Mutex
	seen map[netip.Prefix]bucket
}

// reset forgets everybody, and sets the limits.
func (b *buckets) reset(burst int, refill time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.burst, b.refill, b.seen = burst, refill, nil
}

func (b *buckets) current(p netip.Prefix, now time.Time) bucket {
	x, ok := b.seen[p]
	if !ok {
		return bucket{float64(b.burst), now}
	}
	if d := now.Sub(x.at); d > 0 {
		x.tokens = min(float64(b.burst), x.tokens+float64(d)/float64(b.refill))
		x.at = now
	}
	return x
}

// left tells whether the address has any tokens.
func (b *buckets) left(a netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current(wholeAddr(a), now).tokens >= 1
}

// take takes one away, if there is one.
func (b *buckets) take(a netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := wholeAddr(a)
	x := b.current(p, now)
	ok := x.tokens >= 1
	if ok {
		x.tokens--
	}
	if len(b.seen) >= maxRemembered || b.seen == nil {
		// A flood from very many addresses gets at most a fresh start.
		b.seen = map[netip.Prefix]bucket{}
	}
	b.seen[p] = x
	return ok
}

// wholeAddr is what counts as one address: with IPv6, everybody has a /64.
func wholeAddr(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

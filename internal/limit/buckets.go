package limit

import (
	"net/netip"
	"sync"
	"time"
)

// Buckets bounds how often each address may do something. Its fields must not change
// while it is used. It is safe for concurrent use.
type Buckets struct {
	Burst  int           // times at once
	Refill time.Duration // and once more each time this has passed
	Most   int           // addresses that are remembered

	mu   sync.Mutex
	seen map[netip.Prefix]bucket
}

// bucket holds the tokens of one address.
type bucket struct {
	tokens float64
	at     time.Time
}

// Left tells whether the address has any tokens.
func (b *Buckets) Left(a netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, known := b.seen[Network(a)]
	return !known || b.refilled(x, now).tokens >= 1
}

// Take takes a token of the address away, and tells whether there was one.
func (b *Buckets) Take(a netip.Addr, now time.Time) bool {
	_, ok := b.Reserve(a, now, 0)
	return ok
}

// Reserve takes a token that the address has, or will have within most if it takes no other one, and
// tells how long it is until then. It reports false, and takes none, if that is too long.
func (b *Buckets) Reserve(a netip.Addr, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Network(a)
	x, known := b.seen[p]
	if !known {
		b.makeRoom(now)
		x = bucket{tokens: float64(b.Burst), at: now}
	}
	x = b.refilled(x, now)
	if x.tokens < 1 {
		wait = time.Duration((1 - x.tokens) * float64(b.Refill))
	}
	if ok = wait <= most; ok {
		x.tokens--
	}
	b.seen[p] = x
	return wait, ok
}

func (b *Buckets) refilled(x bucket, now time.Time) bucket {
	if d := now.Sub(x.at); d > 0 {
		x.tokens = min(float64(b.Burst), x.tokens+float64(d)/float64(b.Refill))
		x.at = now
	}
	return x
}

// makeRoom forgets the addresses that are as good as new, and of the others what is
// more than half of the room: then a flood from very many addresses gets at most a
// fresh start.
func (b *Buckets) makeRoom(now time.Time) {
	if len(b.seen) < b.Most && b.seen != nil {
		return
	}
	old := b.seen
	b.seen = make(map[netip.Prefix]bucket)
	for p, x := range old {
		if x = b.refilled(x, now); x.tokens < float64(b.Burst) && len(b.seen) < b.Most/2 {
			b.seen[p] = x
		}
	}
}

// Network is what counts as one address: with IPv6, everybody has a /64.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

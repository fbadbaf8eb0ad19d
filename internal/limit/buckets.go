package limit

import (
	"net/netip"
	"sync"
	"time"

	"tincan/internal/rate"
)

// Buckets bounds how often each address may do something. Its fields must not change
// while it is used. It is safe for concurrent use.
type Buckets struct {
	rate.Limit     // of each address
	Most       int // addresses that are remembered
	// Peer maps an address to the peer that it counts as; nil: [Network].
	Peer func(netip.Addr) netip.Prefix

	mu   sync.Mutex
	seen map[netip.Prefix]rate.Bucket
}

// Left reports whether the address has any tokens.
func (b *Buckets) Left(a netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.seen[b.peer(a)]
	return x.Left(b.Limit, now)
}

// Take takes a token of the address, and reports whether there was one.
func (b *Buckets) Take(a netip.Addr, now time.Time) bool {
	_, ok := b.Reserve(a, now, 0)
	return ok
}

// Reserve takes a token that the address has, or will have within most if it takes no other one, and
// returns the time until then. It returns false, and takes none, if that is too long.
func (b *Buckets) Reserve(a netip.Addr, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.peer(a)
	x, known := b.seen[p]
	if !known {
		b.makeRoom(now)
	}
	wait, ok = x.Reserve(b.Limit, now, most)
	b.seen[p] = x
	return wait, ok
}

func (b *Buckets) peer(a netip.Addr) netip.Prefix {
	if b.Peer != nil {
		return b.Peer(a)
	}
	return Network(a)
}

// makeRoom removes the addresses whose buckets are full, and of the others what is
// more than half of the capacity: so a flood from very many addresses at most resets
// their buckets.
func (b *Buckets) makeRoom(now time.Time) {
	if len(b.seen) < b.Most && b.seen != nil {
		return
	}
	old := b.seen
	b.seen = make(map[netip.Prefix]rate.Bucket)
	for p, x := range old {
		if x.Used(now) > 0 && len(b.seen) < b.Most/2 {
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

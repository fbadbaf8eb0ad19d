package invite

import (
	"net/netip"
	"sync"
	"time"
)

// Everybody who reaches us may try cookies, at the price of a key exchange. So
// each address may begin burst conversations at once and one every refill
// after that.
const (
	burst  = 20
	refill = time.Second

	maxAddresses = 1024
	maxTalking   = 32
)

// limiter bounds how many conversations begin and run. The zero value is ready.
type limiter struct {
	mu      sync.Mutex
	seen    map[netip.Prefix]bucket
	talking int
}

// bucket holds the tokens of one address.
type bucket struct {
	tokens float64
	at     time.Time
}

// begin tells whether addr may begin a conversation now. If so, end must be
// called when it is over.
func (l *limiter) begin(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.talking >= maxTalking || !l.take(network(addr), now) {
		return false
	}
	l.talking++
	return true
}

func (l *limiter) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.talking--
}

func (l *limiter) take(p netip.Prefix, now time.Time) bool {
	b, known := l.seen[p]
	if !known {
		l.makeRoom(now)
		b = bucket{tokens: burst, at: now}
	}
	b = b.refilled(now)
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.seen[p] = b
	return ok
}

func (b bucket) refilled(now time.Time) bucket {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(burst, b.tokens+float64(d)/float64(refill))
		b.at = now
	}
	return b
}

// makeRoom forgets the addresses that are as good as new, or else all of them:
// then a flood from very many addresses gets at most a fresh start.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.seen) < maxAddresses && l.seen != nil {
		return
	}
	old := l.seen
	l.seen = make(map[netip.Prefix]bucket)
	for p, b := range old {
		if b = b.refilled(now); b.tokens < burst && len(l.seen) < maxAddresses/2 {
			l.seen[p] = b
		}
	}
}

// network is what counts as one address: with IPv6, everybody has a /64.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap()
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.WithZone("").Prefix(bits)
	return p
}

package invite

import (
	"net/netip"
	"sync"
	"time"

	"tincan/internal/limit"
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
	begun   limit.Buckets
	talking int
}

// begin tells whether addr may begin a conversation now. If so, end must be
// called when it is over.
func (l *limiter) begin(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun.Burst == 0 {
		l.begun = limit.Buckets{Burst: burst, Refill: refill, Most: maxAddresses}
	}
	if l.talking >= maxTalking || !l.begun.Take(addr, now) {
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

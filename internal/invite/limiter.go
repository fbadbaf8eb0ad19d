package invite

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"tincan/internal/limit"
	"tincan/internal/rate"
)

// Everybody who reaches us may try cookies, at the price of a key exchange. Limits are by
// failure: a class-room behind one address whose pupils all have an invitation is let in. Each address may
// fail as often as failureLimit says. Of the conversations that run at the
// same time it has a share; what is beyond that waits for its turn.
const (
	maxAddresses   = 1024
	maxTalking     = 128 // conversations that run
	maxTalkingEach = 16  // of one address
	maxWaiting     = 256
	maxWaitingEach = 64
	turnLimit      = 5 * time.Second // for which one waits
)

var (
	failureLimit = rate.Limit{Burst: 20, Every: time.Second}      // failed conversations of one address
	logLimit     = rate.Limit{Burst: 20, Every: 10 * time.Second} // lines about one address that was refused
)

// limiter bounds how many conversations fail and run. The zero value is ready.
type limiter struct {
	mu      sync.Mutex
	failed  limit.Buckets
	logged  limit.Buckets
	talking limit.Count
	waiting limit.Count
	changed chan struct{} // closed when a conversation has ended
}

func (l *limiter) fillIn() {
	if l.failed.Burst == 0 {
		l.failed = limit.Buckets{Limit: failureLimit, Most: maxAddresses}
		l.logged = limit.Buckets{Limit: logLimit, Most: maxAddresses}
	}
}

// mayLog tells whether there may be another line about an address that was refused.
func (l *limiter) mayLog(addr netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillIn()
	return l.logged.Take(addr, now)
}

// begin waits until addr may begin a conversation. If it returns no error, end must be
// called when that is over.
func (l *limiter) begin(ctx context.Context, addr netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fillIn()
	p := limit.Network(addr)
	if !l.failed.Left(addr, time.Now()) {
		return ErrTooManyFailures
	}
	if !l.waiting.Below(p, maxWaiting, maxWaitingEach) {
		return ErrTooMany
	}
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	l.waiting.Add(p, 1)
	defer l.waiting.Add(p, -1)
	for !l.talking.Below(p, maxTalking, maxTalkingEach) {
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return ErrTooMany
		}
	}
	l.talking.Add(p, 1)
	return nil
}

// end ends a conversation; failed says whether the newcomer is to blame that nobody was let in.
func (l *limiter) end(addr netip.Addr, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failed {
		l.failed.Take(addr, time.Now())
	}
	l.talking.Add(limit.Network(addr), -1)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Package rate bounds how often something is done, by token buckets. It reads no clock, and what a bucket is for and
// what happens above the limit is up to the caller; for limits per address see package limit.
package rate

import "time"

// Limit allows Burst operations at once, and one more each time Every has passed.
type Limit struct {
	Burst int
	Every time.Duration
}

// PerSecond is n times a second, all of them at once if need be.
func PerSecond(n int) Limit { return Limit{Burst: n, Every: time.Second / time.Duration(n)} }

// Bucket is what has been used of a limit. The zero value is unused. All its methods take the present time; a clock that
// is set back gives nothing, and takes nothing. It is not safe for concurrent use.
type Bucket struct {
	used time.Duration // not regained yet
	at   time.Time     // when used was worked out
}

// Used is the time until all is regained.
func (b *Bucket) Used(now time.Time) time.Duration {
	passed := max(0, now.Sub(b.at))
	b.used, b.at = max(0, b.used-passed), now
	return b.used
}

// Spend uses up a cost, given as the time to regain it, even if less is left; a negative cost gives back.
func (b *Bucket) Spend(now time.Time, cost time.Duration) { b.used = max(0, b.Used(now)+cost) }

// Left reports whether one more operation is allowed.
func (b *Bucket) Left(l Limit, now time.Time) bool { return b.wait(l, now) <= 0 }

// Take reports whether one more operation is allowed, and counts it if so.
func (b *Bucket) Take(l Limit, now time.Time) bool {
	_, ok := b.Reserve(l, now, 0)
	return ok
}

// Reserve counts an operation that is allowed after a wait of at most most, and returns the wait. If it is longer the
// result is false, and nothing is counted.
func (b *Bucket) Reserve(l Limit, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	if wait = b.wait(l, now); wait > most {
		return wait, false
	}
	b.used += l.Every
	return wait, true
}

func (b *Bucket) wait(l Limit, now time.Time) time.Duration {
	return max(0, b.Used(now)-time.Duration(l.Burst-1)*l.Every)
}

package mesh

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/hybrid"
	"tincan/internal/legacy"
	"tincan/internal/mesh/timer"
	"tincan/internal/node"
)

// Deps is what a pure machine cannot make itself.
type Deps struct {
	Rand    *rand.Rand // choices and jitter
	Secrets io.Reader  // keys and nonces of handshakes
	// RouteMTU is the kernel's MTU of the route to an address in bytes of IP
	// packet, 0 if unknown. It may be nil.
	RouteMTU func(netip.Addr) int
	// Heard is when the last byte came in on a meta connection, zero if unknown. It
	// may be nil: then only whole requests count.
	Heard func(ConnID) time.Time
	// Costs are those of the ciphers that this machine offers in the second key exchange. It may be nil: then there is only
	// the one of SPTPS. It may block for less than a millisecond.
	Costs func() []hybrid.Cost
	// Locate tells where an address leads. It may be nil: then everywhere is Elsewhere.
	Locate func(netip.Addr) Location
}

// env is what every part of the protocol core may use: the configuration, the time of the event that is being
// handled, timers, chance, and the list of effects.
type env struct {
	cfg      Config
	deps     Deps
	now      time.Time     // of the event being handled
	ahead    time.Duration // of the caller's clock, which has been set back
	idle     time.Duration // the longest time between two events since the last Tick
	timers   timer.Queue
	effects  []Effect
	refusals map[string]*Refusal // by cause
	down     bool                // Shutdown was handled
}

func withDefaults(c Config) Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Suite == (legacy.Suite{}) {
		c.Suite = legacy.DefaultSuite
	}
	def(&c.PingInterval, time.Minute)
	def(&c.PingTimeout, 5*time.Second)
	c.PingTimeout = min(c.PingTimeout, c.PingInterval)
	def(&c.MaxTimeout, 15*time.Minute)
	def(&c.KeyExpire, time.Hour)
	def(&c.UDPDiscoveryInterval, 2*time.Second)
	def(&c.UDPDiscoveryKeepalive, 10*time.Second)
	def(&c.UDPDiscoveryTimeout, 30*time.Second)
	def(&c.UDPInfoInterval, 5*time.Second)
	def(&c.MTUInfoInterval, 5*time.Second)
	def(&c.MACExpire, 10*time.Minute)
	def(&c.StaleAfter, 24*time.Hour)
	if c.TunnelServer {
		c.StrictSubnets = true
	}
	return c
}

// turnJitter is by how much regular turns vary, as in tinc: all nodes would otherwise act at the same moment after a common
// restart.
const turnJitter = 131 * time.Millisecond

// every calls fn each period.
func (e *env) every(period time.Duration, fn func()) {
	e.timers.Set(e.now.Add(period+e.jitter(turnJitter)), func() {
		fn()
		e.every(period, fn)
	})
}

// alarm calls a function at the earliest of the times for which it was asked since it last did so.
type alarm struct{ timer *timer.Timer }

// by has a call fn at the given time, unless it does so earlier anyway.
func (e *env) by(a *alarm, at time.Time, fn func()) {
	if a.isSet(at) {
		return
	}
	e.timers.Cancel(a.timer)
	a.timer = e.timers.Set(at, fn)
}

// isSet tells whether a calls a function until the given time.
func (a *alarm) isSet(until time.Time) bool { return a.timer.Waiting() && !a.timer.LaterThan(until) }

// earlier is the earlier one of two times at which something is due; zero: it is not due.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// after calls fn once.
func (e *env) after(d time.Duration, fn func()) *timer.Timer { return e.timers.Set(e.now.Add(d), fn) }

// jitter is a random duration below d.
func (e *env) jitter(d time.Duration) time.Duration {
	return time.Duration(e.deps.Rand.Int64N(int64(d)))
}

// clock takes note of the time, which never goes back. Times should carry the reading of a
// monotonic clock, as those of time.Now do, so that they do not jump when somebody sets the
// clock on the wall. Should one be set back nevertheless, time goes on from where it was:
// nothing may wait until that clock has caught up.
func (e *env) clock(now time.Time) {
	now = now.Add(e.ahead)
	if now.Before(e.now) {
		e.ahead += e.now.Sub(now)
		now = e.now
	}
	e.idle = max(e.idle, now.Sub(e.now))
	e.now = now
}

func (e *env) emit(x Effect) { e.effects = append(e.effects, x) }

func (e *env) logf(level int, p Priority, format string, args ...any) {
	e.emit(Log{Level: level, Priority: p, Text: fmt.Sprintf(format, args...), Cause: format, About: about(args)})
}

// about is whom a message is about: the first node, connection or address in it.
func about(args []any) string {
	for _, a := range args {
		switch a := a.(type) {
		case node.Name:
			return string(a)
		case *conn:
			if a.peer == nil {
				return a.remote.Addr().String()
			}
			return string(a.peer.name)
		case netip.AddrPort:
			return a.Addr().String()
		}
	}
	return ""
}

func (e *env) nonce() uint32 { return e.deps.Rand.Uint32() }

// mayWait tells whether what is due has to wait until so long after the last time, and sees to it that its
// turn comes.
func (e *env) mayWait(t *turn, wait time.Duration) bool {
	at := t.last.Add(wait)
	if !e.now.Before(at) || t.last.After(e.now) {
		return false
	}
	if !t.next.Waiting() {
		t.next = e.timers.Set(at, func() {}) // what follows a tick does it
	}
	return true
}

// turn keeps something that is due often from being done too often. The zero value lets it be done at once.
type turn struct {
	last time.Time
	next *timer.Timer // when it may be done again, if it has to wait
}

// done takes note that it is done.
func (t *turn) done(now time.Time) { t.last = now }

// limitExceeded counts that something beyond the bounds, which c brought, was ignored, and logs it at most once a
// minute for each cause.
func (e *env) limitExceeded(c *conn, format string, args ...any) {
	r := e.refusals[format]
	if r == nil {
		if e.refusals == nil {
			e.refusals = map[string]*Refusal{}
		}
		r = &Refusal{By: map[node.Name]uint64{}}
		e.refusals[format] = r
	}
	r.Count++
	r.Last = e.now
	if c != nil && c.peer != nil && (r.By[c.peer.name] > 0 || len(r.By) < maxRefused) {
		r.By[c.peer.name]++
	}
	if !r.told.IsZero() && e.now.Sub(r.told) < time.Minute {
		return
	}
	r.told, r.Text = e.now, fmt.Sprintf(format, args...)
	if r.Count > 1 {
		e.logf(0, Warning, "ignoring "+format+" (%d times so far)", append(args, r.Count)...)
		return
	}
	e.logf(0, Warning, "ignoring "+format, args...)
}

// Refusal is something that was ignored since there was too much of it.
type Refusal struct {
	Text  string // what it was, with one of those who did it
	Count uint64 // since the start
	Last  time.Time
	By    map[node.Name]uint64 // the same by the neighbour that brought it, for the first few of these

	told time.Time
}

// maxRefused neighbours are told apart for each cause.
const maxRefused = 64

// listRefusals lists what was ignored since there was too much of it.
func (e *env) listRefusals() (list []Refusal) {
	for _, cause := range slices.Sorted(maps.Keys(e.refusals)) {
		r := *e.refusals[cause]
		r.By = maps.Clone(r.By)
		list = append(list, r)
	}
	return list
}

// dropLearned takes the learned key of a node out of the configuration, which belongs to the caller.
func (e *env) dropLearned(name node.Name) {
	if _, ok := e.cfg.Learned[name]; ok {
		e.cfg.Learned = maps.Clone(e.cfg.Learned)
		delete(e.cfg.Learned, name)
	}
}

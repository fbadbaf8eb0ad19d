package mesh

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/legacy"
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
	timers   timers
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

// every calls fn each period. All nodes would otherwise act at the same moment
// after a common restart, so each turn gets a little jitter, as in tinc.
func (m *env) every(period time.Duration, fn func()) {
	m.timers.set(m.now.Add(period+m.jitter(131*time.Millisecond)), func() {
		fn()
		m.every(period, fn)
	})
}

// after calls fn once.
func (m *env) after(d time.Duration, fn func()) *timer { return m.timers.set(m.now.Add(d), fn) }

// jitter is a random duration below d.
func (m *env) jitter(d time.Duration) time.Duration {
	return time.Duration(m.deps.Rand.Int64N(int64(d)))
}

// clock takes note of the time, which never goes back. Times should carry the reading of a
// monotonic clock, as those of time.Now do, so that they do not jump when somebody sets the
// clock on the wall. Should one be set back nevertheless, time goes on from where it was:
// nothing may wait until that clock has caught up.
func (m *env) clock(now time.Time) {
	now = now.Add(m.ahead)
	if now.Before(m.now) {
		m.ahead += m.now.Sub(now)
		now = m.now
	}
	m.now = now
}

func (m *env) emit(e Effect) { m.effects = append(m.effects, e) }

func (m *env) logf(level int, p Priority, format string, args ...any) {
	m.emit(Log{Level: level, Priority: p, Text: fmt.Sprintf(format, args...), Cause: format, About: about(args)})
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

func (m *env) nonce() uint32 { return m.deps.Rand.Uint32() }

// mayWait tells whether what is due has to wait until so long after the last time, and sees to it that its
// turn comes.
func (m *env) mayWait(t *turn, wait time.Duration) bool {
	at := t.last.Add(wait)
	if !m.now.Before(at) || t.last.After(m.now) {
		return false
	}
	if t.next == nil || t.next.index < 0 {
		t.next = m.timers.set(at, func() {}) // what follows a tick does it
	}
	return true
}

// turn keeps something that is due often from being done too often. The zero value lets it be done at once.
type turn struct {
	last time.Time
	next *timer // when it may be done again, if it has to wait
}

// done takes note that it is done.
func (t *turn) done(now time.Time) { t.last = now }

// limitExceeded counts that something beyond the bounds, which c brought, was ignored, and logs it at most once a
// minute for each cause.
func (m *env) limitExceeded(c *conn, format string, args ...any) {
	r := m.refusals[format]
	if r == nil {
		if m.refusals == nil {
			m.refusals = map[string]*Refusal{}
		}
		r = &Refusal{By: map[node.Name]uint64{}}
		m.refusals[format] = r
	}
	r.Count++
	r.Last = m.now
	if c != nil && c.peer != nil && (r.By[c.peer.name] > 0 || len(r.By) < maxRefused) {
		r.By[c.peer.name]++
	}
	if !r.told.IsZero() && m.now.Sub(r.told) < time.Minute {
		return
	}
	r.told, r.Text = m.now, fmt.Sprintf(format, args...)
	if r.Count > 1 {
		m.logf(0, Warning, "ignoring "+format+" (%d times so far)", append(args, r.Count)...)
		return
	}
	m.logf(0, Warning, "ignoring "+format, args...)
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
func (m *env) listRefusals() (list []Refusal) {
	for _, cause := range slices.Sorted(maps.Keys(m.refusals)) {
		r := *m.refusals[cause]
		r.By = maps.Clone(r.By)
		list = append(list, r)
	}
	return list
}

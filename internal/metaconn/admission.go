package metaconn

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/limit"
	"tincan/internal/rate"
)

const (
	maxPending = 256 // accepted connections that have not been activated
	maxEach    = 64  // of them, those of one address
	maxKnown   = 4096
	maxSources = 4096
	// turnLimit is how long a connection may wait for its turn. Whoever dials gives up after
	// PingTimeout (5 s), so waiting longer would serve nobody.
	turnLimit = 5 * time.Second
	// unknownShare is how many times MaxBurst all addresses together that have never logged in may
	// connect at once, and more each second. It bounds what a flood from very many addresses costs.
	unknownShare = 20
	unknownLimit = time.Second
	// loginTime is how long a connection is safe from one of equal standing. A login takes three
	// round trips.
	loginTime = time.Second
	// crowd is how many connections of one address are too many to be safe.
	crowd = 8
)

// admission decides who may come in, and when. Its rule is that nobody waits because of somebody
// else's address: each address (with IPv6: each /64) has a budget of its own, and where room is short
// it is taken from the address that has most of it. Addresses from which a node has logged in
// come before those that have never shown a key. It opens no sockets and starts no goroutines.
type admission struct {
	each    limit.Buckets // by address
	unknown rate.Limit    // of all addresses together that have not logged in

	mu      sync.Mutex
	spent   rate.Bucket                // of unknown
	known   map[netip.Prefix]time.Time // when the last login from there was
	pending []*visitor                 // oldest first
}

// visitor is one accepted connection before it has been activated. All fields but evict belong to admission.
type visitor struct {
	from   netip.Prefix
	local  bool // from this machine
	since  time.Time
	proven bool   // the other end has proved who it is
	evict  func() // ends the connection; called without locks
}

func newAdmission(burst int, known []netip.Addr) *admission {
	a := &admission{
		each:    limit.Buckets{Limit: rate.PerSecond(burst), Most: maxSources},
		unknown: rate.PerSecond(burst * unknownShare),
		known:   map[netip.Prefix]time.Time{},
	}
	for _, k := range known[:min(len(known), maxKnown)] {
		a.known[limit.Network(k)] = time.Time{}
	}
	return a
}

// enter takes a connection from an address in, which leave must be called for later. The connection
// may begin after wait. victim, if there is one, has lost its place and is to be evicted. A nil
// visitor: there is no room for this address now.
func (a *admission) enter(from netip.Addr, now time.Time, evict func()) (v *visitor, wait time.Duration, victim *visitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v = &visitor{from: limit.Network(from), local: from.IsLoopback(), since: now, evict: evict}
	if !v.local {
		var ok bool
		if a.count(v.from) >= maxEach {
			return nil, 0, nil
		}
		if wait, ok = a.each.Reserve(from, now, turnLimit); !ok {
			return nil, 0, nil
		}
		if !a.trusted(v) {
			all, ok := a.spent.Reserve(a.unknown, now, unknownLimit)
			if !ok {
				return nil, 0, nil
			}
			wait = max(wait, all)
		}
	}
	if len(a.pending) >= maxPending {
		if victim = a.victim(v, now); victim == nil {
			return nil, 0, nil
		}
		a.remove(victim)
	}
	a.pending = append(a.pending, v)
	return v, wait, victim
}

// trusted tells whether v comes from where a node has logged in, or from this machine.
func (a *admission) trusted(v *visitor) bool {
	_, known := a.known[v.from]
	return known || v.local
}

func (a *admission) count(from netip.Prefix) (n int) {
	for _, v := range a.pending {
		if v.from == from {
			n++
		}
	}
	return n
}

// victim is the connection that gives way to v: the oldest one of the address that has most of them.
func (a *admission) victim(v *visitor, now time.Time) (worst *visitor) {
	counts := map[netip.Prefix]int{}
	for _, p := range a.pending {
		counts[p.from]++
	}
	trusted := a.trusted(v)
	rank := func(p *visitor) int { // the higher the better a victim
		n := counts[p.from]
		better := trusted && !a.trusted(p)
		young := now.Sub(p.since) < loginTime
		switch {
		case p.proven, !trusted && a.trusted(p):
			return 0
		case better:
			return n + maxPending
		case p.from == v.from && young, p.from != v.from && n <= counts[v.from], n < crowd && young:
			return 0
		}
		return n
	}
	best := 0
	for _, p := range a.pending {
		if r := rank(p); r > best {
			worst, best = p, r
		}
	}
	return worst
}

// prove notes that the other end of v has proved who it is.
func (a *admission) prove(v *visitor, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v.proven = true
	if _, ok := a.known[v.from]; !ok && len(a.known) >= maxKnown {
		var oldest netip.Prefix
		for p, at := range a.known {
			if !oldest.IsValid() || at.Before(a.known[oldest]) {
				oldest = p
			}
		}
		delete(a.known, oldest)
	}
	a.known[v.from] = now
}

// leave gives the place of v back. It may be called more than once.
func (a *admission) leave(v *visitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(v)
}

func (a *admission) remove(v *visitor) {
	if i := slices.Index(a.pending, v); i >= 0 {
		a.pending = slices.Delete(a.pending, i, i+1)
	}
}

package udp

import (
	"net/netip"
	"sync"
	"time"
)

// fits refuses datagrams that the system would send in fragments: path MTU discovery would otherwise conclude
// that every size passes, and every full packet would be sent as two. It is for systems on
// which DF cannot be set. The zero value refuses nothing. Routers on the way still fragment.
type fits struct {
	mtu func(netip.Addr) int // of the route, 0 if unknown; it is slow

	mu    sync.Mutex
	known map[netip.Addr]routeMTU
}

type routeMTU struct {
	mtu   int
	until time.Time
}

const (
	// fitsFor is how long the MTU of a route is remembered.
	fitsFor = 10 * time.Second
	// maxFits bounds how many are.
	maxFits = 1024
	// surelyFits is the size of an IP packet that every route takes, with IPv6 (RFC 8200) and nearly
	// every one with IPv4.
	surelyFits = 1280
)

// refuses reports whether an IP packet of so many bytes would be fragmented here.
func (f *fits) refuses(to netip.Addr, size int) bool {
	if f.mtu == nil || size <= surelyFits {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	r, ok := f.known[to]
	if !ok || now.After(r.until) {
		if f.known == nil || len(f.known) >= maxFits {
			f.known = make(map[netip.Addr]routeMTU)
		}
		r = routeMTU{f.mtu(to), now.Add(fitsFor)}
		f.known[to] = r
	}
	return r.mtu > 0 && size > r.mtu
}

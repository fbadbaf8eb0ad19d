package metaconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/limit"
)

// Serve accepts connections on l, which must be a TCP listener, until ctx ends or
// the table is closed; then it closes l and returns nil. It may run for several
// listeners at once. Connections that were accepted live on.
func (t *Table) Serve(ctx context.Context, l net.Listener) error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		l.Close()
		return nil
	}
	t.wg.Add(1)
	t.mu.Unlock()
	defer t.wg.Done()
	defer l.Close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	incoming(l)
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept meta connections: %w", err)
		case err != nil:
			// Out of descriptors or memory, or the peer has gone: that passes.
			pause(ctx, 100*time.Millisecond)
			continue
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			conn.Close()
			return fmt.Errorf("accept meta connections on %s: it is not a TCP socket", l.Addr())
		}
		if !t.admit(ctx, tcp) {
			tcp.Close()
		}
	}
}

// admit starts s, at once or when it is its turn. It does not block: others may be waiting to
// be accepted. It reports false if there is no room for s.
func (t *Table) admit(ctx context.Context, s stream) bool {
	c := newConn(t, 0)
	c.accepted = true
	c.tcp = s
	tcp := tcpOf(s)
	from := addrPort(s.RemoteAddr()).Addr()
	v, wait, victim := t.admission.enter(from, time.Now(), func() { c.fail(errCrowded) })
	if v == nil {
		tcp.SetLinger(0) // nothing is to be kept of it, not by the kernel either
		t.refusals.add(from, time.Now())
		return false
	}
	c.visitor = v
	if victim != nil {
		victim.evict()
	}
	if wait == 0 {
		return t.begin(c)
	}
	t.wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-c.stop: // evicted
		case <-time.After(wait):
			// Whoever has given up meanwhile is not looked at.
			if !hungUp(tcp) && t.begin(c) {
				return
			}
		}
		t.admission.leave(v)
		s.Close()
	})
	return true
}

// begin starts an accepted connection.
func (t *Table) begin(c *conn) bool {
	if t.add(c, c.runAccepted) {
		return true
	}
	t.admission.leave(c.visitor)
	return false
}

// errCrowded ends a connection whose place somebody else needs more.
var errCrowded = errors.New("too many connections that have not logged in yet")

// refusals counts connections for which there was no room.
type refusals struct {
	say func(from netip.Addr, count int)

	mu    sync.Mutex
	total uint64
	from  map[netip.Prefix]RefusedFrom
	since int // not told yet
	told  time.Time
}

// RefusedFrom counts the connections of one address (with IPv6: of a /64) for which there was no room.
type RefusedFrom struct {
	Addr  netip.Addr // of the last one
	Count uint64
	Last  time.Time
}

// maxRefusedFrom addresses are counted one by one. The one that was refused least gives way.
const maxRefusedFrom = 256

// tellEvery is the least time between two reports about refused connections.
const tellEvery = time.Minute

func (r *refusals) add(from netip.Addr, now time.Time) {
	r.mu.Lock()
	r.total++
	r.count(from, now)
	r.since++
	count := 0
	if r.told.IsZero() || now.Sub(r.told) >= tellEvery {
		count, r.since, r.told = r.since, 0, now
	}
	r.mu.Unlock()
	if count > 0 && r.say != nil {
		r.say(from, count)
	}
}

// count counts a connection for its address.
func (r *refusals) count(from netip.Addr, now time.Time) {
	p := limit.Network(from)
	if _, known := r.from[p]; !known && len(r.from) >= maxRefusedFrom {
		least, n := netip.Prefix{}, uint64(math.MaxUint64)
		for q, x := range r.from {
			if x.Count < n {
				least, n = q, x.Count
			}
		}
		delete(r.from, least)
	}
	if r.from == nil {
		r.from = map[netip.Prefix]RefusedFrom{}
	}
	r.from[p] = RefusedFrom{Addr: from, Count: r.from[p].Count + 1, Last: now}
}

// Refused tells how many connections were closed at once since the start, because their address, or all
// addresses that have never logged in, had too many. from lists the addresses, those with most first; of
// very many it has only the worst.
func (t *Table) Refused() (total uint64, from []RefusedFrom) {
	t.refusals.mu.Lock()
	defer t.refusals.mu.Unlock()
	for _, x := range t.refusals.from {
		from = append(from, x)
	}
	slices.SortFunc(from, func(a, b RefusedFrom) int { return cmp.Or(cmp.Compare(b.Count, a.Count), a.Addr.Compare(b.Addr)) })
	return t.refusals.total, from
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Gaps watches when something arrives. It is safe for concurrent use.
type Gaps struct {
	mu       sync.Mutex
	last     time.Time // arrival
	lastSent time.Time // when that had been sent
	longest  time.Duration
	arrived  int
}

// arrive notes an arrival now of what was sent at a time.
func (g *Gaps) arrive(sent time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if !g.last.IsZero() {
		g.longest = max(g.longest, now.Sub(g.last))
	}
	g.last = now
	g.arrived++
	if sent.After(g.lastSent) {
		g.lastSent = sent
	}
}

// Restart forgets what was, but for the last arrival.
func (g *Gaps) Restart() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.longest, g.arrived = 0, 0
}

// Longest is the longest time between two arrivals since the last restart, or
// from the last arrival until now if that is longer.
func (g *Gaps) Longest() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last.IsZero() {
		return 0
	}
	return max(g.longest, time.Since(g.last))
}

// LastSent is when the newest of what arrived had been sent, zero if nothing has.
func (g *Gaps) LastSent() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastSent
}

// Arrived counts what has arrived since the last restart.
func (g *Gaps) Arrived() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.arrived
}

// Flow is a steady stream of something from one host to another: [Gaps] of what
// arrives at the other end.
type Flow struct {
	Gaps
	cancel context.CancelFunc
	wg     sync.WaitGroup
	close  func()
	bytes  atomic.Int64
}

// Bytes is how much has arrived, in bytes of payload.
func (f *Flow) Bytes() int { return int(f.bytes.Load()) }

// Stop ends the flow.
func (f *Flow) Stop() {
	f.cancel()
	f.close()
	f.wg.Wait()
}

// Datagrams sends a small UDP datagram from one host to an address of another
// at every interval, and nothing goes back.
func Datagrams(from, to *Host, addr netip.Addr, every time.Duration) (*Flow, error) {
	in, err := to.ListenPacket("udp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, fmt.Errorf("waiting for datagrams at %s on %s: %w", addr, to.name, err)
	}
	out, err := from.Dial(context.Background(), "udp", in.LocalAddr().String())
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("sending datagrams from %s to %s: %w", from.name, addr, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Flow{cancel: cancel, close: func() { in.Close(); out.Close() }}
	began := time.Now()
	f.wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			// An error is a datagram that is lost.
			_, _ = out.Write(binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(time.Since(began))))
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	f.wg.Go(func() {
		var buf [64]byte
		for ctx.Err() == nil {
			n, _, err := in.ReadFrom(buf[:])
			f.bytes.Add(int64(n))
			if err == nil && n >= 8 {
				f.arrive(began.Add(time.Duration(binary.BigEndian.Uint64(buf[:]))))
			}
		}
	})
	return f, nil
}

// Stream sends as much as TCP lets it from one host to an address of another.
func Stream(from, to *Host, addr netip.Addr) (*Flow, error) {
	ln, err := to.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return nil, fmt.Errorf("waiting for a connection at %s on %s: %w", addr, to.name, err)
	}
	defer ln.Close()
	dialling, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	out, err := from.Dial(dialling, "tcp", ln.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("connecting from %s to %s: %w", from.name, addr, err)
	}
	in, err := ln.Accept()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("waiting for a connection at %s on %s: %w", addr, to.name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &Flow{cancel: cancel, close: func() { in.Close(); out.Close() }}
	f.wg.Go(func() { f.pour(ctx, out) })
	f.wg.Go(func() {
		buf := make([]byte, 64<<10)
		for ctx.Err() == nil {
			n, err := in.Read(buf)
			if err != nil {
				return
			}
			f.bytes.Add(int64(n))
			f.arrive(time.Now()) // when it was sent is not known
		}
	})
	return f, nil
}

func (f *Flow) pour(ctx context.Context, out net.Conn) {
	buf := make([]byte, 16<<10)
	for ctx.Err() == nil {
		if _, err := out.Write(buf); err != nil {
			return
		}
	}
}

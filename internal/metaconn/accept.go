package metaconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
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

// admit waits until it is the turn of tcp, and starts it. It reports false if
// nobody needs the connection any more.
func (t *Table) admit(ctx context.Context, tcp *net.TCPConn) bool {
	if !addrPort(tcp.RemoteAddr()).Addr().IsLoopback() {
		if wait := t.pace.wait(time.Now()); wait > 0 {
			pause(ctx, wait)
			if ctx.Err() != nil {
				return false
			}
			// Who has waited in the kernel's queue may have given up; its
			// turn goes to the next.
			if hungUp(tcp) {
				return false
			}
		}
		t.pace.fill(time.Now())
	}
	select {
	case t.pending <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	c := newConn(t, 0)
	c.accepted = true
	c.tcp = tcp
	if !t.add(c, c.runAccepted) {
		<-t.pending
		return false
	}
	return true
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// bucket is a leaky bucket: it holds size drops and loses size drops a second.
type bucket struct {
	size int

	mu    sync.Mutex
	level float64
	last  time.Time
}

// wait returns how long it takes until there is room for one more.
func (b *bucket) wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leak(now)
	over := b.level + 1 - float64(b.size)
	if over <= 0 {
		return 0
	}
	return time.Duration(over / float64(b.size) * float64(time.Second))
}

// fill adds one.
func (b *bucket) fill(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leak(now)
	b.level++
}

func (b *bucket) leak(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.level = max(0, b.level-d.Seconds()*float64(b.size))
		b.last = now
	}
}

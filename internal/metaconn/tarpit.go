package metaconn

import (
	"net"
	"sync"
	"time"
)

const (
	tarpitSize   = 16               // refused connections that are held
	tarpitTime   = 10 * time.Second // for which one is held at most
	tarpitBuffer = 4 << 10          // bytes of it that the kernel keeps; nobody reads them
)

// tarpit holds connections that were refused before login: open, unread and silent. Whoever
// tries names or keys learns neither that it was refused nor when, and waits. A held connection
// costs a descriptor and nothing else. When a newcomer finds the tarpit full the oldest is
// closed, so a flood is not slowed down, and costs no more than that.
type tarpit struct {
	keep time.Duration // for how long one is held

	mu     sync.Mutex
	held   []held // oldest first
	closed bool
}

type held struct {
	conn  *net.TCPConn
	timer *time.Timer
}

// hold takes conn over, and closes it sooner or later.
func (p *tarpit) hold(conn *net.TCPConn) {
	conn.SetReadBuffer(tarpitBuffer)
	// Nothing is owed to such a peer: the kernel keeps nothing of it, either.
	conn.SetLinger(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return
	}
	if len(p.held) == tarpitSize {
		p.held[0].timer.Stop()
		p.drop(p.held[0].conn)
	}
	p.held = append(p.held, held{conn, time.AfterFunc(p.keep, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop(conn)
	})})
}

// drop closes conn, if it is still held. The lock is held.
func (p *tarpit) drop(conn *net.TCPConn) {
	for i, h := range p.held {
		if h.conn == conn {
			conn.Close()
			n := copy(p.held[i:], p.held[i+1:])
			p.held[i+n] = held{}
			p.held = p.held[:i+n]
			return
		}
	}
}

// close closes all connections, and every one that comes from now on.
func (p *tarpit) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, h := range p.held {
		h.timer.Stop()
		h.conn.Close()
	}
	p.held = nil
}

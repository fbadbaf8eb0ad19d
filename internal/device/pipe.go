package device

import (
	"os"
	"sync"
)

// pipeDepth is how many packets one direction of a [Pipe] holds.
const pipeDepth = 32

// Pipe returns two devices in memory: what is written to one is read from the
// other, with its Offload. Write waits while 32 packets are unread. Closing
// either end ends all that wait on both. It is for tests and benchmarks of what
// lies above a device; in a steady state it does not allocate.
func Pipe() (a, b Device) {
	ab, ba := newLane(pipeDepth), newLane(pipeDepth)
	return &pipe{"pipe0", ba, ab}, &pipe{"pipe1", ab, ba}
}

type pipe struct {
	name    string
	in, out *pipeDirection
}

func (p *pipe) Name() string                           { return p.name }
func (p *pipe) MaxSegments(GSOType) int                { return anySegments }
func (p *pipe) Read(buf []byte) (int, Offload, error)  { return p.in.take(buf, true) }
func (p *pipe) TryRead(b []byte) (int, Offload, error) { return p.in.take(b, false) }

func (p *pipe) Write(buf []byte, start int, off Offload) error {
	// A real device overwrites these bytes, so this one does, too: a caller
	// that relies on them fails in tests.
	clear(buf[start-Headroom : start])
	return p.out.put(buf[start:], off, true)
}

func (p *pipe) Close() error {
	p.in.close()
	p.out.close()
	return nil
}

// pipeDirection is one direction: a ring of packets.
type pipeDirection struct {
	mu          sync.Mutex
	more, space sync.Cond
	closed      bool
	head, count int
	ring        []slot
}

type slot struct {
	pkt []byte
	off Offload
}

func newLane(depth int) *pipeDirection {
	l := &pipeDirection{ring: make([]slot, depth)}
	l.more.L, l.space.L = &l.mu, &l.mu
	return l
}

// put appends a copy of a packet. If there is no room it waits, or returns errFull.
func (l *pipeDirection) put(pkt []byte, off Offload, wait bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count == len(l.ring) && !l.closed {
		if !wait {
			return errFull
		}
		l.space.Wait()
	}
	if l.closed {
		return os.ErrClosed
	}
	s := &l.ring[(l.head+l.count)%len(l.ring)]
	s.pkt = append(s.pkt[:0], pkt...)
	s.off = off
	l.count++
	l.more.Signal()
	return nil
}

// take removes the oldest packet. If there is none it waits, or returns ErrAgain.
func (l *pipeDirection) take(buf []byte, wait bool) (int, Offload, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count == 0 && !l.closed {
		if !wait {
			return 0, Offload{}, ErrAgain
		}
		l.more.Wait()
	}
	if l.closed {
		return 0, Offload{}, os.ErrClosed
	}
	s := &l.ring[l.head]
	n := copy(buf, s.pkt)
	l.head = (l.head + 1) % len(l.ring)
	l.count--
	l.space.Signal()
	return n, s.off, nil
}

func (l *pipeDirection) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.more.Broadcast()
	l.space.Broadcast()
}

package daemon

import "sync"

// pcap hands frames to everybody who listens. The data plane has one place for
// a listener, and leaves its fast path only while somebody does.
type pcap struct {
	mu   sync.Mutex
	next int
	subs map[int]tap
}

type tap struct {
	snaplen int // bytes, 0: all
	sink    func([]byte)
}

// subscribe makes sink see every frame until cancel is called.
func (p *pcap) subscribe(set func(func([]byte)), snaplen int, sink func([]byte)) (cancel func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.subs == nil {
		p.subs = map[int]tap{}
	}
	id := p.next
	p.next++
	p.subs[id] = tap{snaplen, sink}
	set(p.frame)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.subs, id)
		if len(p.subs) == 0 {
			set(nil)
		}
	}
}

func (p *pcap) frame(f []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.subs {
		if t.snaplen > 0 && len(f) > t.snaplen {
			t.sink(f[:t.snaplen])
		} else {
			t.sink(f)
		}
	}
}

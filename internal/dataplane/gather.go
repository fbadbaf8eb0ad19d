package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"tincan/internal/udp"
)

// A gatherer brings datagrams for one destination together that were sent in turn with those for others, so that the kernel takes
// them as one run: most of what a small datagram costs is what the kernel does once for each run. It copies them; so it leaves
// runs alone that are long already.
//
// For each destination the order stays. The zero value is ready; it allocates only to grow.
type gatherer struct {
	buf    []byte
	groups []gathered
	next   []int16    // by run that is not the last of its group: the next one
	last   [256]int16 // by hash of the destination: its newest group, plus 1
	list   []udp.Run  // the result
}

// gathered is a group of runs.
type gathered struct {
	first, last int16
	bytes, size int
	open        bool // another one may follow
}

const (
	// gatherAtMost is how long a run is, in bytes, that is copied to another one: copying it takes less than a fifth of what the
	// kernel does for a run.
	gatherAtMost = 4096
	// gatherRuns is how many runs are looked at.
	gatherRuns = 2048
)

// send sends runs by a socket, after they were gathered.
func (g *gatherer) send(p *Plane, sock int, runs []udp.Run) {
	if p.cfg.Sockets[sock].CanGSO() {
		runs = g.gather(runs)
	}
	p.send(sock, runs, nil)
}

// gather returns the runs, some of them as one. The result is valid until the next call, and so must be what the runs hold.
func (g *gatherer) gather(runs []udp.Run) []udp.Run {
	if len(runs) < 3 || len(runs) > gatherRuns {
		return runs
	}
	clear(g.last[:])
	g.groups, g.next = g.groups[:0], slices.Grow(g.next[:0], len(runs))[:len(runs)]
	for i := range runs {
		g.add(runs, i)
	}
	if len(g.groups) == len(runs) {
		return runs
	}
	if g.buf == nil {
		g.buf = make([]byte, 0, outSize)
	}
	g.buf, g.list = g.buf[:0], g.list[:0]
	for _, group := range g.groups {
		g.join(runs, group)
	}
	return g.list
}

// add adds run i to the newest group of its destination, or makes a new one.
func (g *gatherer) add(runs []udp.Run, i int) {
	r := &runs[i]
	length, size := len(r.Buf), min(r.Size, len(r.Buf))
	short := length > 0 && length <= gatherAtMost
	newest := &g.last[destinationHash(r.To)]
	if n := *newest; n > 0 && short {
		group := &g.groups[n-1]
		first := &runs[group.first]
		bytes := group.bytes + length
		// What follows has the same size, or is one datagram that is shorter, which is the last then.
		if group.open && first.To == r.To && first.TOS == r.TOS && first.TTL == r.TTL && (size == group.size || size == length && size < group.size) &&
			bytes <= udp.MaxRun && (bytes+group.size-1)/group.size <= udp.MaxSegments {
			g.next[group.last] = int16(i)
			group.last, group.bytes, group.open = int16(i), bytes, bytes%group.size == 0
			return
		}
	}
	g.groups = append(g.groups, gathered{first: int16(i), last: int16(i), bytes: length, size: size, open: short && length%size == 0})
	*newest = int16(len(g.groups))
}

// join appends the runs of a group to the list, as one if there is room for a copy.
func (g *gatherer) join(runs []udp.Run, group gathered) {
	first := runs[group.first]
	if group.first == group.last || cap(g.buf)-len(g.buf) < group.bytes {
		for i := group.first; ; i = g.next[i] {
			g.list = append(g.list, runs[i])
			if i == group.last {
				return
			}
		}
	}
	start := len(g.buf)
	for i := group.first; ; i = g.next[i] {
		g.buf = append(g.buf, runs[i].Buf...)
		if i == group.last {
			break
		}
	}
	first.Buf, first.Size = g.buf[start:], group.size
	g.list = append(g.list, first)
}

// destinationHash spreads destinations over gatherer.last. Two with the same only keep each other from being gathered.
func destinationHash(to netip.AddrPort) uint8 {
	a := to.Addr().As16()
	h := binary.BigEndian.Uint64(a[:]) ^ binary.BigEndian.Uint64(a[8:])*31 ^ uint64(to.Port())<<32
	return uint8(h * 0x9e3779b97f4a7c15 >> 56)
}

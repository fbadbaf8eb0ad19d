package dataplane

import (
	"tincan/internal/mask"
	"tincan/internal/udp"
)

// txBatch holds sealed datagrams until the next send. It belongs to one goroutine.
type txBatch struct {
	p        *Plane
	buf      []byte     // datagrams of one run are contiguous
	bySocket []gsoBatch // by socket
	gatherer gatherer
	block    mask.Block
}

const outSize = 128 * 1024

// newTxBatch makes one for size bytes.
func newTxBatch(p *Plane, size int) txBatch {
	return txBatch{p: p, buf: make([]byte, 0, size), bySocket: make([]gsoBatch, len(p.cfg.Sockets))}
}

// room reports whether n bytes can be appended to buf.
func (o *txBatch) room(n int) bool { return cap(o.buf)-len(o.buf) >= n }

// put copies a datagram.
func (o *txBatch) put(path udpPath, datagram []byte) {
	if !o.room(len(datagram)) {
		o.flush()
	}
	start := len(o.buf)
	o.buf = append(o.buf, datagram...)
	if path.mask != nil {
		path.mask.Flip(o.buf[start:], &o.block)
	}
	o.bySocket[path.sock].add(&path, o.buf, start)
}

// flush sends everything.
func (o *txBatch) flush() {
	for i := range o.bySocket {
		if q := &o.bySocket[i]; len(q.list) > 0 {
			o.gatherer.send(o.p, i, q.list)
			q.reset()
		}
	}
	o.buf = o.buf[:0]
}

// gsoBatch collects the datagrams that the next send on one socket takes. The
// zero value is ready.
type gsoBatch struct {
	list     []udp.Run
	segments int  // datagrams in the last run
	end      int  // where the last run ends in the out buffer
	open     bool // the last run may be continued
}

// add appends the datagram out[start:] for that path. Contiguous datagrams that fit into one run
// share it.
func (q *gsoBatch) add(path *udpPath, out []byte, start int) {
	size := len(out) - start
	if q.open && q.end == start {
		r := &q.list[len(q.list)-1]
		if r.To == path.addr && r.TOS == path.tos && size <= r.Size && len(r.Buf)+size <= udp.MaxRun {
			r.Buf = r.Buf[:len(r.Buf)+size]
			q.segments++
			q.open = size == r.Size && q.segments < udp.MaxSegments
			q.end = len(out)
			return
		}
	}
	q.list = append(q.list, udp.Run{To: path.addr, Buf: out[start:], Size: size, TOS: path.tos})
	q.segments, q.end, q.open = 1, len(out), true
}

// addRun appends a run that is in another buffer.
func (q *gsoBatch) addRun(r udp.Run) {
	q.list = append(q.list, r)
	q.open = false
}

// reset empties the batch.
func (q *gsoBatch) reset() {
	q.list = q.list[:0]
	q.open = false
}

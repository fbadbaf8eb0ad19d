package dataplane

import (
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/udp"
)

// While there is much traffic, several cores seal and open. What has to be in order stays with one goroutine in
// each direction:
//
//	device ─► transmitter: route, reserve record numbers ─┬► workers: segment, seal ─┬► sender ─► socket
//	                                                      └──── order of sending ────┘
//	socket ─► receiver ─┬► workers: open, in place ─┬► committer: replay window, coalesce ─► device
//	                    └──── order of arrival ─────┘
//
// With little traffic, and on machines with few cores, the transmitter and the receivers do all of it themselves:
// handing over costs more than it gains.

// task is something that a worker does.
type task interface{ do() }

// workers are goroutines that all lines share.
type workers struct {
	count          int
	sealed, opened atomic.Uint64 // bursts and runs
	tasks          chan task
	start          sync.Once
	ended          sync.WaitGroup
}

const tasksPerWorker = 8 // that may wait

func newWorkers(count int) *workers {
	return &workers{count: count, tasks: make(chan task, count*tasksPerWorker)}
}

// run passes the task on. It waits while the workers are busy.
func (w *workers) run(t task) {
	w.start.Do(func() {
		for range w.count {
			w.ended.Go(func() {
				for t := range w.tasks {
					t.do()
				}
			})
		}
	})
	w.tasks <- t
}

// end waits for the workers. Nobody may pass on anything any more.
func (w *workers) end() {
	close(w.tasks)
	w.ended.Wait()
}

// Parallel returns how many workers there are, and how many super-packets they have sealed and runs of datagrams
// opened.
func (p *Plane) Parallel() (count int, sealed, opened uint64) {
	if p.workers == nil {
		return 0, 0, 0
	}
	return p.workers.count, p.workers.sealed.Load(), p.workers.opened.Load()
}

// load measures what a goroutine has to do.
type load struct {
	since time.Duration
	bytes int
	high  bool
}

const (
	loadWindow = 10 * time.Millisecond
	// highLoad is from where on several cores work, in bytes a second: 1 Gbit/s. They stop at half of it.
	highLoad = 125e6
)

// add counts n bytes and tells whether there are many at that time: more than high a second.
func (l *load) add(n int, now time.Duration, high float64) bool {
	l.bytes += n
	if d := now - l.since; d >= loadWindow {
		switch rate := float64(l.bytes) / d.Seconds(); {
		case rate >= high:
			l.high = true
		case rate < high/2:
			l.high = false
		}
		l.since, l.bytes = now, 0
	}
	return l.high
}

// line hands over pieces of work to the workers and their results, in order, to a goroutine that finishes them.
// All methods belong to the goroutine that made it.
type line[P piece] struct {
	workers  *workers
	order    chan P
	free     chan P
	underWay sync.WaitGroup
}

// piece is what goes along a line.
type piece interface {
	done() <-chan struct{} // has a token when the workers are through with it
	finish()
}

// newLine makes a line of so many pieces, which fresh makes.
func newLine[P piece](w *workers, pieces int, fresh func() P) *line[P] {
	l := &line[P]{workers: w, order: make(chan P, pieces), free: make(chan P, pieces)}
	for range pieces {
		l.free <- fresh()
	}
	go func() {
		for p := range l.order {
			<-p.done()
			p.finish()
			l.free <- p
			l.underWay.Done()
		}
	}()
	return l
}

// put makes p the next piece. The caller then tells the workers what to do with it.
func (l *line[P]) put(p P) {
	l.underWay.Add(1)
	l.order <- p
}

// drain waits until everything is finished.
func (l *line[P]) drain() { l.underWay.Wait() }

// end drains the line and ends its goroutine.
func (l *line[P]) end() {
	l.drain()
	close(l.order)
}

// sendLine seals bursts on several cores and sends them in order.
type sendLine = line[*burst]

const (
	// minRecords is how many records are worth being handed over.
	minRecords = 8
	// measureEvery is after how many packets in a row the clock is read.
	measureEvery = 16
)

// adapt decides how the packet of n bytes, the latest of count in a row, and those after it are sealed.
func (t *transmitter) adapt(n, count int) {
	w := t.p.workers
	if w == nil {
		return
	}
	if count%measureEvery == 0 {
		t.now = t.p.now()
	}
	switch high := t.load.add(n, t.now, t.p.highLoad); {
	case high && t.line == nil:
		t.out.flush()
		t.line = newLine(w, 2*w.count+2, func() *burst { return newBurst(t.p) })
	case !high && t.line != nil:
		t.alone()
	}
}

// alone makes t seal and send by itself from now on.
func (t *transmitter) alone() {
	if t.line != nil {
		t.line.end()
		t.line = nil
	}
}

// sealAll seals what is in t.burst, or has it sealed.
func (t *transmitter) sealAll() {
	if t.line == nil {
		t.burst.sealAll()
		return
	}
	records, bytes := t.size()
	switch {
	case t.legacy != nil || !t.out.room(bytes):
		t.line.drain()
		t.burst.sealAll()
	case records < minRecords:
		t.burst.sealAll()
		if !t.out.room(outSize / 2) {
			t.submit()
		}
	default:
		t.reserved = t.tunnel.Reserve(records)
		t.submit()
	}
}

// submit puts the burst on the line, unless there is nothing in it, and goes on with another.
func (t *transmitter) submit() {
	b := t.burst
	if b.reserved == nil && len(b.out.buf) == 0 {
		return
	}
	t.line.put(b)
	if b.reserved != nil {
		t.line.workers.run(b)
	} else {
		b.ready <- struct{}{}
	}
	t.use(<-t.line.free)
}

// do seals what numbers were reserved for.
func (b *burst) do() {
	b.p.workers.sealed.Add(1)
	b.sealSegments(b.reserved)
	b.tunnel.Release(b.reserved)
	b.reserved = nil
	b.ready <- struct{}{}
}

func (b *burst) done() <-chan struct{} { return b.ready }
func (b *burst) finish()               { b.out.flush() }

// receiveLine opens what arrives on several cores, and goes on with it in order.
type receiveLine = line[*intake]

// intakes is how many receives may be under way.
const intakes = 4

// intake is what one receive returned.
type intake struct {
	r     *receiver
	kept  udp.Kept
	batch []udp.Arrival
	runs  [maxRuns]openedRun
	left  atomic.Int32 // runs that are not opened yet
	ready chan struct{}
}

const (
	maxRuns   = 16 // arrivals in an intake
	maxOpened = 64 // datagrams of an arrival that are opened beforehand
)

// openedRun is an arrival whose datagrams are opened.
type openedRun struct {
	in      *intake
	arrival udp.Arrival
	records [maxOpened]openedRecord

	unmasker unmasker
}

// openedRecord is what a datagram contained. If tunnel is nil it was not opened, and is as it came.
type openedRecord struct {
	tunnel *sptps.Tunnel
	number uint32
	plain  []byte
	masked bool // it was hidden, and is shown
}

func newIntake(r *receiver) *intake {
	in := &intake{r: r, ready: make(chan struct{}, 1)}
	for i := range in.runs {
		in.runs[i].in = in
	}
	return in
}

// take handles what one receive returned, by itself or along the line.
func (r *receiver) take(batch []udp.Arrival) {
	if r.p.workers != nil {
		r.adapt(batch)
	}
	if r.line == nil {
		r.batch(batch)
		return
	}
	if len(batch) > maxRuns {
		r.line.drain()
		r.batch(batch)
		return
	}
	in := <-r.line.free
	in.kept, in.batch = r.keeper.Keep(), batch
	in.left.Store(int32(len(batch)))
	r.line.put(in)
	for i, a := range batch {
		in.runs[i].arrival = a
		r.line.workers.run(&in.runs[i])
	}
}

// adapt decides how batch and what comes after it is opened.
func (r *receiver) adapt(batch []udp.Arrival) {
	n := 0
	for _, a := range batch {
		n += len(a.Buf)
	}
	switch high := r.load.add(n, r.p.now(), r.p.highLoad); {
	case high && r.line == nil && r.keeper != nil:
		r.line = newLine(r.p.workers, intakes, func() *intake { return newIntake(r) })
	case !high && r.line != nil:
		r.alone()
	}
}

// alone makes r open by itself from now on.
func (r *receiver) alone() {
	if r.line != nil {
		r.line.end()
		r.line = nil
	}
}

// do opens the datagrams of the run that are for this node, in place. Whatever is unusual about one is left to the
// receiver.
func (u *openedRun) do() {
	p, a := u.in.r.p, u.arrival
	p.workers.opened.Add(1)
	dir := p.dir.Load()
	var tunnel *sptps.Tunnel
	var opener *sptps.Opener
	mine := true // nothing in the run is for another node so far
	size := a.Size
	if size <= 0 || size > len(a.Buf) {
		size = len(a.Buf)
	}
	for i, rest := 0, a.Buf; len(rest) > 0 && i < maxOpened; i++ {
		d := rest[:min(size, len(rest))]
		rest = rest[len(d):]
		o := &u.records[i]
		o.tunnel, o.masked = nil, false
		if mine && len(d) >= minDatagram && !isFor(p.selfID, d) && u.unmasker.show(p, dir, d) {
			if o.masked = isFor(p.selfID, d); !o.masked {
				u.unmasker.hide(p, d)
				mine = false
			}
		}
		t := dir.tunnelFor(p.selfID, d)
		if t == nil {
			continue
		}
		if t != tunnel {
			if opener != nil {
				tunnel.Return(opener)
			}
			tunnel, opener = t, t.Lend()
		}
		const head = idsLen + 4 // ids and record number
		plain, number, err := opener.Open(d[:head:len(d)], d[idsLen:])
		if err == nil {
			o.tunnel, o.number, o.plain = t, number, plain[head:]
		}
	}
	if opener != nil {
		tunnel.Return(opener)
	}
	if u.in.left.Add(-1) == 0 {
		u.in.ready <- struct{}{}
	}
}

// tunnelFor is the tunnel by which the datagram is to be opened at this node, called self. It is nil if it is for another
// node, or its source has no tunnel.
func (d *directory) tunnelFor(self node.ID, datagram []byte) *sptps.Tunnel {
	if len(datagram) < minDatagram || len(datagram) > idsLen+maxRecord {
		return nil
	}
	if to := node.ID(datagram); !to.IsZero() && to != self {
		return nil
	}
	from := d.byID[node.ID(datagram[6:])]
	if from == nil {
		return nil
	}
	s := from.state.Load()
	if s == nil {
		return nil
	}
	return s.Tunnel
}

func (in *intake) done() <-chan struct{} { return in.ready }

// finish does the rest with what was opened.
func (in *intake) finish() {
	in.r.opened = &in.runs
	in.r.batch(in.batch)
	in.r.opened = nil
	in.kept.Release()
}

package dataplane

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/device"
	"tincan/internal/poll"
	"tincan/internal/udp"
)

// exchange moves packets in both directions. While there is little traffic one goroutine does all of it: it waits for the
// device and the sockets together. So the answer that the kernel gives to a packet, an echo or an acknowledgement, is read
// right after that packet was written, without another thread being woken, and a packet that comes alone costs one wake-up.
// While there is much, each direction has a goroutine of its own.
type exchange struct {
	p       *Plane
	tx      *transmitter
	rx      []*receiver
	sockets []udp.Pollable
	arrived *poll.Poller // for the device, bit 0, and the sockets
	busy    float64      // from how much on the directions part
	load    load

	last    time.Duration // when something came last
	regular int           // how often in a row something came soon after
	parked  time.Duration // when the scheduler last had a turn
}

const (
	// busyLoad is from where on each direction has a goroutine: 160 Mbit/s, or 20,000 packets a second, since each counts as
	// smallPacket at least. They come together again at half of it.
	busyLoad    = 20e6
	smallPacket = 1000
	// calmEvery is how often it is seen whether they may come together.
	calmEvery = 100 * time.Millisecond
	// Traffic is regular if so many packets have come one soon after the other. Then the next one is likely to come
	// briefly after: an answer, above all.
	regularCount = 4
	soon         = 50 * time.Millisecond
	briefly      = 4 * time.Millisecond
	// keptFor is for how long the processor is kept at most. After 10 ms the runtime would take it by force, which costs
	// more.
	keptFor = 5 * time.Millisecond
	// burstLimit is how many packets are read from the device before the sockets have a turn.
	burstLimit = 64
)

// work is what a direction has done, while it has a goroutine of its own.
type work struct {
	moved   atomic.Int64 // bytes, see smallPacket
	failing atomic.Bool  // its device or socket
}

// newExchange returns nil if the device or a socket cannot be waited for together with others.
func newExchange(p *Plane) *exchange {
	x := &exchange{p: p, busy: busyLoad}
	fd, ok := device.Descriptor(p.cfg.Device)
	if !ok || len(p.cfg.Sockets) >= poll.MaxDescriptors {
		return nil
	}
	fds := []int{fd}
	for _, s := range p.cfg.Sockets {
		pollable, _ := s.(udp.Pollable)
		if pollable == nil {
			return nil
		}
		if fd, ok = pollable.Descriptor(); !ok {
			return nil
		}
		x.sockets, fds = append(x.sockets, pollable), append(fds, fd)
	}
	arrived, err := poll.New(fds...)
	if err != nil {
		return nil
	}
	x.arrived, x.tx = arrived, newTransmitter(p)
	for i := range x.sockets {
		x.rx = append(x.rx, newReceiver(p, i))
	}
	if runtime.GOMAXPROCS(0) == 1 {
		x.busy = math.Inf(1)
	}
	return x
}

const readingDevice = "read from the virtual interface"

func receivingOn(s udp.Socket) string { return "receive on " + s.Local().String() }

// run moves packets until ctx ends, or the device fails for good.
func (x *exchange) run(ctx context.Context) error {
	defer x.arrived.Close()
	for ctx.Err() == nil {
		if err := x.together(ctx); err != nil {
			return err
		}
		if err := x.apart(ctx); err != nil {
			return err
		}
	}
	return nil
}

// together moves packets until there is much traffic, the device or a socket fails, or ctx ends.
func (x *exchange) together(ctx context.Context) error {
	defer context.AfterFunc(ctx, x.arrived.Interrupt)()
	x.load = load{since: x.p.now()}
	for {
		ready, err := x.arrived.Wait(x.patience())
		if err == poll.ErrInterrupted {
			if ctx.Err() != nil {
				return nil
			}
			continue
		} else if err != nil {
			return fmt.Errorf("wait for packets: %w", err)
		}
		now := x.p.now()
		if now-x.last > soon {
			x.regular = 0
		}
		x.last = now
		x.regular++
		moved, ok := x.turn(ready, now)
		if !ok || x.load.add(moved, now, x.busy) {
			return nil
		}
	}
}

// patience is for how long the next packet is waited for with the processor kept.
func (x *exchange) patience() time.Duration {
	if x.regular < regularCount || x.last-x.parked > keptFor || runtime.GOMAXPROCS(0) == 1 {
		x.parked = x.last
		return 0
	}
	return briefly
}

// turn handles what has come, and reports how much that was, and whether device and sockets are well.
func (x *exchange) turn(ready uint64, now time.Duration) (moved int, ok bool) {
	for i, r := range x.rx {
		if ready&(2<<i) == 0 {
			continue
		}
		batch, err := x.sockets[i].TryRecv()
		if err == udp.ErrAgain {
			continue
		} else if err != nil {
			return moved, false
		}
		r.batch(batch)
		moved += weight(batch)
		ready |= 1 // perhaps this machine has answered at once
	}
	if ready&1 == 0 {
		return moved, true
	}
	n, ok := x.tx.turn(now)
	return moved + n, ok
}

// weight is how much a batch counts.
func weight(batch []udp.Arrival) (n int) {
	for i := range batch {
		a := &batch[i]
		packets := 1
		if a.Size > 0 {
			packets = (len(a.Buf) + a.Size - 1) / a.Size
		}
		n += max(len(a.Buf), packets*smallPacket)
	}
	return n
}

// turn sends what the device has, up to a limit. The first packet leaves before the next is asked for: mostly it is
// alone.
func (t *transmitter) turn(now time.Duration) (moved int, ok bool) {
	t.now = now
	for range burstLimit {
		n, off, err := t.p.cfg.Device.TryRead(t.in[inHead:])
		if err == device.ErrAgain {
			break
		} else if err != nil {
			t.flush()
			return moved, false
		}
		t.packet(n, off)
		if moved == 0 {
			t.flush()
		}
		moved += max(n, smallPacket)
	}
	t.flush()
	return moved, true
}

// apart moves packets with a goroutine for each direction until there is little traffic, the device fails for good, or
// ctx ends.
func (x *exchange) apart(ctx context.Context) error {
	part, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	failed := make(chan error, 1+len(x.rx))
	begin := func(run func(context.Context) error) {
		running.Go(func() {
			if err := run(part); err != nil && part.Err() == nil {
				failed <- err
			}
		})
	}
	begin(named(readingDevice, x.tx.run))
	for i, r := range x.rx {
		begin(named(receivingOn(x.sockets[i]), r.run))
	}
	err := x.untilCalm(ctx, failed)
	cancel()
	device.Interrupt(x.p.cfg.Device)
	for _, s := range x.sockets {
		s.Interrupt()
	}
	running.Wait()
	return err
}

// untilCalm waits until there is little traffic, ctx ends, or a goroutine has failed with that error.
func (x *exchange) untilCalm(ctx context.Context, failed <-chan error) error {
	tick := time.NewTicker(calmEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-tick.C:
		}
		moved, failing := x.tx.work.moved.Swap(0), x.tx.work.failing.Load()
		for _, r := range x.rx {
			moved += r.work.moved.Swap(0)
			failing = failing || r.work.failing.Load()
		}
		if !failing && float64(moved) < x.busy/2*calmEvery.Seconds() {
			return nil
		}
	}
}

// interrupted reports whether err only means that a wait was ended.
func interrupted(err error) bool { return errors.Is(err, poll.ErrInterrupted) }

package lab

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cable carries frames between two TAP devices, in this program: what the kernel
// of one host sends goes through a lane into the kernel of the other. So it can
// do what a kernel without netem cannot.
type cable struct {
	toRouter, toHost *track
	nat              natBox // at the host's end
	done             chan struct{}
	wg               sync.WaitGroup
}

// track is one direction of a cable.
type track struct {
	from, to *os.File
	watch    func(frame []byte) (pass bool) // nil: all of them pass; see [Link.Watch]
	change   func(frame []byte) []byte      // by the NAT; nil drops the frame

	mu   sync.Mutex // guards watch, too
	lane lane
	wake chan struct{} // something is under way that is due before all others
}

// maxTapFrame is enough for the MTU of any cable, in bytes.
const maxTapFrame = 65536

// newCable makes the two devices, which are down, and begins to carry.
func newCable(router *Host, routerName string, host *Host, hostName string) (*cable, error) {
	near, err := openTAP(router, routerName)
	if err != nil {
		return nil, err
	}
	far, err := openTAP(host, hostName)
	if err != nil {
		near.Close()
		return nil, err
	}
	// The same lab always gets the same luck.
	seed := fnv.New64a()
	fmt.Fprintf(seed, "%s %s %s", router.name, host.name, hostName)
	c := &cable{done: make(chan struct{})}
	c.toHost = newTrack(near, far, seed.Sum64())
	c.toRouter = newTrack(far, near, seed.Sum64()+1)
	c.toHost.change, c.toRouter.change = c.nat.in, c.nat.out
	for _, t := range []*track{c.toHost, c.toRouter} {
		c.wg.Add(2)
		go func() { defer c.wg.Done(); t.take(c.done) }()
		go func() { defer c.wg.Done(); t.give(c.done) }()
	}
	return c, nil
}

func newTrack(from, to *os.File, seed uint64) *track {
	return &track{from: from, to: to, wake: make(chan struct{}, 1), lane: lane{rnd: rand.New(rand.NewPCG(seed, 0))}}
}

func openTAP(h *Host, name string) (f *os.File, err error) {
	err = h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), "/dev/net/tun")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("making the end %s of a cable on %s: %w", name, h.name, err)
	}
	return f, nil
}

// close ends the carrying and removes the devices.
func (c *cable) close() {
	close(c.done)
	c.toHost.from.Close()
	c.toRouter.from.Close()
	c.wg.Wait()
}

// take reads what the kernel sends.
func (t *track) take(done <-chan struct{}) {
	buf := make([]byte, maxTapFrame)
	for {
		n, err := t.from.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // the interface is down
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			continue
		}
		b := t.change(buf[:n])
		if b == nil {
			continue
		}
		t.mu.Lock()
		if t.watch != nil && !t.watch(b) {
			t.mu.Unlock()
			continue
		}
		before := t.lane.count
		copies := t.lane.enter(time.Now(), b)
		first := len(t.lane.underWay) > 0 && t.lane.underWay[0].count > before
		t.mu.Unlock()
		for range copies {
			_, _ = t.to.Write(b) // an interface that is down takes nothing
		}
		if first {
			select {
			case t.wake <- struct{}{}:
			default:
			}
		}
	}
}

// give writes what comes out of the lane when it is due.
func (t *track) give(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.mu.Lock()
		b, next := t.lane.leave(time.Now())
		t.mu.Unlock()
		if b != nil {
			_, _ = t.to.Write(b)
			continue
		}
		if next.IsZero() {
			next = time.Now().Add(time.Hour)
		}
		timer.Reset(time.Until(next))
		select {
		case <-t.wake:
		case <-timer.C:
		case <-done:
			return
		}
	}
}

// carrier tells the host whether its cable is plugged in.
func (c *cable) carrier(up bool) error {
	on := 0
	if up {
		on = 1
	}
	rc, err := c.toRouter.from.SyscallConn()
	if err != nil {
		return err
	}
	if e := rc.Control(func(fd uintptr) { err = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, on) }); e != nil {
		return e
	}
	return err
}

// Direction is one of the two in which a link carries packets.
type Direction int

// The directions of a link.
const (
	ToHost Direction = iota
	ToRouter
)

// ErrNoCable says that a link is not one of [Router.Cable], so that nothing can
// be done to what it carries.
var ErrNoCable = errors.New("the link is not a cable")

// Cable is [Router.Attach] with a link that this program carries frame by
// frame, some 100 Mbit/s and more. It can be made bad, and NAT at the host's end
// of it comes in every kind.
func (r *Router) Cable(h *Host, prefixes ...string) (*Link, error) {
	return r.plug(h, prefixes, func(l *Link) error {
		c, err := newCable(r.Host, l.routerName, h, l.hostName)
		if err != nil {
			return err
		}
		r.lab.mu.Lock()
		r.lab.cables = append(r.lab.cables, c)
		r.lab.mu.Unlock()
		l.cable = c
		return nil
	})
}

// Quality makes a cable carry packets in this way from now on, in both
// directions or in those given. What is under way already is not touched.
func (l *Link) Quality(q Quality, ds ...Direction) error {
	return l.change(func(old *Quality) { *old = q }, ds)
}

// Delay holds back each packet for d, in both directions.
func (l *Link) Delay(d time.Duration) error {
	return l.change(func(q *Quality) { q.Delay = d }, nil)
}

// Cut lets nothing pass in the directions given, both if none is, and nobody
// notices other than by silence.
func (l *Link) Cut(ds ...Direction) error {
	return l.change(func(q *Quality) { q.Cut = true }, ds)
}

// Restore ends what [Link.Cut] did.
func (l *Link) Restore() error {
	return l.change(func(q *Quality) { q.Cut = false }, nil)
}

// BlackHole makes IP packets of more than mtu bytes vanish, without any ICMP
// and without that the interfaces know; 0 ends that.
func (l *Link) BlackHole(mtu int) error {
	return l.change(func(q *Quality) { q.MTU = mtu }, nil)
}

func (l *Link) change(f func(*Quality), ds []Direction) error {
	if l.cable == nil {
		return fmt.Errorf("changing the link between %s and %s: %w", l.host.name, l.router.name, ErrNoCable)
	}
	if len(ds) == 0 {
		ds = []Direction{ToHost, ToRouter}
	}
	for _, d := range ds {
		t := l.cable.toHost
		if d == ToRouter {
			t = l.cable.toRouter
		}
		t.mu.Lock()
		f(&t.lane.quality)
		t.mu.Unlock()
	}
	return nil
}

// plugged is the part of [Link.Up] and [Link.Down] that a cable needs.
func (l *Link) plugged(up bool) error {
	if l.cable == nil {
		return nil
	}
	return l.cable.carrier(up)
}

package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
)

// wired is a plane with a socket of the system, and a device whose other end is host.
type wired struct {
	*Plane
	x    *exchange
	host *os.File
	sock udp.Pollable
	stop context.CancelFunc
	done chan error
}

// wiredPair is two planes that reach each other.
func wiredPair(t testing.TB) (a, b *wired) {
	t.Helper()
	ta, tb := tunnels(t, "a", "b")
	a, b = newWired(t, "a"), newWired(t, "b")
	a.PublishPeers([]mesh.PeerState{directPeer("b", b.sock.Local(), ta)})
	b.PublishPeers([]mesh.PeerState{directPeer("a", a.sock.Local(), tb)})
	a.PublishRoutes(plan())
	b.PublishRoutes(plan())
	return a, b
}

func newWired(t testing.TB, name node.Name) *wired {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := device.OpenFD(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	sock, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &wired{host: os.NewFile(uintptr(fds[1]), "host"), sock: sock.(udp.Pollable), done: make(chan error, 1)}
	w.Plane = New(Config{
		Self: name, Device: device.Watch(dev, func([]byte, bool) {}), Sockets: []udp.Socket{sock},
		Event: func(mesh.Event) bool { return true }, Meta: func(mesh.ConnID) Meta { return nil },
	})
	if w.x = newExchange(w.Plane); w.x == nil {
		t.Fatal("device and socket cannot be waited for")
	}
	t.Cleanup(func() {
		w.host.Close()
		dev.Close()
		sock.Close()
		w.x.arrived.Close()
	})
	return w
}

// run moves packets, with the directions apart from so much on.
func (w *wired) run(busy float64) {
	ctx, stop := context.WithCancel(context.Background())
	w.x.busy, w.stop = busy, stop
	go func() { w.done <- w.x.run(ctx) }()
}

// end stops it.
func (w *wired) end(t testing.TB) {
	w.stop()
	select {
	case err := <-w.done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("does not end")
	}
}

// Packets arrive complete and in order, whether one goroutine carries both directions, each has its own, or that changes
// all the time.
func TestBothDirectionsTogetherAndApart(t *testing.T) {
	for _, c := range []struct {
		name string
		busy float64
	}{{"together", math.Inf(1)}, {"apart", 0}, {"changing", 1}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := wiredPair(t)
			a.run(c.busy)
			b.run(c.busy)
			var hosts sync.WaitGroup
			const rounds, window = 400, 8
			hosts.Go(func() { // answers
				buf := make([]byte, 2000)
				for i := range rounds {
					n, err := b.host.Read(buf)
					if err != nil {
						t.Error(err)
						return
					}
					if got := binary.BigEndian.Uint32(buf[24:]); got != uint32(i) || n != 40+i {
						t.Errorf("packet %d of %d bytes instead of %d", got, n, i)
						return
					}
					b.host.Write(ip{src: "10.1.0.1", dst: "10.0.0.1", seq: uint32(i), payload: i}.build())
				}
			})
			credit := make(chan struct{}, window)
			hosts.Go(func() { // asks
				for i := range rounds {
					credit <- struct{}{}
					a.host.Write(ip{seq: uint32(i), payload: i}.build())
					if i%100 == 99 {
						time.Sleep(3 * calmEvery)
					}
				}
			})
			buf := make([]byte, 2000)
			a.host.SetReadDeadline(time.Now().Add(time.Minute))
			b.host.SetReadDeadline(time.Now().Add(time.Minute))
			for i := range rounds {
				n, err := a.host.Read(buf)
				if err != nil {
					t.Fatalf("answer %d: %v; drops %v, %v", i, err, a.Drops(), b.Drops())
				}
				if got := binary.BigEndian.Uint32(buf[24:]); got != uint32(i) || n != 40+i {
					t.Fatalf("answer %d of %d bytes instead of %d", got, n, i)
				}
				<-credit
			}
			hosts.Wait()
			a.end(t)
			b.end(t)
		})
	}
}

// The kernel answers an echo while it is written to the device: the answer leaves in the same turn.
func TestWhatTheDeviceHasIsSentInTheSameTurn(t *testing.T) {
	a, b := wiredPair(t)
	a.host.Write(ip{payload: 10}.build())
	a.x.turn(1, a.now())
	b.host.Write(ip{src: "10.1.0.1", dst: "10.0.0.1", payload: 20}.build())
	moved, ok := b.x.turn(2, b.now()) // only the socket is known to be ready
	if !ok || moved != 2*smallPacket {
		t.Fatalf("%d moved, well: %t", moved, ok)
	}
	buf := make([]byte, 100)
	if n, err := b.host.Read(buf); err != nil || n != 50 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if moved, ok = a.x.turn(2, a.now()); !ok || moved != smallPacket {
		t.Fatalf("%d moved, well: %t", moved, ok)
	}
	if n, err := a.host.Read(buf); err != nil || n != 60 {
		t.Fatalf("%d bytes, %v", n, err)
	}
}

func TestATurnAllocatesNothing(t *testing.T) {
	a, b := wiredPair(t)
	there, back := ip{payload: 10}.build(), ip{src: "10.1.0.1", dst: "10.0.0.1", payload: 20}.build()
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		now := a.now()
		a.host.Write(there)
		a.x.turn(1, now)
		b.host.Write(back)
		b.x.turn(2, now)
		a.x.turn(2, now)
		a.host.Read(buf)
		b.host.Read(buf)
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

// A device that fails is tried again for a while, and then the reason is said.
func TestADeviceThatIsGoneEndsTheExchange(t *testing.T) {
	a, _ := wiredPair(t)
	a.run(math.Inf(1))
	a.host.Close()
	select {
	case err := <-a.done:
		if err == nil || errors.Is(err, os.ErrClosed) || fmt.Sprint(err)[:len(readingDevice)] != readingDevice {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("does not end")
	}
}

// While packets are few there is one goroutine; it parts when there are many, and comes together afterwards.
func TestTheDirectionsPartWhileThereIsMuchTraffic(t *testing.T) {
	a, b := wiredPair(t)
	b.run(math.Inf(1))
	a.x.busy = 1e6
	state := make(chan bool, 100)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			state <- false
			a.x.together(ctx)
			state <- true
			a.x.apart(ctx)
		}
	}()
	next := func(want bool, traffic time.Duration) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			select {
			case got := <-state:
				if got != want {
					t.Fatalf("apart: %t", got)
				}
				return
			case <-time.After(traffic):
				for range 200 {
					a.host.Write(ip{payload: 1000}.build())
				}
			}
			if time.Now().After(end) {
				t.Fatalf("not apart = %t", want)
			}
		}
	}
	next(false, time.Hour)
	for range 5 { // 10,000 bytes a second, at most
		time.Sleep(100 * time.Millisecond)
		a.host.Write(ip{payload: 1000}.build())
	}
	if len(state) > 0 {
		t.Error("parted without much traffic")
	}
	next(true, time.Millisecond)
	next(false, time.Hour)
	stop()
	for range 2 {
		select {
		case <-state:
		case <-ended:
		}
	}
	b.end(t)
}

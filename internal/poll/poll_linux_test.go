package poll

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a datagram socket pair.
func pair(t testing.TB) (here, there int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func poller(t testing.TB, fds ...int) *Poller {
	t.Helper()
	p, err := New(fds...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func send(t testing.TB, fd int) {
	if _, err := unix.Write(fd, oneByte); err != nil {
		t.Error(err)
	}
}

func take(fd int) { takeTo(make([]byte, 1), fd) }

func takeTo(b []byte, fd int) { unix.Read(fd, b) }

// result is what Wait returned.
type result struct {
	ready uint64
	err   error
}

// wait calls Wait on a goroutine.
func wait(p *Poller, briefly time.Duration) <-chan result {
	c := make(chan result, 1)
	go func() {
		ready, err := p.Wait(briefly)
		c <- result{ready, err}
	}()
	return c
}

func TestWaitSaysWhichDescriptorsCanBeRead(t *testing.T) {
	a, toA := pair(t)
	b, toB := pair(t)
	p := poller(t, a, b)
	for _, briefly := range []time.Duration{0, 5 * time.Millisecond} {
		for _, late := range []time.Duration{0, 20 * time.Millisecond} {
			for i, c := range []struct {
				fds   []int
				other []int
				want  uint64
			}{{[]int{a}, []int{toA}, 1}, {[]int{b}, []int{toB}, 2}, {[]int{a, b}, []int{toA, toB}, 3}} {
				got := make(<-chan result)
				if late > 0 { // while it waits
					got = wait(p, briefly)
					time.Sleep(late)
				}
				for _, fd := range c.other {
					send(t, fd)
				}
				if late == 0 {
					got = wait(p, briefly)
				}
				r := <-got
				if r.err != nil || r.ready&c.want == 0 || r.ready&^c.want != 0 || late == 0 && r.ready != c.want {
					t.Errorf("waiting %v, %v late, case %d: %b, %v; want %b", briefly, late, i, r.ready, r.err, c.want)
				}
				for _, fd := range c.fds {
					take(fd)
				}
			}
		}
	}
}

func TestWaitIsInterrupted(t *testing.T) {
	a, toA := pair(t)
	p := poller(t, a)
	for _, briefly := range []time.Duration{0, time.Millisecond} {
		p.Interrupt() // the next
		if _, err := p.Wait(briefly); err != ErrInterrupted {
			t.Errorf("waiting %v: %v", briefly, err)
		}
		c := wait(p, briefly)
		time.Sleep(10 * time.Millisecond)
		p.Interrupt() // the current
		if r := <-c; r.err != ErrInterrupted {
			t.Errorf("waiting %v: %v", briefly, r.err)
		}
		c = wait(p, briefly)
		send(t, toA)
		if r := <-c; r.err != nil || r.ready != 1 {
			t.Errorf("afterwards: %b, %v", r.ready, r.err)
		}
		take(a)
	}
	c := wait(p, 0)
	time.Sleep(10 * time.Millisecond)
	p.Close()
	if r := <-c; r.err != os.ErrClosed {
		t.Errorf("when it was closed: %v", r.err)
	}
	if _, err := p.Wait(time.Millisecond); err != os.ErrClosed {
		t.Errorf("after it was closed: %v", err)
	}
}

// What arrives while nobody waits wakes nobody: the runtime's poller sees nothing of it.
func TestNobodyIsWokenUnlessSomebodyWaits(t *testing.T) {
	a, toA := pair(t)
	p := poller(t, a)
	seen := func() bool {
		fd := 0
		p.outerConn.Control(func(n uintptr) { fd = int(n) })
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for _, c := range []struct {
		when string
		do   func()
	}{
		{"at first", func() {}},
		{"after a wait that had not to wait", func() { send(t, toA); p.Wait(0) }},
		{"after a wait", func() { c := wait(p, 0); time.Sleep(10 * time.Millisecond); send(t, toA); <-c }},
		{"after an interruption", func() { p.Interrupt(); p.Wait(0) }},
	} {
		c.do()
		send(t, toA)
		if seen() {
			t.Errorf("%s: what arrives is seen by the runtime's poller", c.when)
		}
		take(a)
		take(a)
	}
}

func TestWaitingAllocatesNothing(t *testing.T) {
	a, toA := pair(t)
	p := poller(t, a)
	echo := poller(t, toA)
	ended := make(chan struct{})
	go func() { // answers, so that each wait really waits
		defer close(ended)
		b := make([]byte, 1)
		for {
			if _, err := echo.Wait(0); err != nil {
				return
			}
			takeTo(b, toA)
			send(t, toA)
		}
	}()
	b := make([]byte, 1)
	for _, briefly := range []time.Duration{0, 5 * time.Millisecond} {
		if n := testing.AllocsPerRun(200, func() {
			unix.Write(a, oneByte)
			if _, err := p.Wait(briefly); err != nil {
				t.Error(err)
			}
			takeTo(b, a)
		}); n >= 1 {
			t.Errorf("waiting %v: %v allocations", briefly, n)
		}
	}
	echo.Interrupt()
	<-ended
}

var oneByte = []byte{1}

func TestWritableWaitsForRoom(t *testing.T) {
	a, toA := pair(t)
	for unix.Sendto(a, make([]byte, 4096), 0, nil) == nil {
	}
	start := time.Now()
	if Writable(a, 20*time.Millisecond) {
		t.Fatal("a full socket is said to be writable")
	}
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("waited %v", d)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 4096)
		for {
			if _, err := unix.Read(toA, b); err != nil {
				return // all of it was read
			}
		}
	}()
	if !Writable(a, time.Minute) {
		t.Error("still not writable when the other end reads")
	}
	<-ended
}

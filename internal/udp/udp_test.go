package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// must reports an error; it does not end the test, which may be on another goroutine.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func listen(t testing.TB, addr string, opts Options) *socket {
	t.Helper()
	s, err := Listen(netip.MustParseAddrPort(addr), opts)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { s.Close() })
	return s.(*socket)
}

// pattern is n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8*7)
	}
	return b
}

type inbox struct {
	data     []byte
	from     netip.AddrPort
	size     int // of the largest datagram
	arrivals int
}

// collect receives n bytes.
func collect(t testing.TB, s Socket, n int) (in inbox) {
	t.Helper()
	late := time.AfterFunc(5*time.Second, func() { s.Close() })
	defer late.Stop()
	for len(in.data) < n {
		got, err := s.Recv()
		if err != nil {
			t.Errorf("after %d of %d bytes: %v", len(in.data), n, err)
			return in
		}
		for _, a := range got {
			in.data = append(in.data, a.Buf...)
			in.from, in.size = a.From, max(in.size, a.Size)
			in.arrivals++
		}
	}
	return in
}

func TestRunsArriveWholeAndInOrder(t *testing.T) {
	for _, opts := range []Options{{}, {NoOffload: true}} {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			tx, rx := listen(t, addr, opts), listen(t, addr, opts)
			if tx == nil || rx == nil {
				continue
			}
			var runs []Run
			var want []byte
			for i := range 70 { // more than one system call takes
				b := pattern(100*(i%9) + 50 + i)
				want = append(want, b...)
				runs = append(runs, Run{To: rx.Local(), Buf: b, Size: 100})
			}
			must(t, tx.Send(runs))
			if in := collect(t, rx, len(want)); string(in.data) != string(want) || in.from != tx.Local() {
				t.Errorf("%s %+v: %d bytes from %v, want %d from %v", addr, opts, len(in.data), in.from, len(want), tx.Local())
			}
			if tx.Dropped() != 0 {
				t.Errorf("%s: %d dropped", addr, tx.Dropped())
			}
		}
	}
}

func TestImpossibleRuns(t *testing.T) {
	s := listen(t, "127.0.0.1:0", Options{})
	big := make([]byte, MaxRun+1)
	for _, c := range []struct {
		name string
		run  Run
	}{
		{"another family", Run{To: netip.MustParseAddrPort("[::1]:9"), Buf: big[:10], Size: 10}},
		{"no destination", Run{To: netip.AddrPort{}, Buf: big[:10], Size: 10}},
		{"too many bytes", Run{To: s.Local(), Buf: big, Size: len(big)}},
		{"too many segments", Run{To: s.Local(), Buf: big[:MaxSegments+1], Size: 1}},
		{"no size", Run{To: s.Local(), Buf: big[:10], Size: 0}},
	} {
		// A good one behind, in IPv6 clothes: it has to arrive.
		mapped := netip.AddrPortFrom(netip.AddrFrom16(s.Local().Addr().As16()), s.Local().Port())
		if err := s.Send([]Run{c.run, {To: mapped, Buf: []byte("good"), Size: 4}}); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if in := collect(t, s, 4); string(in.data) != "good" || !in.from.Addr().Is4() {
			t.Errorf("%s: got %q from %v", c.name, in.data, in.from)
		}
	}
}

func TestCloseEndsRecv(t *testing.T) {
	s := listen(t, "127.0.0.1:0", Options{})
	done := make(chan error)
	go func() {
		_, err := s.Recv()
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	s.Close()
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("Recv still waits")
	}
}

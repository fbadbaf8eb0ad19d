package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestSuperPacketsCrossALink(t *testing.T) {
	t.Parallel()
	a, b := newLink(t, 1500)
	for _, c := range []struct{ name, from, to string }{
		{"IPv4", "10.8.0.1:0", "10.8.0.2:0"},
		{"IPv6", "[fd08::1]:0", "[fd08::2]:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx, rx := a.listen(c.from, Options{}), b.listen(c.to, Options{})
			if !tx.CanGSO() {
				t.Skip("kernel without UDP segmentation")
			}
			sent := pattern(MaxSegments*1400 - 300)
			must(t, tx.Send([]Run{{To: rx.Local(), Buf: sent, Size: 1400}}))
			in := collect(t, rx, len(sent))
			if string(in.data) != string(sent) || in.size != 1400 || in.from != tx.Local() {
				t.Errorf("%d bytes in datagrams of %d from %v", len(in.data), in.size, in.from)
			}
			if in.arrivals != 1 {
				t.Errorf("a run came in %d pieces, the kernel should have kept it whole", in.arrivals)
			}
		})
	}
}

func TestTooLongDatagramIsReportedAndOthersStillGo(t *testing.T) {
	t.Parallel()
	a, b := newLink(t, 1400)
	for _, c := range []struct {
		name, from, to string
		fits           int
	}{
		{"IPv4", "10.8.0.1:0", "10.8.0.2:0", 1400 - 28},
		{"IPv6", "[fd08::1]:0", "[fd08::2]:0", 1400 - 48},
	} {
		for _, segments := range []int{1, 10} {
			tx, rx := a.listen(c.from, Options{}), b.listen(c.to, Options{})
			gso := tx.CanGSO()
			long, good := pattern((c.fits+1)*segments), pattern(c.fits*segments)
			err := tx.Send([]Run{
				{To: rx.Local(), Buf: long, Size: c.fits + 1},
				{To: rx.Local(), Buf: good, Size: c.fits},
			})
			var tooLong *TooLong
			if !errors.As(err, &tooLong) || tooLong.Size != c.fits+1 || tooLong.To != rx.Local() {
				t.Errorf("%s, %d segments: error %v", c.name, segments, err)
			}
			if in := collect(t, rx, len(good)); in.size != c.fits {
				t.Errorf("%s, %d segments: the run after came in datagrams of %d bytes", c.name, segments, in.size)
			}
			if tx.CanGSO() != gso {
				t.Errorf("%s, %d segments: segmentation was given up", c.name, segments)
			}
			if tx.Dropped() != uint64(segments) {
				t.Errorf("%s, %d segments: %d counted as dropped", c.name, segments, tx.Dropped())
			}
		}
	}
}

func TestFragmentsWhereAllowed(t *testing.T) {
	a, b := newLink(t, 1400)
	for _, segments := range []int{1, 10} {
		tx, rx := a.listen("10.8.0.1:0", Options{Fragment: true}), b.listen("10.8.0.2:0", Options{})
		sent := pattern(2000 * segments)
		must(t, tx.Send([]Run{{To: rx.Local(), Buf: sent, Size: 2000}}))
		if in := collect(t, rx, len(sent)); in.size != 2000 || string(in.data) != string(sent) {
			t.Errorf("%d segments: came in datagrams of %d bytes", segments, in.size)
		}
	}
}

func TestWithoutSegmentationEverythingStillArrives(t *testing.T) {
	tx, rx := listen(t, "127.0.0.1:0", Options{}), listen(t, "127.0.0.1:0", Options{})
	if !tx.CanGSO() {
		t.Skip("kernel without UDP segmentation")
	}
	// Segmentation needs a checksum, so a socket that sends none is refused it
	// as on a network card that cannot do it.
	tx.conn.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)) })
	sent := pattern(40*500 + 7)
	for range 2 { // first when it is noticed, then when it is known
		must(t, tx.Send([]Run{
			{To: rx.Local(), Buf: sent[:10*500], Size: 500},
			{To: rx.Local(), Buf: sent[10*500:], Size: 500},
		}))
		if in := collect(t, rx, len(sent)); string(in.data) != string(sent) || in.size != 500 {
			t.Errorf("%d bytes in datagrams of %d", len(in.data), in.size)
		}
		if tx.CanGSO() {
			t.Error("segmentation was not given up")
		}
	}
	if tx.Dropped() != 0 {
		t.Errorf("%d dropped", tx.Dropped())
	}
}

func TestFullBufferDropsAfterABoundedWait(t *testing.T) {
	a, _ := newLink(t, 1500)
	var tx *socket
	var shaped error
	a.do(func() {
		v, err := netlink.LinkByName("v")
		must(t, err)
		slow := &netlink.Tbf{Rate: 100_000, Buffer: netlink.Xmittime(100_000, 3000), Limit: 1 << 30,
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: v.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)}}
		if shaped = netlink.QdiscAdd(slow); shaped == nil {
			tx = listen(t, "10.8.0.1:0", Options{SndBuf: 1 << 16})
		}
	})
	if shaped != nil {
		t.Skip("no traffic shaping here: ", shaped)
	}
	start := time.Now()
	buf := pattern(1400)
	var err error
	for range 1000 {
		if err = tx.Send([]Run{{To: netip.MustParseAddrPort("10.8.0.2:9"), Buf: buf, Size: 1400}}); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EAGAIN) || tx.Dropped() == 0 {
		t.Errorf("error %v, %d dropped", err, tx.Dropped())
	}
	if d := time.Since(start); d > time.Minute { // forever, if Send waited for room
		t.Errorf("took %v", d)
	}
}

func TestUnreachableDestinationDoesNotStopTheNext(t *testing.T) {
	ns := newNamespace(t)
	tx, rx := ns.listen("0.0.0.0:0", Options{}), ns.listen("127.0.0.1:0", Options{})
	err := tx.Send([]Run{
		{To: netip.MustParseAddrPort("10.1.2.3:9"), Buf: pattern(10), Size: 10},
		{To: rx.Local(), Buf: pattern(20), Size: 20},
	})
	if !errors.Is(err, unix.ENETUNREACH) || tx.Dropped() != 1 {
		t.Errorf("error %v, %d dropped", err, tx.Dropped())
	}
	if in := collect(t, rx, 20); in.from.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("from %v", in.from)
	}
}

func TestLinkLocalAddressesKeepTheirZone(t *testing.T) {
	t.Parallel()
	a, b := newLink(t, 1500)
	tx, rx := a.listen("[fe80::1%v]:0", Options{}), b.listen("[::]:0", Options{})
	to := netip.AddrPortFrom(netip.MustParseAddr("fe80::2%v"), rx.Local().Port())
	var err error
	a.do(func() { err = tx.Send([]Run{{To: to, Buf: pattern(9), Size: 9}}) })
	must(t, err)
	b.do(func() { // names of interfaces are looked up where the thread is
		if in := collect(t, rx, 9); in.from.Addr() != netip.MustParseAddr("fe80::1%v") {
			t.Errorf("from %v", in.from)
		}
	})
}

func TestPathMTU(t *testing.T) {
	a, _ := newLink(t, 1321)
	s4, s6 := a.listen("0.0.0.0:0", Options{}), a.listen("[::]:0", Options{})
	for _, c := range []struct {
		name, addr string
		s          *socket
		want       int
	}{
		{"IPv4", "10.8.0.2", s4, 1321},
		{"IPv4 in IPv6 clothes", "::ffff:10.8.0.2", s4, 1321},
		{"IPv6", "fd08::2", s6, 1321},
		{"no route", "10.77.0.1", s4, 0},
		{"the other family", "fd08::2", s4, 0},
	} {
		got := 0
		a.do(func() { got = c.s.PathMTU(netip.MustParseAddr(c.addr)) })
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestOptionsReachTheKernel(t *testing.T) {
	ns := newNamespace(t)
	get := func(s *socket, level, name int) (v int) {
		s.conn.Control(func(fd uintptr) { v, _ = unix.GetsockoptInt(int(fd), level, name) })
		return v
	}
	s := ns.listen("[::1]:0", Options{Mark: 7, ReusePort: true, BindToDevice: "lo", RcvBuf: 1 << 20})
	for _, c := range []struct {
		name        string
		level, opt  int
		least, most int
	}{
		{"mark", unix.SOL_SOCKET, unix.SO_MARK, 7, 7},
		{"shared port", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, 1},
		{"receive buffer, doubled by the kernel", unix.SOL_SOCKET, unix.SO_RCVBUF, 2 << 20, 2 << 20},
		{"send buffer by default", unix.SOL_SOCKET, unix.SO_SNDBUF, 14 << 20, 14 << 20},
		{"IPv6 only", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, 1},
		{"never fragment", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_PMTUDISC_DO},
	} {
		if v := get(s, c.level, c.opt); v < c.least || v > c.most {
			t.Errorf("%s: %d", c.name, v)
		}
	}
	ns.do(func() {
		again, err := Listen(s.Local(), Options{ReusePort: true, BindToDevice: "lo"})
		if err != nil {
			t.Error("a second socket on a shared port: ", err)
		} else {
			again.Close()
		}
		if _, err := Listen(s.Local(), Options{}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a socket on a taken port: %v", err)
		}
	})
}

func BenchmarkSendRecv(b *testing.B) {
	for _, c := range []struct {
		name     string
		segments int
	}{{"one datagram", 1}, {"a run of 44", MaxSegments}} {
		b.Run(c.name, func(b *testing.B) {
			x, y := newLink(b, 1500)
			tx, rx := x.listen("10.8.0.1:0", Options{}), y.listen("10.8.0.2:0", Options{})
			runs := []Run{{To: rx.Local(), Buf: pattern(c.segments * 1400), Size: 1400}}
			b.ReportAllocs()
			b.SetBytes(int64(len(runs[0].Buf)))
			for b.Loop() {
				if err := tx.Send(runs); err != nil {
					b.Fatal(err)
				}
				for got := 0; got < len(runs[0].Buf); {
					in, err := rx.Recv()
					if err != nil {
						b.Fatal(err)
					}
					for _, a := range in {
						got += len(a.Buf)
					}
				}
			}
		})
	}
}

func BenchmarkLinkLocal(b *testing.B) {
	s := listen(b, "[::1]:0", Options{})
	scope := uint32(1)
	sa := sockaddr{Family: unix.AF_INET6, Addr: netip.MustParseAddr("fe80::1").As16(), Scope_id: scope}
	s.rx.names[0], s.rx.msgs[0].n = sa, 1
	var a Arrival
	b.ReportAllocs()
	for b.Loop() {
		if !s.arrival(&a, 0) {
			b.Fatal("nothing arrived")
		}
		putSockaddr(&sa, a.From, s.tx.zones.number(a.From.Addr().Zone()))
	}
}

func TestSendAfterClose(t *testing.T) {
	s := listen(t, "127.0.0.1:0", Options{})
	s.Close()
	if err := s.Send([]Run{{To: s.Local(), Buf: pattern(1), Size: 1}}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

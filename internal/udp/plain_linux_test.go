package udp

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// plain opens inside what other systems than Linux use.
func (ns *namespace) plain(addr string, opts Options) (s *plainSocket) {
	ns.t.Helper()
	ns.do(func() {
		var err error
		s, err = listenPlain(netip.MustParseAddrPort(addr), opts)
		must(ns.t, err)
	})
	if s == nil {
		ns.t.FailNow()
	}
	ns.t.Cleanup(func() { s.Close() })
	return s
}

func TestPlainSocketNeverFragments(t *testing.T) {
	a, b := newLink(t, 1400)
	for _, c := range []struct {
		name, from, to string
		fits           int
	}{
		{"IPv4", "10.8.0.1:0", "10.8.0.2:0", 1400 - 28},
		{"IPv6", "[fd08::1]:0", "[fd08::2]:0", 1400 - 48},
	} {
		for _, canDF := range []bool{true, false} {
			tx, rx := a.plain(c.from, Options{}), b.listen(c.to, Options{})
			if tx.fits.mtu != nil {
				t.Errorf("%s: Linux can set DF", c.name)
			}
			if !canDF { // as OpenBSD with IPv4
				level, option := optionDontFragment(tx.is4)
				must(t, tx.control(func(fd uintptr) error { return setOption(fd, level, option, unix.IP_PMTUDISC_DONT) }))
				tx.fits.mtu = tx.PathMTU
			}
			a.do(func() {
				if mtu := tx.PathMTU(rx.Local().Addr()); mtu != 1400 {
					t.Errorf("%s: a path MTU of %d, want 1400", c.name, mtu)
				}
				err := tx.Send([]Run{
					{To: rx.Local(), Buf: pattern(c.fits + 1), Size: c.fits + 1},
					{To: rx.Local(), Buf: pattern(c.fits), Size: c.fits},
				})
				var long *TooLong
				if !errors.As(err, &long) || long.Size != c.fits+1 {
					t.Errorf("%s, DF %v: error %v", c.name, canDF, err)
				}
			})
			if in := collect(t, rx, c.fits); in.size != c.fits {
				t.Errorf("%s, DF %v: a datagram of %d bytes came", c.name, canDF, in.size)
			}
		}
	}
	tx, rx := a.plain("10.8.0.1:0", Options{Fragment: true}), b.listen("10.8.0.2:0", Options{})
	a.do(func() { must(t, tx.Send([]Run{{To: rx.Local(), Buf: pattern(2000), Size: 2000}})) })
	if in := collect(t, rx, 2000); in.size != 2000 {
		t.Errorf("where fragments are allowed a datagram of %d bytes came", in.size)
	}
}

func TestPlainSocketHasItsOwnTimeToLiveAfterwards(t *testing.T) {
	for _, c := range []struct {
		network, addr      string
		level, enable, typ int
	}{
		{"udp4", "127.0.0.1:0", unix.SOL_IP, unix.IP_RECVTTL, unix.IP_TTL},
		{"udp6", "[::1]:0", unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, unix.IPV6_HOPLIMIT},
	} {
		rx := tosReceiver(t, c.network, c.addr)
		tx, err := listenPlain(netip.MustParseAddrPort(c.addr), Options{})
		must(t, err)
		defer tx.Close()
		raw, err := rx.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), c.level, c.enable, 1)) }))
		to := netip.MustParseAddrPort(rx.LocalAddr().String())
		must(t, tx.Send([]Run{{To: to, Buf: pattern(9), Size: 9, TTL: 2}, {To: to, Buf: pattern(9), Size: 9}}))
		for i, want := range []int{2, 64} {
			if got := ttlOf(t, rx, c.level, c.typ); got != want {
				t.Errorf("%s: datagram %d has a time to live of %d, want %d", c.network, i, got, want)
			}
		}
	}
}

func TestRouteMTUIsAskedForOnceInAWhile(t *testing.T) {
	asked := 0
	f := fits{mtu: func(netip.Addr) int { asked++; return 1500 }}
	to := netip.MustParseAddr("192.0.2.1")
	for range 100 {
		if f.refuses(to, 1500) || !f.refuses(to, 1501) || f.refuses(to, 1000) {
			t.Fatal("1500 bytes are the limit")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	for i := range 2 * maxFits {
		f.refuses(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1400)
	}
	if len(f.known) > maxFits {
		t.Errorf("%d routes are remembered", len(f.known))
	}
}

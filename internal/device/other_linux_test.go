package device

import (
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestParseGroup(t *testing.T) {
	for spec, want := range map[string]struct {
		group string
		ttl   int
	}{
		"239.1.2.3 7000":         {"239.1.2.3:7000", 1},
		" 239.1.2.3\t7000  5 ":   {"239.1.2.3:7000", 5},
		"ff15::1 7000 0":         {"[ff15::1]:7000", 0},
		"":                       {},
		"239.1.2.3":              {},
		"10.0.0.1 7000":          {},
		"::ffff:239.1.2.3 7000":  {},
		"239.1.2.3 0":            {},
		"239.1.2.3 70000":        {},
		"239.1.2.3 7000 256":     {},
		"239.1.2.3 7000 1 extra": {},
		"group 7000":             {},
	} {
		group, ttl, err := parseGroup(spec)
		if want.group == "" {
			if err == nil {
				t.Errorf("%q: %v, %d", spec, group, ttl)
			}
		} else if err != nil || group != netip.MustParseAddrPort(want.group) || ttl != want.ttl {
			t.Errorf("%q: %v, %d, %v", spec, group, ttl, err)
		}
	}
}

// The system is not asked about each frame of our own, and no new address is missed.
func TestOwnAddressesAreRemembered(t *testing.T) {
	var asked int
	has := []string{"10.0.0.1/24", "fe80::1/64"}
	own := localAddrs{look: func() (list []net.Addr, err error) {
		asked++
		if has == nil {
			return nil, errors.New("the system does not say")
		}
		for _, s := range has {
			ip, n, err := net.ParseCIDR(s)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		return list, nil
	}}
	now := time.Now()
	check := func(what, addr string, want bool, looks int) {
		t.Helper()
		asked = 0
		if got := own.has(netip.MustParseAddr(addr), now); got != want || asked != looks {
			t.Errorf("%s: %v after asking %d times, want %v after %d", what, got, asked, want, looks)
		}
	}
	check("the first frame", "10.0.0.1", true, 1)
	check("the next", "10.0.0.1", true, 0)
	check("by IPv6", "fe80::1%eth0", true, 0)
	check("of another machine", "10.0.0.2", false, 1)
	has = append(has, "10.0.0.2/24")
	check("from an address that is new", "10.0.0.2", true, 1)
	has = has[1:]
	check("an address that is gone since a moment", "10.0.0.1", true, 0)
	now = now.Add(ownAddrsAge)
	check("an address that is gone", "10.0.0.1", false, 1)
	has = nil
	check("nobody knows", "10.0.0.9", true, 1)
}

func TestAGroupHearsOnlyWhatIsSentToIt(t *testing.T) {
	inNamespace(t, func() {
		lan := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}}
		err := netlink.LinkAdd(lan)
		for _, text := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
			if err == nil {
				var a *netlink.Addr
				a, _ = netlink.ParseAddr(text)
				a.Flags = unix.IFA_F_NODAD
				err = netlink.AddrAdd(lan, a)
			}
		}
		if err == nil {
			err = netlink.LinkSetUp(lan)
		}
		_, all, _ := net.ParseCIDR("224.0.0.0/4")
		if err == nil {
			err = netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Dst: all})
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range []struct{ group, other, host string }{
			{"239.1.2.3", "239.9.9.9", "192.0.2.1:7000"},
			{"ff15::3", "ff15::9", "[2001:db8::1]:7000"},
		} {
			var devices [3]Device
			for i, group := range []string{c.group, c.group, c.other} {
				d, err := OpenMulticast(group + " 7000 1")
				if err != nil {
					t.Error(err)
					return
				}
				defer d.Close()
				devices[i] = d
			}
			stranger, err := net.Dial("udp", c.host)
			if err != nil {
				t.Error(err)
				return
			}
			defer stranger.Close()
			stranger.Write([]byte("from a stranger")) // may be refused
			for _, s := range []struct {
				from Device
				text string
			}{{devices[2], "for another group"}, {devices[1], "for the group"}} {
				if err := s.from.Write(append(make([]byte, Headroom), s.text...), Headroom, Offload{}); err != nil {
					t.Errorf("%s: %v", s.text, err)
				}
			}
			buf := make([]byte, MaxPacket)
			if n, _, err := devices[0].Read(buf); err != nil || string(buf[:n]) != "for the group" {
				t.Errorf("%s heard %q, %v", c.group, buf[:n], err)
			}
		}
	})
}

// handOver listens at a socket and hands a descriptor, or nothing, to whoever connects.
func handOver(t *testing.T, fds ...int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(fds...), nil)
			conn.Close()
		}
	}()
	return path
}

func TestDescriptorIsHandedOver(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	d, err := OpenDescriptor(handOver(t, pair[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if CarriesFrames(d) {
		t.Error("a socket is taken for a tap device")
	}
	if err := d.Write(append(make([]byte, Headroom), "packet"...), Headroom, Offload{}); err != nil {
		t.Fatal(err)
	}
	var buf [100]byte
	if n, err := unix.Read(pair[1], buf[:]); err != nil || string(buf[:n]) != "packet" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	for _, which := range []string{"", "0", "2", "/nonexistent/socket", strings.Repeat("x", 200), handOver(t), handOver(t, pair[0], pair[1])} {
		d, err := OpenDescriptor(which)
		var open *OpenError
		if !errors.As(err, &open) || open.Hint() == "" {
			t.Errorf("%.40q: %v, %v", which, d, err)
		}
	}
}

func TestAReaderThatSleepsStopsNobody(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	d, err := OpenFD(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lost := make(chan int)
	go func() {
		n := 0
		for range 10000 {
			if d.Write(make([]byte, Headroom+1000), Headroom, Offload{}) != nil {
				n++
			}
		}
		lost <- n
	}()
	select {
	case n := <-lost:
		if n == 0 {
			t.Error("nothing was lost, so nothing was tried")
		}
	case <-time.After(time.Minute):
		t.Fatal("the writer waits for a reader that sleeps")
	}
	// It wakes up: the next packets are taken, and are waited for again.
	for {
		var buf [2000]byte
		if n, _, err := unix.Recvfrom(pair[1], buf[:], unix.MSG_DONTWAIT); err != nil || n == 0 {
			break
		}
	}
	go func() {
		for range 2000 {
			var buf [2000]byte
			unix.Read(pair[1], buf[:])
		}
	}()
	for i := range 2000 {
		if i == 1000 { // whatever was waited for before is over
			time.Sleep(2 * maxWait)
		}
		if err := d.Write(make([]byte, Headroom+1000), Headroom, Offload{}); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
	}
}

func TestErrorsThatReadersOfTheLogKnow(t *testing.T) {
	silent, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		if c, err := silent.Accept(); err == nil {
			c.Close()
		}
	}()
	for _, c := range []struct {
		name string
		open func(string) (Device, error)
		spec string
		want []string
	}{
		{"no descriptor", OpenDescriptor, "", []string{"Could not read device"}},
		{"a descriptor that cannot be", OpenDescriptor, "-1", []string{"Could not open"}},
		{"a path that is too long", OpenDescriptor, strings.Repeat("x", 110), []string{"Unix socket path too long"}},
		{"no socket", OpenDescriptor, "/dev/null", []string{"Receiving fd from Unix socket", "Could not connect to Unix socket"}},
		{"a socket that sends nothing", OpenDescriptor, silent.Addr().String(), []string{"Could not read from unix socket"}},
		{"no group", OpenMulticast, "", []string{"Device variable required for multicast socket"}},
		{"no port", OpenMulticast, "localhost", []string{"Port number required"}},
		{"no such card", OpenRaw, "no-such-card", []string{"Can't find interface no-such-card"}},
	} {
		_, err := c.open(c.spec)
		var open *OpenError
		if !errors.As(err, &open) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", c.name, err, want)
			}
		}
	}
}

func TestRawSocketNeedsAnInterface(t *testing.T) {
	var open *OpenError
	if _, err := OpenRaw("no-such-card"); !errors.As(err, &open) || open.Hint() == "" {
		t.Errorf("%v", err)
	}
}

func TestTapCarriesFrames(t *testing.T) {
	inNamespace(t, func() {
		for _, tap := range []bool{false, true} {
			d, err := OpenTUN("vpn0", Options{TAP: tap})
			if err != nil {
				t.Error(err)
				return
			}
			if CarriesFrames(d) != tap {
				t.Errorf("tap %v: carries frames: %v", tap, !tap)
			}
			d.Close()
		}
	})
}

func TestVLANTagIsPutBack(t *testing.T) {
	tun := &tun{}
	tun.rx.msg.SetControllen(40)
	c := (*unix.Cmsghdr)(ptr(&tun.rx.aux[0]))
	c.Level, c.Type = unix.SOL_PACKET, unix.PACKET_AUXDATA
	a := (*unix.TpacketAuxdata)(ptrAt(&tun.rx.aux[0], unix.CmsgLen(0)))
	*a = unix.TpacketAuxdata{Status: unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID, Vlan_tci: 0x2005, Vlan_tpid: 0x88a8}
	buf := make([]byte, MaxPacket)
	frame := "destinsource" + "\x08\x00" + "payload"
	n := copy(buf, frame)
	off := Offload{NeedsCsum: true, CsumStart: 34, GSO: GSOTCPv4, HdrLen: 54}
	n = tun.restoreTag(buf, n, &off)
	if got := string(buf[:n]); got != frame[:12]+"\x88\xa8\x20\x05"+frame[12:] || off.CsumStart != 38 || off.HdrLen != 58 {
		t.Errorf("%q, %+v", got, off)
	}
	a.Status = 0
	if tun.restoreTag(buf, n, &off) != n {
		t.Error("a tag was made up")
	}
}

func ptr(p *uint64) unsafe.Pointer { return unsafe.Pointer(p) }

func ptrAt(p *uint64, n int) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(p), n) }

package device

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// must ends the test's goroutine on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// upTUN opens a tun device that has 10.9.0.1/24 and fd09::1/64 and is up.
func upTUN(t testing.TB, opts Options) Device {
	t.Helper()
	d, err := OpenTUN("tt%d", opts)
	must(t, err)
	link, err := netlink.LinkByName(d.Name())
	must(t, err)
	for _, s := range []string{"10.9.0.1/24", "fd09::1/64"} {
		a, err := netlink.ParseAddr(s)
		must(t, err)
		a.Flags |= unix.IFA_F_NODAD
		must(t, netlink.AddrAdd(link, a))
	}
	must(t, netlink.LinkSetUp(link))
	return d
}

// A name that is too long for the kernel is cut off, as tinc does, for whichever process the interface is.
func TestLongNamesAreCutOff(t *testing.T) {
	inNamespace(t, func() {
		fd, name, err := MakeTUN("name-of-a-network")
		must(t, err)
		d, err := TakeTUN(fd, name)
		must(t, err)
		defer d.Close()
		if name != "name-of-a-netwo" || d.Name() != name {
			t.Errorf("the interface is %q, the device %q", name, d.Name())
		}
	})
}

// transport returns the protocol of an IP packet and where its transport header starts.
func transport(p []byte) (proto byte, start int) {
	if p[0]>>4 == 4 {
		return p[9], int(p[0]&15) * 4
	}
	return p[6], 40
}

// swap turns a packet around, so that the kernel takes it for one from the other end.
func swap(p []byte) {
	var tmp [16]byte
	a, b := p[12:16], p[16:20]
	if p[0]>>4 == 6 {
		a, b = p[8:24], p[24:40]
	}
	copy(tmp[:], a)
	copy(a, b)
	copy(b, tmp[:len(b)])
}

func TestTCPComesAndGoesInSuperPackets(t *testing.T) {
	for _, c := range []struct {
		name, local, far string
		gso              GSOType
	}{
		{"IPv4", "10.9.0.1", "10.9.0.2", GSOTCPv4},
		{"IPv6", "fd09::1", "fd09::2", GSOTCPv6},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t, func() {
				d := upTUN(t, Options{})
				defer d.Close()
				if d.MaxSegments(c.gso) == 0 {
					t.Skip("kernel without segmentation offload")
				}
				// The device is a mirror: what goes to the far address comes back as
				// if from there. A connection to ourselves then runs through it twice.
				super := make(chan Offload, 1)
				go func() {
					buf := make([]byte, Headroom+MaxPacket)
					for {
						n, off, err := d.Read(buf[Headroom:])
						if err != nil {
							return
						}
						p := buf[Headroom : Headroom+n]
						if proto, start := transport(p); proto != unix.IPPROTO_TCP {
							continue
						} else if off.GSO != GSONone {
							if want := start + int(p[start+12]>>4)*4; int(off.HdrLen) != want || int(off.CsumStart) != start || off.CsumOffset != 16 {
								t.Errorf("offload %+v, want header length %d, checksum start %d", off, want, start)
							}
							select {
							case super <- off:
							default:
							}
						}
						swap(p)
						if err := d.Write(buf[:Headroom+n], Headroom, off); err != nil && err != os.ErrClosed {
							t.Errorf("write %+v: %v", off, err)
						}
					}
				}()
				l, err := net.Listen("tcp", net.JoinHostPort(c.local, "0"))
				must(t, err)
				defer l.Close()
				_, port, _ := net.SplitHostPort(l.Addr().String())
				conn, err := net.DialTimeout("tcp", net.JoinHostPort(c.far, port), 5*time.Second)
				must(t, err)
				defer conn.Close()
				peer, err := l.Accept()
				must(t, err)
				defer peer.Close()
				sent := bytes.Repeat([]byte("tun segmentation "), 1<<16)
				go func() { conn.Write(sent); conn.Close() }()
				peer.SetDeadline(time.Now().Add(10 * time.Second))
				got, err := io.ReadAll(peer)
				must(t, err)
				if !bytes.Equal(got, sent) {
					t.Errorf("stream changed: %d bytes, want %d", len(got), len(sent))
				}
				select {
				case off := <-super:
					if off.GSO != c.gso || !off.NeedsCsum || off.GSOSize == 0 || off.GSOSize > 1460 {
						t.Errorf("offload %+v", off)
					}
				default:
					t.Error("no super-packet was seen")
				}
			})
		})
	}
}

func TestUDPComesInSuperPackets(t *testing.T) {
	inNamespace(t, func() {
		d := upTUN(t, Options{})
		defer d.Close()
		if d.MaxSegments(GSOUDP) == 0 {
			t.Skip("kernel without USO")
		}
		conn, err := net.Dial("udp", "10.9.0.2:9")
		must(t, err)
		defer conn.Close()
		raw, _ := conn.(*net.UDPConn).SyscallConn()
		raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) })
		must(t, err)
		_, err = conn.Write(make([]byte, 10_500))
		must(t, err)
		buf := make([]byte, MaxPacket)
		for {
			n, off, err := d.Read(buf)
			must(t, err)
			if proto, _ := transport(buf); proto != unix.IPPROTO_UDP {
				continue
			}
			want := Offload{GSO: GSOUDP, NeedsCsum: true, HdrLen: 28, GSOSize: 1000, CsumStart: 20, CsumOffset: 6}
			if off != want || n != 28+10_500 {
				t.Errorf("%d bytes with %+v, want %d with %+v", n, off, 28+10_500, want)
			}
			return
		}
	})
}

func TestKernelTakesAsManySegmentsAsAreSaid(t *testing.T) {
	inNamespace(t, func() {
		d := upTUN(t, Options{})
		defer d.Close()
		most := d.MaxSegments(GSOUDP)
		if most == 0 {
			t.Skip("kernel without USO")
		}
		conn, err := net.ListenPacket("udp4", "10.9.0.1:7000")
		must(t, err)
		defer conn.Close()
		refused := func() string {
			b, err := os.ReadFile("/proc/thread-self/net/dev") // of this namespace
			must(t, err)
			for line := range strings.Lines(string(b)) {
				if name, counts, _ := strings.Cut(strings.TrimSpace(line), ":"); name == d.Name() {
					return strings.Fields(counts)[5] // frame
				}
			}
			return "no line"
		}
		const size = 20
		super := func(segments int) error {
			buf := make([]byte, Headroom+28+segments*size)
			p := buf[Headroom:]
			copy(p, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1, 0x10, 0, 7000 >> 8, 7000 & 0xff})
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
			binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
			var sum uint32
			for i := 0; i < 20; i += 2 {
				sum += uint32(binary.BigEndian.Uint16(p[i:]))
			}
			binary.BigEndian.PutUint16(p[10:], ^uint16(sum>>16+sum&0xffff))
			sum = 17 + uint32(len(p)-20)
			for i := 12; i < 20; i += 2 {
				sum += uint32(binary.BigEndian.Uint16(p[i:]))
			}
			binary.BigEndian.PutUint16(p[26:], uint16(sum>>16+sum&0xffff))
			return d.Write(buf, Headroom, Offload{GSO: GSOUDP, NeedsCsum: true, HdrLen: 28, GSOSize: size, CsumStart: 20, CsumOffset: 6})
		}
		must(t, super(most))
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		buf := make([]byte, 1000)
		for i := range most {
			if n, _, err := conn.ReadFrom(buf); err != nil || n != size {
				t.Fatalf("datagram %d of %d: %d bytes, %v", i, most, n, err)
			}
		}
		if n := refused(); n != "0" {
			t.Errorf("%s frame errors after %d segments", n, most)
		}
		// Whether the kernel takes more depends on its fixes; what it does not take is told.
		if err := super(2 * most); err != nil && err != ErrRefused {
			t.Errorf("twice as many: %v", err)
		}
	})
	for release, want := range map[string]int{
		"6.9.0": 128, "6.18.44-fc": 128, "7.0-rc1": 128, "6.8.0-45-generic": 64, "5.10.0-32-amd64": 64, "": 64, "next": 64,
	} {
		if got := maxUDPSegments(release); got != want {
			t.Errorf("kernel %q takes %d segments, want %d", release, got, want)
		}
	}
}

func TestWithoutOffloadPacketsAreFinished(t *testing.T) {
	inNamespace(t, func() {
		d := upTUN(t, Options{NoOffload: true})
		defer d.Close()
		for _, g := range []GSOType{GSOTCPv4, GSOTCPv6, GSOUDP} {
			if d.MaxSegments(g) != 0 {
				t.Errorf("MaxSegments(%d) is not 0 although offloads are off", g)
			}
		}
		conn, err := net.Dial("udp4", "10.9.0.2:9")
		must(t, err)
		defer conn.Close()
		conn.Write([]byte("odd"))
		buf := make([]byte, MaxPacket)
		for {
			n, off, err := d.Read(buf)
			must(t, err)
			if proto, _ := transport(buf); proto != unix.IPPROTO_UDP {
				continue
			}
			if off != (Offload{}) || n != 31 {
				t.Errorf("%d bytes with %+v", n, off)
			}
			if binary.BigEndian.Uint16(buf[26:]) == 0 {
				t.Error("checksum is missing")
			}
			if err := d.Write(make([]byte, 200), Headroom, Offload{GSO: GSOTCPv4}); err == nil {
				t.Error("a super-packet was accepted")
			}
			return
		}
	})
}

func TestInterfaceNames(t *testing.T) {
	for _, c := range []struct{ name, ask, get string }{
		{"as asked", "vpn", "vpn"},
		{"pattern takes the first free number", "vpn%d", "vpn0"},
		{"no name lets the kernel choose", "", "tun0"},
		{"cut to fifteen characters", "abcdefghijklmnopq", "abcdefghijklmno"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t, func() {
				d, err := OpenTUN(c.ask, Options{})
				must(t, err)
				defer d.Close()
				if d.Name() != c.get {
					t.Errorf("name %q, want %q", d.Name(), c.get)
				}
			})
		})
	}
	t.Run("tap", func(t *testing.T) {
		inNamespace(t, func() {
			d, err := OpenTUN("", Options{TAP: true})
			must(t, err)
			defer d.Close()
			if d.Name() != "tap0" {
				t.Errorf("name %q, want tap0", d.Name())
			}
		})
	})
}

func TestPersistentInterfaceSurvives(t *testing.T) {
	inNamespace(t, func() {
		la := netlink.NewLinkAttrs()
		la.Name = "keep"
		must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: la, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI}))
		for range 2 {
			d, err := OpenTUN("keep", Options{})
			must(t, err)
			must(t, d.Close())
			if _, err := netlink.LinkByName("keep"); err != nil {
				t.Fatal("after close: ", err)
			}
		}
		gone, err := OpenTUN("gone", Options{})
		must(t, err)
		must(t, gone.Close())
		if _, err := netlink.LinkByName("gone"); err == nil {
			t.Error("an interface of our own is still there after close")
		}
	})
}

func TestOpenErrorsSayWhatToDo(t *testing.T) {
	inNamespace(t, func() {
		busy, err := OpenTUN("busy", Options{})
		must(t, err)
		defer busy.Close()
		la := netlink.NewLinkAttrs()
		la.Name = "other"
		must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: la, Mode: netlink.TUNTAP_MODE_TAP}))
		la.Name = "bridge"
		must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: la}))
		for _, c := range []struct{ name, ifname, path, why string }{
			{"no device file", "x", "/dev/net/nothing", "no such device file"},
			{"not a tun device file", "x", "/dev/null", "not a tun device"},
			{"in use", "busy", "", "in use"},
			{"a tap interface", "other", "", "is a tap interface"},
			{"another kind of interface", "bridge", "", "not a tun interface"},
			{"impossible name", "a/b", "", "cannot have this name"},
		} {
			_, err := OpenTUN(c.ifname, Options{Path: c.path})
			var open *OpenError
			if !errors.As(err, &open) || !strings.Contains(err.Error(), c.why) || open.Hint() == "" {
				t.Errorf("%s: error %v, want %q and a hint", c.name, err, c.why)
			}
		}
	})
}

func TestCloseAndRemovalEndRead(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(d Device) error
	}{
		{"close", func(d Device) error { return d.Close() }},
		{"the interface is deleted", func(d Device) error {
			l, err := netlink.LinkByName(d.Name())
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inNamespace(t, func() {
				d := upTUN(t, Options{})
				defer d.Close()
				done := make(chan error)
				go func() {
					buf := make([]byte, MaxPacket)
					for {
						if _, _, err := d.Read(buf); err != nil {
							done <- err
							return
						}
					}
				}()
				time.Sleep(20 * time.Millisecond)
				must(t, c.end(d))
				select {
				case <-done:
				case <-time.After(time.Minute):
					t.Error("Read still waits")
				}
			})
		})
	}
}

func TestInheritedDescriptor(t *testing.T) {
	pair := func() [2]int {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
		must(t, err)
		return fds
	}
	fds := pair()
	d, err := OpenFD(fds[0])
	must(t, err)
	defer d.Close()
	far := os.NewFile(uintptr(fds[1]), "far")
	defer far.Close()

	buf := make([]byte, Headroom+MaxPacket)
	if _, _, err := d.TryRead(buf[Headroom:]); err != ErrAgain {
		t.Fatalf("TryRead of an empty device: %v", err)
	}
	far.Write([]byte("packet"))
	n, off, err := d.Read(buf[Headroom:])
	if err != nil || string(buf[Headroom:Headroom+n]) != "packet" || off != (Offload{}) {
		t.Errorf("read %q %+v %v", buf[Headroom:Headroom+n], off, err)
	}

	// RFC 1071's example bytes, whose sum is 0xddf2, then the field.
	copy(buf[Headroom:], []byte{0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0})
	must(t, d.Write(buf[:Headroom+10], Headroom, Offload{NeedsCsum: true, CsumOffset: 8}))
	got := make([]byte, 64)
	n, err = far.Read(got)
	must(t, err)
	if want := []byte{0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7, 0x22, 0x0d}; !bytes.Equal(got[:n], want) {
		t.Errorf("wrote % x, want % x", got[:n], want)
	}
	if err := d.Write(buf[:100], Headroom, Offload{GSO: GSOTCPv4}); err == nil {
		t.Error("a descriptor without headers took a super-packet")
	}
	if _, err := OpenFD(99999); err == nil {
		t.Error("a closed descriptor was accepted")
	}
}

func BenchmarkTUNWrite(b *testing.B) {
	inNamespace(b, func() {
		d := upTUN(b, Options{})
		defer d.Close()
		// A UDP packet to a port where nobody listens, with the pseudo-header sum.
		buf := make([]byte, Headroom+1400)
		p := buf[Headroom:]
		copy(p, []byte{0x45, 0, 5, 120, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 99})
		b.ReportAllocs()
		for b.Loop() {
			if err := d.Write(buf, Headroom, Offload{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTUNRead(b *testing.B) {
	inNamespace(b, func() {
		d := upTUN(b, Options{})
		defer d.Close()
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		must(b, err)
		defer unix.Close(s)
		must(b, unix.Connect(s, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 9, 0, 2}}))
		buf, msg := make([]byte, MaxPacket), make([]byte, 1300)
		b.ReportAllocs()
		for b.Loop() {
			unix.Write(s, msg)
			if _, _, err := d.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package udp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tosReceiver is a plain socket that sees the TOS of what it receives.
func tosReceiver(t *testing.T, network, addr string) *net.UDPConn {
	t.Helper()
	pc, err := net.ListenPacket(network, addr)
	must(t, err)
	c := pc.(*net.UDPConn)
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVTOS, 1)
		unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1)
	}))
	return c
}

// tosOf receives one datagram and returns its TOS, and its size.
func tosOf(t *testing.T, c *net.UDPConn) (tos, size int) {
	t.Helper()
	var buf, control [2000]byte
	must(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
	n, nc, _, _, err := c.ReadMsgUDP(buf[:], control[:])
	must(t, err)
	list, err := unix.ParseSocketControlMessage(control[:nc])
	must(t, err)
	for _, m := range list {
		if m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_TOS || m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_TCLASS {
			return int(m.Data[0]), n
		}
	}
	return -1, n
}

// ttlOf receives one datagram and returns the time to live that is told beside it.
func ttlOf(t *testing.T, c *net.UDPConn, level, typ int) int {
	t.Helper()
	var buf, control [2000]byte
	must(t, c.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, nc, _, _, err := c.ReadMsgUDP(buf[:], control[:])
	must(t, err)
	list, err := unix.ParseSocketControlMessage(control[:nc])
	must(t, err)
	for _, m := range list {
		if int(m.Header.Level) == level && int(m.Header.Type) == typ {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return -1
}

func TestTimeToLive(t *testing.T) {
	for _, c := range []struct {
		network, addr      string
		level, enable, typ int
	}{
		{"udp4", "127.0.0.1:0", unix.SOL_IP, unix.IP_RECVTTL, unix.IP_TTL},
		{"udp6", "[::1]:0", unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, unix.IPV6_HOPLIMIT},
	} {
		rx, tx := tosReceiver(t, c.network, c.addr), listen(t, c.addr, Options{})
		raw, err := rx.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { must(t, unix.SetsockoptInt(int(fd), c.level, c.enable, 1)) }))
		to := netip.MustParseAddrPort(rx.LocalAddr().String())
		must(t, tx.Send([]Run{
			{To: to, Buf: pattern(100), Size: 100, TTL: 2},
			{To: to, Buf: pattern(100), Size: 100, TOS: 0xb8},
			{To: to, Buf: pattern(100), Size: 100, TTL: 200},
			{To: to, Buf: pattern(100), Size: 100},
		}))
		for i, want := range []byte{2, 64, 200, 64} {
			got := ttlOf(t, rx, c.level, c.typ)
			if got != int(want) {
				t.Errorf("%s: datagram %d has a time to live of %d, want %d", c.network, i, got, want)
			}
		}
	}
}

func TestTypeOfService(t *testing.T) {
	for _, c := range []struct{ network, addr string }{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		for _, opts := range []Options{{}, {NoOffload: true}} {
			rx, tx := tosReceiver(t, c.network, c.addr), listen(t, c.addr, opts)
			to := netip.MustParseAddrPort(rx.LocalAddr().String())
			must(t, tx.Send([]Run{
				{To: to, Buf: pattern(1000), Size: 1000, TOS: 0xb8},
				{To: to, Buf: pattern(1500), Size: 500, TOS: 0x20},
				{To: to, Buf: pattern(900), Size: 300},
				{To: to, Buf: pattern(100), Size: 100},
			}))
			for i, want := range []struct{ tos, size int }{
				{0xb8, 1000}, {0x20, 500}, {0x20, 500}, {0x20, 500}, {0, 300}, {0, 300}, {0, 300}, {0, 100},
			} {
				if tos, size := tosOf(t, rx); tos != want.tos || size != want.size {
					t.Errorf("%s, %+v: datagram %d of %d bytes has TOS %#x, want %d bytes and %#x", c.network, opts, i, size, tos, want.size, want.tos)
				}
			}
		}
	}
}

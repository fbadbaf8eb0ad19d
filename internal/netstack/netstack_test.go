package netstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"tincan/internal/device"
	"tincan/internal/oserr"
	"tincan/internal/packet"
)

// patience is how long anything may take.
const patience = 30 * time.Second

var (
	a4, a6 = netip.MustParsePrefix("10.7.0.1/16"), netip.MustParsePrefix("fd07::1/64")
	b4, b6 = netip.MustParsePrefix("10.7.0.2/16"), netip.MustParsePrefix("fd07::2/64")
)

// at is an address with a port.
func at(p netip.Prefix, port uint16) netip.AddrPort { return netip.AddrPortFrom(p.Addr(), port) }

// carry brings packets from one device to the other, as nodes do, until it is closed.
func carry(from, to device.Device) {
	buf := make([]byte, device.Headroom+device.MaxPacket)
	for {
		n, off, err := from.Read(buf[device.Headroom:])
		if err != nil {
			return
		}
		_ = to.Write(buf[:device.Headroom+n], device.Headroom, off)
	}
}

// goroutines counts them, and says what they do. That of os/signal does not count: fuzzing starts it, and it never ends.
func goroutines() (count int, stacks string) {
	text := make([]byte, 1<<20)
	stacks = string(text[:runtime.Stack(text, true)])
	return strings.Count(stacks, "\n\ngoroutine ") + 1 - strings.Count(stacks, "os/signal.loop()"), stacks
}

// pair is two stacks that are connected.
func pair(t testing.TB, c Config) (a, b *Stack) {
	t.Helper()
	before, _ := goroutines()
	c.Addresses = []netip.Prefix{a4, a6}
	a, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Addresses = []netip.Prefix{b4, b6}
	if b, err = New(c); err != nil {
		t.Fatal(err)
	}
	var carrying sync.WaitGroup
	carrying.Go(func() { carry(a.Device(), b.Device()) })
	carrying.Go(func() { carry(b.Device(), a.Device()) })
	t.Cleanup(func() {
		a.Device().Close()
		b.Device().Close()
		carrying.Wait()
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			n, stacks := goroutines()
			if n <= before {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d goroutines instead of %d are left:\n%s", n, before, stacks)
			}
		}
	})
	return a, b
}

// connected is a connection between two stacks.
func connected(t testing.TB, a, b *Stack, to netip.AddrPort) (ca, cb net.Conn) {
	t.Helper()
	l, err := b.Listen("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if ca, err = a.DialContext(ctx, "tcp", netip.MustParseAddrPort(l.Addr().String())); err != nil {
		t.Fatal(err)
	}
	cb = <-accepted
	return ca, cb
}

// TestConnectionsAreLikeThoseOfTheSystem is the test that package net has for its own.
func TestConnectionsAreLikeThoseOfTheSystem(t *testing.T) {
	for _, to := range []netip.AddrPort{at(b4, 0), at(b6, 0)} {
		t.Run(to.Addr().String(), func(t *testing.T) {
			a, b := pair(t, Config{})
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				ca, cb := connected(t, a, b, to)
				return ca, cb, func() { ca.Close(); cb.Close() }, nil
			})
		})
	}
}

func TestTransferAndHalfClose(t *testing.T) {
	size := 100 << 20
	if testing.Short() {
		size = 10 << 20
	}
	for _, to := range []netip.AddrPort{at(b4, 80), at(b6, 80)} {
		t.Run(to.Addr().String(), func(t *testing.T) {
			a, b := pair(t, Config{})
			ca, cb := connected(t, a, b, to)
			defer ca.Close()
			defer cb.Close()
			sent := sha256.New()
			go func() {
				data := rand.NewChaCha8([32]byte{1})
				if _, err := io.Copy(io.MultiWriter(sent, ca), io.LimitReader(data, int64(size))); err != nil {
					t.Error(err)
				}
				if err := ca.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Error(err)
				}
			}()
			got := sha256.New()
			_ = cb.SetReadDeadline(time.Now().Add(patience))
			if n, err := io.Copy(got, cb); err != nil || n != int64(size) {
				t.Fatalf("%d bytes of %d came: %v", n, size, err)
			}
			if !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
				t.Error("what came is something else")
			}
			// The other direction is still open.
			if _, err := cb.Write([]byte("thanks")); err != nil {
				t.Fatal(err)
			}
			cb.Close()
			_ = ca.SetReadDeadline(time.Now().Add(patience))
			if answer, err := io.ReadAll(ca); string(answer) != "thanks" || err != nil {
				t.Errorf("%q, %v", answer, err)
			}
			if !strings.HasPrefix(cb.RemoteAddr().String(), strings.TrimSuffix(ca.LocalAddr().String(), ":0")) || cb.RemoteAddr().Network() != "tcp" {
				t.Errorf("the other end is %v, and not %v", cb.RemoteAddr(), ca.LocalAddr())
			}
		})
	}
}

func TestDatagrams(t *testing.T) {
	a, b := pair(t, Config{})
	server, err := b.ListenPacket("udp", netip.AddrPortFrom(netip.Addr{}, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 70000)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := server.WriteTo(buf[:n], from); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, to := range []netip.AddrPort{at(b4, 53), at(b6, 53)} {
		c, err := a.DialContext(t.Context(), "udp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		free, err := a.ListenPacket("udp", netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		defer free.Close()
		for _, size := range []int{0, 1, 1400, 9000, 60000} { // long ones are fragmented
			want := bytes.Repeat([]byte{7}, size)
			buf := make([]byte, 70000)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if n, err := c.Read(buf); err != nil || !bytes.Equal(buf[:n], want) {
				t.Errorf("%v, %d bytes: %d came, %v", to, size, n, err)
			}
			if _, err := free.WriteTo(want, net.UDPAddrFromAddrPort(to)); err != nil {
				t.Fatal(err)
			}
			_ = free.SetReadDeadline(time.Now().Add(patience))
			if n, from, err := free.ReadFrom(buf); err != nil || !bytes.Equal(buf[:n], want) || from.String() != to.String() {
				t.Errorf("%v, %d bytes: %d came from %v, %v", to, size, n, from, err)
			}
		}
	}
	_ = server.SetReadDeadline(time.Now())
	if _, err := server.(net.Conn).Write(nil); err == nil {
		t.Error("a datagram without a destination was sent")
	}
}

func TestErrorsAreThoseOfTheSystem(t *testing.T) {
	a, b := pair(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := a.DialContext(ctx, "tcp", at(b4, 81)); !errors.Is(err, oserr.Refused) || !strings.HasPrefix(err.Error(), "dial tcp 10.7.0.2:81: connect: ") {
		t.Errorf("nobody listens: %v", err)
	}
	c, err := a.DialContext(ctx, "udp", at(b6, 81))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("?"))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, oserr.Refused) {
		t.Errorf("nobody listens, UDP: %v", err)
	}
	short, done := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer done()
	var timeout net.Error
	if _, err := a.DialContext(short, "tcp", netip.MustParseAddrPort("10.7.0.99:80")); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("nobody answers: %v", err)
	}
	l, err := b.Listen("tcp", netip.AddrPortFrom(netip.Addr{}, 80))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []netip.AddrPort{at(b4, 80), {}} {
		if at.Port() == 0 {
			at = netip.AddrPortFrom(netip.Addr{}, 80)
		}
		if _, err := b.Listen("tcp", at); !errors.Is(err, oserr.AddressInUse) {
			t.Errorf("port 80 at %v twice: %v", at, err)
		}
	}
	if _, err := b.Listen("tcp", at(a4, 80)); !errors.Is(err, oserr.NoAddress) {
		t.Errorf("the address of another one: %v", err)
	}
	for _, network := range []string{"", "unix", "tcp5", "udp", "tcp46"} {
		if _, err := b.Listen(network, netip.AddrPort{}); err == nil {
			t.Errorf("listening at %q", network)
		}
	}
	if _, err := a.DialContext(ctx, "tcp6", at(b4, 80)); err == nil {
		t.Error("an address of IPv4 in tcp6")
	}
	accepting := make(chan error)
	go func() { _, err := l.Accept(); accepting <- err }()
	time.Sleep(10 * time.Millisecond)
	l.Close()
	if err := <-accepting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accepting at a listener that is closed: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
	again, err := b.Listen("tcp4", netip.AddrPortFrom(netip.Addr{}, 80))
	if err != nil {
		t.Errorf("the port is not free: %v", err)
	}
	defer again.Close()
	if _, err := a.DialContext(ctx, "tcp", at(b6, 80)); !errors.Is(err, oserr.Refused) {
		t.Errorf("tcp4 listens at IPv6: %v", err)
	}
}

// TestWrongChecksums: what was changed on its way does not arrive.
func TestWrongChecksums(t *testing.T) {
	a, b := pair(t, Config{})
	server, err := b.ListenPacket("udp", at(b4, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := make([]byte, device.Headroom+32)
	ip := p[device.Headroom:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 32, 64, packet.ProtoUDP
	copy(ip[12:], a4.Addr().AsSlice())
	copy(ip[16:], b4.Addr().AsSlice())
	ip[21], ip[23], ip[25] = 9, 53, 12
	packet.FixIPv4Sum(ip)
	h, _ := packet.Parse(ip)
	packet.FixTransportSum(ip, h)
	for _, c := range []struct {
		mark   byte
		change func()
	}{
		{1, func() {}},
		{2, func() { packet.FixTransportSum(ip, h) }},
		{3, func() { ip[26], ip[27] = 0, 0 }},
	} {
		ip[28] = c.mark
		c.change()
		_ = b.Device().Write(p, device.Headroom, device.Offload{})
	}
	_ = server.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for len(got) < 2 {
		buf := make([]byte, 10)
		if _, _, err := server.ReadFrom(buf); err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[0])
	}
	if string(got) != "\x02\x03" {
		t.Errorf("the datagrams %v came, and not 2 (right) and 3 (without a sum)", got)
	}
	_ = a
}

func TestOwnAddress(t *testing.T) {
	a, _ := pair(t, Config{})
	ca, cb := connected(t, a, a, at(a4, 0))
	defer ca.Close()
	defer cb.Close()
	go ca.Write([]byte("hello"))
	buf := make([]byte, 5)
	if _, err := io.ReadFull(cb, buf); err != nil || string(buf) != "hello" {
		t.Errorf("%q, %v", buf, err)
	}
}

func TestTheNumberOfSocketsIsLimited(t *testing.T) {
	const most = 8
	a, b := pair(t, Config{MaxSockets: most})
	l, err := b.Listen("tcp", at(b4, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, most)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var open []net.Conn
	for range most - 1 {
		c, err := a.DialContext(t.Context(), "tcp", at(b4, 80))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	// The listener is a socket of b, so there may be no further connection: it is reset.
	c, err := a.DialContext(t.Context(), "tcp", at(b4, 80))
	if err == nil {
		open = append(open, c)
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, oserr.Reset) {
		t.Errorf("the last connection: %v", err)
	}
	for len(open) < most {
		c, err := a.ListenPacket("udp", netip.AddrPort{})
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c.(net.Conn))
	}
	if _, err := a.DialContext(t.Context(), "tcp", at(b4, 80)); !errors.Is(err, ErrTooManySockets) {
		t.Errorf("one more: %v", err)
	}
	for range most - 1 {
		(<-accepted).Close()
	}
	for _, c := range open {
		c.Close()
	}
	if a.sockets.Load() != 0 || b.sockets.Load() != 1 {
		t.Errorf("%d and %d sockets are counted", a.sockets.Load(), b.sockets.Load())
	}
}

// TestTheEndOfAStack: whoever waits in a socket is told, and nothing is left (see pair).
func TestTheEndOfAStack(t *testing.T) {
	a, b := pair(t, Config{})
	ca, cb := connected(t, a, b, at(b4, 0))
	l, err := a.Listen("tcp", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.ListenPacket("udp", netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error)
	for _, f := range []func() error{
		func() error { _, err := ca.Read(make([]byte, 1)); return err },
		func() error { _, err := io.Copy(ca, endless{}); return err },
		func() error { _, err := l.Accept(); return err },
		func() error { _, _, err := p.ReadFrom(make([]byte, 1)); return err },
		func() error {
			_, err := a.DialContext(t.Context(), "tcp", netip.MustParseAddrPort("10.7.0.99:1"))
			return err
		},
	} {
		go func() { ends <- f() }()
	}
	time.Sleep(50 * time.Millisecond)
	a.Device().Close()
	for range 5 {
		select {
		case err := <-ends:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("somebody still waits")
		}
	}
	if _, err := a.Listen("tcp", netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening after the end: %v", err)
	}
	if _, _, err := a.Device().Read(make([]byte, device.MaxPacket)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("reading packets after the end: %v", err)
	}
	cb.Close()
}

// endless is bytes without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// FuzzPacket: whatever comes from the network, the stack goes on.
func FuzzPacket(f *testing.F) {
	for _, seed := range []string{"E\x00\x00\x28", "`\x00\x00\x00\x00\x14\x06\x40", "", "E"} {
		f.Add([]byte(seed), false)
	}
	var list [][]byte
	a, b := pair(f, Config{})
	_ = b
	c, err := a.ListenPacket("udp", at(a4, 53))
	if err != nil {
		f.Fatal(err)
	}
	l, err := a.Listen("tcp", at(a4, 80))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close(); l.Close() })
	for _, proto := range []byte{1, 6, 17, 58} {
		p := make([]byte, 60)
		p[0], p[3], p[8], p[9] = 0x45, 60, 64, proto
		copy(p[12:], b4.Addr().AsSlice())
		copy(p[16:], a4.Addr().AsSlice())
		list = append(list, p)
		p = make([]byte, 80)
		p[0], p[5], p[6], p[7] = 0x60, 40, proto, 64
		copy(p[8:], b6.Addr().AsSlice())
		copy(p[24:], a6.Addr().AsSlice())
		list = append(list, p)
	}
	for _, p := range list {
		f.Add(p, true)
		f.Add(p, false)
	}
	f.Fuzz(func(t *testing.T, p []byte, checked bool) {
		if len(p) >= packet.IPv4Len && p[0]>>4 == 4 { // nearly everything else ends at the checksum of the header
			packet.FixIPv4Sum(p)
		}
		off := device.Offload{NeedsCsum: checked}
		buf := append(make([]byte, device.Headroom), p...)
		_ = a.Device().Write(buf, device.Headroom, off)
	})
}

// BenchmarkStreams is TCP between two stacks in this process, without a node between them.
func BenchmarkStreams(b *testing.B) {
	for _, streams := range []int{1, 4} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) {
			x, y := pair(b, Config{})
			const chunk = 128 << 10
			b.SetBytes(int64(streams * chunk))
			var done sync.WaitGroup
			b.ResetTimer()
			for range streams {
				cx, cy := connected(b, x, y, at(b4, 0))
				done.Go(func() {
					defer cx.Close()
					buf := make([]byte, chunk)
					for range b.N {
						_, _ = cx.Write(buf)
					}
				})
				done.Go(func() {
					defer cy.Close()
					_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, cy, make([]byte, chunk))
				})
			}
			done.Wait()
		})
	}
}

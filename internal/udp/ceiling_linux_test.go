package udp

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tincan/internal/device"
)

// BenchmarkCeiling moves a TCP stream TUN - UDP - link - UDP - TUN between two
// namespaces without cryptography, routing or cutting: what the input and output
// alone allow. No change above this package can make a node faster.
//
// A super-packet travels as: magic 4 | length 4 | offload 12 | packet, in datagrams of 1400 bytes.
func BenchmarkCeiling(b *testing.B) {
	x, y := newLink(b, 1500)
	sx, sy := x.listen("10.8.0.1:0", Options{}), y.listen("10.8.0.2:0", Options{})
	dx, dy := openTUN(x, "10.9.0.1/24"), openTUN(y, "10.9.0.2/24")
	if dx == nil || dy == nil {
		b.FailNow()
	}
	for _, end := range []struct {
		d  device.Device
		s  *socket
		to netip.AddrPort
	}{{dx, sx, sy.Local()}, {dy, sy, sx.Local()}} {
		go ceilingOut(end.d, end.s, end.to)
		go ceilingIn(end.d, end.s)
	}

	var listener net.Listener
	var conn net.Conn
	var err error
	y.do(func() { listener, err = net.Listen("tcp", "10.9.0.2:0") })
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	got := make(chan int64)
	go func() {
		peer, err := listener.Accept()
		if err != nil {
			return
		}
		n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{peer}, make([]byte, 1<<20))
		got <- n
	}()
	x.do(func() { conn, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second) })
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	var sent int64
	for b.Loop() {
		n, err := conn.Write(buf)
		if err != nil {
			b.Fatal(err)
		}
		sent += int64(n)
	}
	conn.Close()
	if n := <-got; n != sent {
		b.Errorf("%d bytes arrived of %d", n, sent)
	}
}

func openTUN(ns *namespace, addr string) (d device.Device) {
	ns.do(func() {
		var err error
		if d, err = device.OpenTUN("t", device.Options{}); err != nil {
			ns.t.Error(err)
			return
		}
		t, err := netlink.LinkByName("t")
		must(ns.t, err)
		a, err := netlink.ParseAddr(addr)
		must(ns.t, err)
		must(ns.t, netlink.AddrAdd(t, a))
		must(ns.t, netlink.LinkSetMTU(t, 1420))
		must(ns.t, netlink.LinkSetUp(t))
	})
	if d != nil {
		ns.t.Cleanup(func() { d.Close() })
	}
	return d
}

const (
	ceilingMagic = 0x74696e63
	ceilingHdr   = 20
)

func ceilingOut(d device.Device, s Socket, to netip.AddrPort) {
	buf := make([]byte, ceilingHdr+device.MaxPacket)
	runs := make([]Run, 0, 2)
	for {
		n, off, err := d.Read(buf[ceilingHdr:])
		if err != nil {
			return
		}
		be := binary.BigEndian
		be.PutUint32(buf, ceilingMagic)
		be.PutUint32(buf[4:], uint32(n))
		buf[8], buf[9] = byte(off.GSO), 0
		if off.NeedsCsum {
			buf[9] = 1
		}
		be.PutUint16(buf[10:], off.HdrLen)
		be.PutUint16(buf[12:], off.GSOSize)
		be.PutUint16(buf[14:], off.CsumStart)
		be.PutUint16(buf[16:], off.CsumOffset)
		runs = runs[:0]
		for b := buf[:ceilingHdr+n]; len(b) > 0; {
			k := min(len(b), MaxSegments*1400)
			runs = append(runs, Run{To: to, Buf: b[:k], Size: 1400})
			b = b[k:]
		}
		s.Send(runs)
	}
}

func ceilingIn(d device.Device, s Socket) {
	buf := make([]byte, 0, device.Headroom+ceilingHdr+2*device.MaxPacket)[:device.Headroom]
	for {
		in, err := s.Recv()
		if err != nil {
			return
		}
		for _, a := range in {
			be := binary.BigEndian
			if be.Uint32(a.Buf) == ceilingMagic || len(buf)+len(a.Buf) > cap(buf) {
				buf = buf[:device.Headroom] // what was there is incomplete for ever
			}
			buf = append(buf, a.Buf...)
			p := buf[device.Headroom:]
			if len(p) < ceilingHdr || len(p) != ceilingHdr+int(be.Uint32(p[4:])) {
				continue
			}
			d.Write(buf, device.Headroom+ceilingHdr, device.Offload{
				GSO: device.GSOType(p[8]), NeedsCsum: p[9] == 1, HdrLen: be.Uint16(p[10:]), GSOSize: be.Uint16(p[12:]),
				CsumStart: be.Uint16(p[14:]), CsumOffset: be.Uint16(p[16:]),
			})
			buf = buf[:device.Headroom]
		}
	}
}

package device

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func TestPipeCarriesPacketsWithTheirOffload(t *testing.T) {
	a, b := Pipe()
	defer a.Close()
	buf := make([]byte, MaxPacket)
	if _, _, err := b.TryRead(buf); err != ErrAgain {
		t.Fatalf("TryRead of an empty pipe: %v", err)
	}
	out := append(make([]byte, 20), "hello"...)
	off := Offload{GSO: GSOUDP, NeedsCsum: true, HdrLen: 28, GSOSize: 1, CsumStart: 20, CsumOffset: 6}
	if err := a.Write(out, 20, off); err != nil {
		t.Fatal(err)
	}
	n, got, err := b.Read(buf)
	if err != nil || string(buf[:n]) != "hello" || got != off {
		t.Errorf("read %q %+v %v", buf[:n], got, err)
	}
}

func TestCloseEndsReadOfMemoryDevices(t *testing.T) {
	a, b := Pipe()
	dummy := NewDummy()
	for _, c := range []struct {
		name        string
		read, close Device
	}{{"dummy", dummy, dummy}, {"pipe", a, b}} {
		done := make(chan error)
		go func() {
			_, _, err := c.read.Read(make([]byte, MaxPacket))
			done <- err
		}()
		c.close.Close()
		select {
		case err := <-done:
			if err != os.ErrClosed {
				t.Errorf("%s: %v", c.name, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: Read still waits", c.name)
		}
	}
}

func TestVnetHeader(t *testing.T) {
	tcp := make([]byte, 3000)
	tcp[20+12] = 8 << 4 // data offset: 32 bytes
	full := Offload{GSO: GSOTCPv4, NeedsCsum: true, HdrLen: 52, GSOSize: 1448, CsumStart: 20, CsumOffset: 16}
	for _, c := range []struct {
		name string
		off  Offload
		pkt  []byte
		want Offload
		bad  bool
	}{
		{name: "an ordinary packet", pkt: tcp[:60]},
		{name: "a checksum to finish", off: Offload{NeedsCsum: true, CsumStart: 20, CsumOffset: 6}, pkt: tcp[:40],
			want: Offload{NeedsCsum: true, CsumStart: 20, CsumOffset: 6}},
		{name: "a super-packet", off: full, pkt: tcp, want: full},
		{name: "a header length that is only a hint",
			off: Offload{GSO: GSOTCPv4, NeedsCsum: true, HdrLen: 3000, GSOSize: 1448, CsumStart: 20, CsumOffset: 16}, pkt: tcp, want: full},
		{name: "a super-packet of one segment", off: full, pkt: tcp[:1500],
			want: Offload{NeedsCsum: true, CsumStart: 20, CsumOffset: 16}},
		{name: "checksum field outside", off: Offload{NeedsCsum: true, CsumStart: 59}, pkt: tcp[:60], bad: true},
		{name: "no segment size", off: Offload{GSO: GSOTCPv4, NeedsCsum: true, CsumStart: 20, CsumOffset: 16}, pkt: tcp, bad: true},
		{name: "TCP header cut off", off: full, pkt: tcp[:39], bad: true},
		{name: "TCP options cut off", off: full, pkt: tcp[:45], bad: true},
		{name: "segmentation without checksum offset", off: Offload{GSO: GSOTCPv4, GSOSize: 100}, pkt: tcp, bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := bytes.Repeat([]byte{0xff}, vnetHdrLen)
			putVnetHdr(h, c.off)
			got, err := parseVnetHdr(h, c.pkt)
			if (err != nil) != c.bad || got != c.want {
				t.Errorf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func FuzzParseVnetHdr(f *testing.F) {
	h := make([]byte, vnetHdrLen)
	putVnetHdr(h, Offload{GSO: GSOTCPv6, NeedsCsum: true, GSOSize: 9, CsumStart: 40, CsumOffset: 16})
	f.Add(h, make([]byte, 100))
	f.Add(make([]byte, vnetHdrLen), []byte{0x45})
	f.Fuzz(func(t *testing.T, h, pkt []byte) {
		if len(h) < vnetHdrLen || len(pkt) > MaxPacket {
			return
		}
		off, err := parseVnetHdr(h, pkt)
		if err != nil {
			return
		}
		if off.NeedsCsum && int(off.CsumStart)+int(off.CsumOffset)+2 > len(pkt) {
			t.Errorf("%+v points beyond %d bytes", off, len(pkt))
		}
		if off.GSO != GSONone && (off.GSOSize == 0 || int(off.HdrLen)+int(off.GSOSize) >= len(pkt)) {
			t.Errorf("%+v is no super-packet of %d bytes", off, len(pkt))
		}
		finishChecksum(pkt, off)
	})
}

func BenchmarkPipe(b *testing.B) {
	x, y := Pipe()
	buf := make([]byte, Headroom+MaxPacket)
	b.ReportAllocs()
	for b.Loop() {
		x.Write(buf[:Headroom+1400], Headroom, Offload{})
		y.Read(buf[Headroom:])
	}
}

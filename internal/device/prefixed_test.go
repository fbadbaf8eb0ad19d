package device

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
)

func TestPacketsWithTheirFamilyBeforeThem(t *testing.T) {
	ours, kernel := net.Pipe()
	d := &prefixed{rw: ours, name: "tun0", inet6: 24}
	for first, family := range map[byte]byte{0x45: 2, 0x60: 24} {
		packet := append([]byte{first}, make([]byte, 39)...)
		go func() {
			if err := d.Write(append(make([]byte, Headroom), packet...), Headroom, Offload{}); err != nil {
				t.Error(err)
			}
		}()
		got := make([]byte, 100)
		n, err := kernel.Read(got)
		if want := append([]byte{0, 0, 0, family}, packet...); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("the kernel got %x, %v, want %x", got[:n], err, want)
		}
		go func() {
			_, _ = kernel.Write([]byte{0, 0, 0}) // no packet
			_, _ = kernel.Write(append([]byte{0, 0, 0, family}, packet...))
		}()
		buf := make([]byte, MaxPacket)
		n, off, err := d.Read(buf)
		if err != nil || off != (Offload{}) || !bytes.Equal(buf[:n], packet) {
			t.Errorf("read %x, %v, %v", buf[:n], off, err)
		}
	}
	if err := d.Write(make([]byte, Headroom), Headroom, Offload{}); err == nil {
		t.Error("a packet of no bytes was written")
	}
	kernel.Close()
	if _, _, err := d.Read(make([]byte, MaxPacket)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v at the end", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

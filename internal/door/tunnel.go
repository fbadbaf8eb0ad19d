//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"errors"
	"os"

	"golang.zx2c4.com/wireguard/tun"

	"tincan/internal/device"
	"tincan/internal/packet"
)

// The side of the packet path (device.Device).

// Name is "": no interface of the kernel belongs to it.
func (d *Door) Name() string { return "" }

// Read waits for a packet of a device.
func (d *Door) Read(buf []byte) (int, device.Offload, error) { return d.from.take(buf, true) }

// TryRead is Read without waiting.
func (d *Door) TryRead(buf []byte) (int, device.Offload, error) { return d.from.take(buf, false) }

// MaxSegments says that super-packets may be as large as packets can be.
func (d *Door) MaxSegments(device.GSOType) int { return device.MaxPacket }

var errFull = errors.New("the queue to the devices is full")

// Write takes the packet buf[start:] for a device. It never waits: if there is no room it returns an error.
func (d *Door) Write(buf []byte, start int, off device.Offload) error {
	if !d.to.put(buf[start:], off, false) {
		return errFull
	}
	return nil
}

// tunnel is the side of WireGuard (tun.Device). One goroutine reads, one for each device writes.
type tunnel struct {
	d      *Door
	events chan tun.Event

	// A super-packet that is being segmented, by the goroutine that reads.
	buf       []byte
	segmenter packet.Segmenter
	more      bool
}

// tunnelMTU is up to which size WireGuard pads packets. Larger ones pass.
const tunnelMTU = 1420

func newTunnel(d *Door) *tunnel {
	return &tunnel{d: d, events: make(chan tun.Event), buf: make([]byte, device.MaxPacket)}
}

func (t *tunnel) File() *os.File           { return nil }
func (t *tunnel) MTU() (int, error)        { return tunnelMTU, nil }
func (t *tunnel) Name() (string, error)    { return "door", nil }
func (t *tunnel) Events() <-chan tun.Event { return t.events }
func (t *tunnel) BatchSize() int           { return t.d.bind.BatchSize() }

func (t *tunnel) Close() error {
	close(t.events)
	return nil
}

// Read puts packets for devices at bufs[i][offset:]. It waits for the first.
func (t *tunnel) Read(bufs [][]byte, sizes []int, offset int) (n int, err error) {
	for n < len(bufs) {
		if t.more {
			from, to, ok := t.segmenter.Next()
			if t.more = ok; !ok {
				continue
			}
			if to-from <= len(bufs[n])-offset {
				sizes[n] = copy(bufs[n][offset:], t.buf[from:to])
				n++
			}
			continue
		}
		size, off, err := t.d.to.take(t.buf, n == 0)
		if err == device.ErrAgain {
			break
		}
		if err != nil {
			return n, err
		}
		p := t.buf[:size]
		switch {
		case off.GSO != device.GSONone:
			transport, proto, hdrLen := off.Headers(p)
			t.more = t.segmenter.Start(p, hdrLen, transport, int(off.GSOSize), proto)
		case off.NeedsCsum && !packet.CompleteSum(p, int(off.CsumStart), int(off.CsumOffset)):
		case size <= len(bufs[n])-offset:
			sizes[n] = copy(bufs[n][offset:], p)
			n++
		}
	}
	return n, nil
}

// Write takes packets of one device from bufs[i][offset:], which WireGuard has opened and whose sources it has checked. It waits
// while the packet path is busy.
func (t *tunnel) Write(bufs [][]byte, offset int) (int, error) {
	if len(bufs) == 0 {
		return 0, nil
	}
	t.d.heard(bufs[0][offset:])
	j := joiners.Get().(*joiner)
	defer joiners.Put(j)
	j.to = t.d.from
	for _, b := range bufs {
		j.add(b[offset:])
	}
	j.flush()
	j.to = nil
	return len(bufs), nil
}

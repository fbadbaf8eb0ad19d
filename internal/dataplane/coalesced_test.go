package dataplane

import (
	"bytes"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/packet"
	"tincan/internal/route"
	"tincan/internal/udp"
)

// gsoSegments is how many packets a written super-packet holds.
func gsoSegments(w written) int {
	if w.off.GSO == device.GSONone {
		return 1
	}
	return (len(w.pkt) - int(w.off.HdrLen) + int(w.off.GSOSize) - 1) / int(w.off.GSOSize)
}

func TestCoalescingKeepsToTheDevicesSegmentLimit(t *testing.T) {
	for _, most := range []int{2, 64, 128} {
		a, b := pair(t)
		b.dev.most = most
		b.rx = newReceiver(b.Plane, 0)
		var want [][]byte
		for range 300 {
			want = append(want, ip{udp: true, payload: 30, frag: 0x4000}.build())
		}
		var runs []udp.Run
		for _, p := range want {
			runs = append(runs, a.out(p, device.Offload{})...)
		}
		b.receive(addrA, runs...)
		got := b.dev.take()
		for _, w := range got {
			if n := gsoSegments(w); n > most {
				t.Errorf("%d segments are joined where %d are taken", n, most)
			}
		}
		if wanted := (len(want) + most - 1) / most; len(got) != wanted {
			t.Errorf("%d writes for %d packets of which %d can be joined, want %d", len(got), len(want), most, wanted)
		}
		same(t, flat(t, got), want)
	}
}

// A super-packet that the device refuses is delivered all the same, packet by packet.
func TestRefusedSuperPacketIsWrittenPacketByPacket(t *testing.T) {
	for _, c := range []struct {
		name string
		ip
		size, packets int
	}{
		{"UDP", ip{udp: true, payload: 172, frag: 0x4000}, 0, 70},
		{"UDP of one byte", ip{udp: true, payload: 1, frag: 0x4000}, 0, 70},
		{"UDP over IPv6", ip{udp: true, v6: true, payload: 172}, 0, 70},
		{"TCP with a short last segment", ip{payload: 14003, frag: 0x4000, opts: timestamps}, 1368, 1},
		{"TCP over IPv6", ip{payload: 14000, v6: true}, 1340, 1},
		{"TCP in segments smaller than their headers", ip{payload: 501, opts: timestamps, frag: 0x4000}, 7, 1},
	} {
		bothKinds(t, c.name, func(t *testing.T, pair pairOf) {
			a, b := pair(t)
			b.dev.refuses = func(device.Offload) bool { return true }
			var want [][]byte
			send := func() (runs []udp.Run) {
				want = want[:0]
				for range c.packets {
					whole, off := c.build(), device.Offload{}
					if c.size > 0 {
						var p []byte
						p, off = super(whole, c.size)
						want = append(want, segmentReference(whole, int(off.HdrLen), int(off.CsumStart), c.size)...)
						whole = p
					} else {
						want = append(want, bytes.Clone(whole))
					}
					runs = append(runs, a.out(whole, off)...)
				}
				return runs
			}
			b.receive(addrA, send()...)
			got := b.dev.take()
			if b.dev.refused == 0 || len(got) != len(want) {
				t.Fatalf("%d super-packets refused, %d of %d packets written", b.dev.refused, len(got), len(want))
			}
			same(t, flat(t, got), want)
			if n := b.SelfCounters(); n.OutPackets != uint64(len(want)) || b.dropped(DeviceFailed) != 0 {
				t.Errorf("counted %d packets of %d, %d failures", n.OutPackets, len(want), b.dropped(DeviceFailed))
			}

			// The next attempt is not immediate, but later.
			refused := b.dev.refused
			b.receive(addrA, send()...)
			if got := b.dev.take(); c.packets == 1 && b.dev.refused != refused {
				t.Errorf("%d more refusals in the same moment", b.dev.refused-refused)
			} else {
				same(t, flat(t, got), want)
			}
			b.time = b.time.Add(time.Hour)
			b.dev.refuses = nil
			b.receive(addrA, send()...)
			if got = b.dev.take(); len(got) >= len(want) {
				t.Error("an hour later nothing is joined")
			}
			same(t, flat(t, got), want)
		})
	}
}

func TestRefusedSuperPacketInAFrameIsWrittenFrameByFrame(t *testing.T) {
	a, b := bridgedPair(t, route.ByMAC)
	b.dev.refuses = func(device.Offload) bool { return true }
	var runs []udp.Run
	var want [][]byte
	for i := range 11 { // the last one is of another flow, and must not overtake the others
		from := macA
		if i == 10 {
			from = macC
		}
		f := etherFrame(macB, from, packet.TypeIPv4, ip{udp: true, payload: 30, frag: 0x4000, id: uint16(i)}.build())
		want = append(want, bytes.Clone(f))
		runs = append(runs, a.out(f, device.Offload{})...)
	}
	b.receive(addrA, runs...)
	if got := b.dev.take(); b.dev.refused != 1 || len(got) != len(want) {
		t.Fatalf("%d refused, %d of %d frames written", b.dev.refused, len(got), len(want))
	} else {
		for i := range got {
			if !bytes.Equal(got[i].pkt, want[i]) {
				t.Errorf("frame %d is\n%x, want\n%x", i, got[i].pkt, want[i])
			}
		}
	}
}

func TestCoalescingBacksOffAfterRefusals(t *testing.T) {
	var a segmentLimits
	const tcp = device.GSOTCPv4
	a[tcp].max, a[device.GSOUDP].max = 1000, 128
	a.refused(device.GSOUDP, 100, time.Hour)
	if n := a.segments(device.GSOUDP, time.Hour); n != 64 {
		t.Errorf("after a refusal of 100 segments of UDP %d are joined, want 64", n)
	}
	now, last := time.Hour, time.Duration(0)
	for range 20 {
		a.refused(tcp, 10, now)
		start := now
		for a.segments(tcp, now) == 0 {
			now += time.Second / 4
		}
		pause := now - start
		if pause < last || pause > maxPause {
			t.Errorf("pause of %v after one of %v", pause, last)
		}
		last = pause
	}
	if last != maxPause {
		t.Errorf("after 20 refusals the pause is %v", last)
	}
	now += 10 * maxPause
	a.refused(tcp, 10, now)
	if n := a.segments(tcp, now+firstPause); n == 0 {
		t.Error("a refusal after a long time without pauses for more than the first one did")
	}
}

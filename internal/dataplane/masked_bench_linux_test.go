package dataplane

import (
	"slices"
	"testing"

	"tincan/internal/device"
)

// BenchmarkMaskedCost compares the processor time from device to device with and without masks, in turn, so that a busy machine is
// busy for both. The figure that counts is the median of the ratios.
func BenchmarkMaskedCost(b *testing.B) {
	for _, c := range []struct {
		name string
		ip
		size, times int
	}{
		{"TCP super-packet of 60 KiB", ip{payload: 60 * 1024, frag: 0x4000, opts: timestamps}, 1373, 20},
		{"UDP of 1300 bytes", ip{payload: 1300, udp: true}, 0, 800},
		{"TCP acknowledgement", ip{opts: timestamps}, 0, 2000},
	} {
		b.Run(c.name, func(b *testing.B) {
			plain, _ := aesBench(b)
			masked, _ := maskedBench(b)
			p, off := c.build(), device.Offload{}
			if c.size > 0 {
				p, off = super(p, c.size)
			}
			cpu := func(t *transmitter) float64 {
				t.now, t.pad = t.p.now(), randomPadding()
				s := spend(b)
				for range c.times {
					copy(t.in[inHead:], p)
					t.packet(len(p), off)
					t.out.flush()
				}
				s.stop()
				return float64(s.used)
			}
			var ratios []float64
			for b.Loop() {
				one := cpu(plain)
				ratios = append(ratios, one/cpu(masked))
			}
			slices.Sort(ratios)
			b.ReportMetric(ratios[len(ratios)/2], "throughput-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

package udp

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkDestinations is what sending one datagram takes, of 64 for ten destinations in turn: each by itself, or those for one
// destination in one run.
func BenchmarkDestinations(b *testing.B) {
	const count, destinations = 64, 10
	for _, size := range []int{100, 548, 1436} {
		for _, together := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d bytes/together %v", size, together), func(b *testing.B) {
				x, y := newLink(b, 1500)
				tx, rx := x.listen("10.8.0.1:0", Options{}), y.listen("10.8.0.2:0", Options{})
				port := rx.Local().Port()
				var runs []Run
				for i := range destinations {
					to := netip.AddrPortFrom(rx.Local().Addr(), port)
					if i > 0 {
						to = y.listen("10.8.0.2:0", Options{}).Local()
					}
					n := (count - i + destinations - 1) / destinations
					if together {
						runs = append(runs, Run{To: to, Buf: pattern(n * size), Size: size})
						continue
					}
					for range n {
						runs = append(runs, Run{To: to, Buf: pattern(size), Size: size})
					}
				}
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				began, n := cpuTime(b), 0
				for b.Loop() {
					if n++; n%count == 0 {
						if err := tx.Send(runs); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(cpuTime(b)-began)/float64(n), "cpu-ns/datagram")
			})
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

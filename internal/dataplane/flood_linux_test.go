package dataplane

import (
	"bytes"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/node"
	"tincan/internal/udp"
)

// The datagrams of all are in one queue of the kernel. So what others lose by a flood is decided by what one datagram of
// it takes, compared with one of theirs. Processor time, the least of many batches in turn: a busy machine does not matter.
func TestDatagramsOfAFloodTakeLessThanThoseThatCount(t *testing.T) {
	const peers, size, rounds, most = 50, 1000, 40, 1.5
	const good, forged, moved, unknown, elsewhere, repeated = 0, 1, 2, 3, 4, 5
	names := []string{good: "a member's", forged: "from a member's address, not sealed by it", moved: "the same, from another address",
		unknown: "random bytes", elsewhere: "for a node that does not exist", repeated: "repeated"}
	for _, masks := range []bool{false, true} {
		c := newCrowd(t, peers)
		if masks {
			c.cfg.Mask = maskOf("a")
		}
		packets := make([][]byte, burstSize)
		for i := range packets {
			packets[i] = ip{src: crowdInside(i%peers, 1), dst: "10.0.0.1", payload: size, udp: true}.build()
		}
		somewhere := netip.MustParseAddrPort("203.0.113.7:4444")
		random := rand.NewChaCha8([32]byte{1})
		batch := func(kind int, last []udp.Arrival) []udp.Arrival {
			if kind == repeated {
				return last
			}
			out := c.arrivals(packets)
			for i := range out {
				d := out[i].Buf
				switch kind {
				case forged, moved:
					d[len(d)-1] ^= 1
				case unknown:
					random.Read(d)
				case elsewhere:
					id := node.Name("nobody").ID()
					copy(d, id[:])
				}
				if kind != good && kind != forged {
					out[i].From = somewhere
				}
				if masks && kind != unknown {
					hideRun(c.cfg.Mask, udp.Run{Buf: d, Size: len(d)}, &c.rx.unmasker.block)
				}
			}
			return out
		}
		runtime.LockOSThread()
		least := make([]time.Duration, len(names))
		for i := range least {
			least[i] = math.MaxInt64
		}
		for range rounds {
			var sent []udp.Arrival
			for kind := range names {
				now := batch(kind, sent)
				if kind == good {
					for _, a := range now {
						a.Buf = bytes.Clone(a.Buf)
						sent = append(sent, a)
					}
				}
				began := threadTime(t)
				c.rx.batch(now)
				least[kind] = min(least[kind], threadTime(t)-began)
			}
		}
		runtime.UnlockOSThread()
		if got, want := int(c.SelfCounters().OutPackets), rounds*burstSize; got != want {
			t.Errorf("masks %v: %d packets of %d came through", masks, got, want)
		}
		for kind, took := range least {
			ratio := float64(took) / float64(least[good])
			t.Logf("masks %v: %s: %v, ratio %.2f", masks, names[kind], took/burstSize, ratio)
			if ratio > most {
				t.Errorf("masks %v: a datagram that is %s takes %.1f times as long as one that counts", masks, names[kind], ratio)
			}
		}
	}
}

// threadTime is the processor time of this thread.
func threadTime(t testing.TB) time.Duration {
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		t.Fatal(err)
	}
	return time.Duration(at.Nano())
}

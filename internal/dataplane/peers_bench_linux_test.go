package dataplane

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// crowd is a node with many peers, each with a session, an address and a subnet of its own.
type crowd struct {
	*station
	far []*sptps.Tunnel // the other ends of the sessions
}

func crowdName(i int) node.Name { return node.Name(fmt.Sprintf("n%d", i)) }
func crowdAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 655)
}
func crowdInside(i int, host int) string { return fmt.Sprintf("10.1.%d.%d", i, host) }

func newCrowd(t testing.TB, peers int) *crowd {
	c := &crowd{station: newStation("a", addrA)}
	var states []mesh.PeerState
	routes := mesh.Routes{Subnets: owned("a", "10.0.0.0/16")}
	for i := range peers {
		near, far := tunnels(t, "a", crowdName(i))
		c.far = append(c.far, far)
		states = append(states, directPeer(crowdName(i), crowdAddr(i), near))
		routes.Subnets = append(routes.Subnets, owned(crowdName(i), crowdInside(i, 0)+"/24")...)
	}
	c.cfg.Sockets[0], c.cfg.Event = &counting{}, func(mesh.Event) bool { return true }
	c.cfg.Device = &discardDevice{}
	c.PublishPeers(states)
	c.PublishRoutes(routes)
	c.rx = newReceiver(c.Plane, 0)
	return c
}

// counting is a socket that counts runs and datagrams.
type counting struct {
	recordingSocket
	runs, datagrams int
}

func (s *counting) Send(runs []udp.Run) error {
	s.runs += len(runs)
	for _, r := range runs {
		s.datagrams += (len(r.Buf) + r.Size - 1) / r.Size
	}
	return nil
}

// spent is the processor time of this goroutine, which a busy machine does not make longer as it does the time by the clock.
type spent struct {
	b           *testing.B
	began, used time.Duration
}

func spend(b *testing.B) *spent {
	runtime.LockOSThread()
	s := &spent{b: b}
	s.start()
	return s
}

func (s *spent) now() time.Duration { return threadTime(s.b) }

func (s *spent) start() { s.began = s.now() }
func (s *spent) stop()  { s.used += s.now() - s.began }

// report says what one of n packets took.
func (s *spent) report(n int) {
	s.stop()
	runtime.UnlockOSThread()
	s.b.ReportMetric(float64(s.used)/float64(n), "cpu-ns/packet")
}

// burstSize is how many packets are read from the device, or received, at once.
const burstSize = 64

// arrivals are datagrams that the peers have sealed, one of each in turn.
func (c *crowd) arrivals(packets [][]byte) []udp.Arrival {
	batch := make([]udp.Arrival, 0, len(packets))
	for i, p := range packets {
		from := i % len(c.far)
		d := make([]byte, idsLen, idsLen+len(p)+64)
		id := crowdName(from).ID()
		copy(d[6:], id[:])
		d = c.far[from].Seal(d, append([]byte{wire.TypeIP}, p...))
		batch = append(batch, udp.Arrival{From: crowdAddr(from), Buf: d, Size: len(d)})
	}
	return batch
}

// BenchmarkManyPeers is the cost of one packet of a small or a large size, with one peer and with many of which each has the next
// packet: the worst order for whatever is done once for packets that follow each other.
func BenchmarkManyPeers(b *testing.B) {
	for _, peers := range []int{1, 10, 100} {
		for _, size := range []int{64, 512, 1400} {
			payload := size - 28
			b.Run(fmt.Sprintf("out/%d peers/%d bytes", peers, size), func(b *testing.B) {
				c := newCrowd(b, peers)
				packets := make([][]byte, peers)
				for i := range packets {
					packets[i] = ip{dst: crowdInside(i, 1), payload: payload, udp: true}.build()
				}
				c.tx.now = c.Plane.now()
				b.ReportAllocs()
				n, cpu := 0, spend(b)
				for b.Loop() {
					p := packets[n%peers]
					copy(c.tx.in[inHead:], p)
					c.tx.packet(len(p), device.Offload{})
					if n++; n%burstSize == 0 {
						c.tx.out.flush()
					}
				}
				c.tx.out.flush()
				cpu.report(n)
				s := c.cfg.Sockets[0].(*counting)
				if s.datagrams != n || len(c.Drops()) > 0 {
					b.Fatalf("%d datagrams of %d; drops %v", s.datagrams, n, c.Drops())
				}
				b.ReportMetric(float64(s.datagrams)/float64(s.runs), "datagrams/run")
			})
			b.Run(fmt.Sprintf("in/%d peers/%d bytes", peers, size), func(b *testing.B) {
				c := newCrowd(b, peers)
				packets := make([][]byte, 64*burstSize)
				for i := range packets {
					packets[i] = ip{src: crowdInside(i%peers, 1), dst: "10.0.0.1", payload: payload, udp: true}.build()
				}
				b.ReportAllocs()
				var batch []udp.Arrival
				n, cpu := 0, spend(b)
				for b.Loop() {
					if len(batch) == 0 {
						cpu.stop() // no datagram is accepted twice
						b.StopTimer()
						batch = c.arrivals(packets)
						b.StartTimer()
						cpu.start()
					}
					if n++; n%burstSize == 0 {
						c.rx.batch(batch[:burstSize])
						batch = batch[burstSize:]
					}
				}
				cpu.report(n)
				if got := int(c.SelfCounters().OutPackets); got > n || got < n-burstSize || len(c.Drops()) > 0 {
					b.Fatalf("%d packets of %d; drops %v", got, n, c.Drops())
				}
			})
		}
	}
}

// BenchmarkManyRelayed is the cost of one datagram that is only passed on, from each of many peers to the next.
func BenchmarkManyRelayed(b *testing.B) {
	for _, peers := range []int{2, 10, 100} {
		for _, size := range []int{64, 512, 1400} {
			b.Run(fmt.Sprintf("%d peers/%d bytes", peers, size), func(b *testing.B) {
				c := newCrowd(b, peers)
				var batch []udp.Arrival
				for i := range burstSize {
					from, to := crowdName(i%peers).ID(), crowdName((i+1)%peers).ID()
					d := make([]byte, size+33)
					copy(d, to[:])
					copy(d[6:], from[:])
					batch = append(batch, udp.Arrival{From: crowdAddr(i % peers), Buf: d, Size: len(d)})
				}
				b.ReportAllocs()
				n, cpu := 0, spend(b)
				for b.Loop() {
					if n++; n%burstSize == 0 {
						c.rx.batch(batch)
					}
				}
				cpu.report(n)
				if s := c.cfg.Sockets[0].(*counting); s.datagrams != n/burstSize*burstSize || len(c.Drops()) > 0 {
					b.Fatalf("%d datagrams of %d; drops %v", s.datagrams, n, c.Drops())
				}
			})
		}
	}
}

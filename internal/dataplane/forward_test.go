package dataplane

import (
	"fmt"
	"testing"

	"tincan/internal/device"
	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/wire"
)

// What the data plane really does with a packet is what the forwarding rule says, for every
// combination of what may be known of the destination c and of the relay b.
func TestPacketsLeaveByTheForwardingRule(t *testing.T) {
	sizes := []int{64, 1000, 1300, 1386, 1387, 1400}
	mtus := []int{0, 1000, 1400}
	if testing.Short() {
		mtus = []int{0, 1000}
	}
	for _, noUDP := range []bool{false, true} {
		for _, adjacent := range []bool{false, true} {
			for _, chosen := range []bool{false, true} {
				for mask := range 16 {
					for _, mtuB := range mtus {
						for _, mtuC := range mtus {
							a, _, _ := row(t, nil)
							a.SetOptions(Options{TCPOnly: noUDP})
							a.republish("b", func(p *mesh.PeerState) { describe(p, mask&1 != 0, mask&2 != 0, mtuB) })
							a.republish("c", func(p *mesh.PeerState) {
								describe(p, mask&4 != 0, mask&8 != 0, mtuC)
								if p.Addr = addrC; adjacent {
									p.Adjacent, p.NextHop, p.Conn = true, "c", 2
								}
								if chosen {
									p.Relay = "b"
								}
							})
							for _, size := range sizes {
								name := fmt.Sprintf("UDP off %v, adjacent %v, relay chosen %v, mask %04b, MinMTU %d and %d, %d bytes",
									noUDP, adjacent, chosen, mask, mtuB, mtuC, size)
								want := expected(a, size, noUDP)
								got := a.paths(a.out(ip{dst: "10.2.0.1", payload: size - 40}.build(), device.Offload{}))
								if got != want {
									t.Fatalf("%s: %q, want %q", name, got, want)
								}
							}
						}
					}
				}
			}
		}
	}
}

func describe(p *mesh.PeerState, tcpOnly, old bool, minMTU int) {
	p.Confirmed, p.MinMTU, p.MTU = minMTU > 0, minMTU, 1518
	o := wire.Options(0).WithMinor(7)
	if old {
		o = wire.Options(0).WithMinor(3)
	}
	if tcpOnly {
		o |= wire.TCPOnly
	}
	p.Options = uint32(o)
}

// expected is what the rule says of an IP packet for c, in the words of [station.paths].
func expected(a *station, size int, noUDP bool) string {
	of := func(pr *peer) *forward.Peer {
		if pr == nil {
			return nil
		}
		f := pr.state.Load().Forward()
		return &f
	}
	c, s := a.known("c")
	if forward.Frame(size+ethernetLen, noUDP, of(c), of(s.relay)) == forward.StepPacket {
		return fmt.Sprint("packet ", s.Conn)
	}
	switch forward.Record(size, true, noUDP, of(s.relay), of(s.via), of(s.next)) {
	case forward.HopRelay:
		return "udp 192.0.2.2 ids"
	case forward.HopVia:
		return "udp 192.0.2.3 direct"
	case forward.HopNext:
		if s.next == c {
			return "udp 192.0.2.3 direct"
		}
		return "udp 192.0.2.2 ids"
	}
	hop := s
	if s.next != c {
		hop = s.next.state.Load()
	}
	if hop.minor() >= minorSPTPSP {
		return fmt.Sprint("sptps ", s.Conn)
	}
	return fmt.Sprintf("%d a c %d", wire.KindReqKey, wire.KindSPTPSPacket)
}

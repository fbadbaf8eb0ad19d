package dataplane

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/udp"
)

// whatArrives lists what arrives at each destination, in order, with its TOS and TTL.
func whatArrives(runs []udp.Run) map[netip.AddrPort][]string {
	got := map[netip.AddrPort][]string{}
	for _, r := range runs {
		for b := r.Buf; len(b) > 0; b = b[min(r.Size, len(b)):] {
			got[r.To] = append(got[r.To], string([]byte{r.TOS, r.TTL})+string(b[:min(r.Size, len(b))]))
		}
	}
	return got
}

func somewhere(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), uint16(655+i%2))
}

func TestGatheredRunsCarryTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var g gatherer
	fewer := 0
	for range 200 {
		var runs []udp.Run
		sizes := []int{1 + random.IntN(60), 100, 1 + random.IntN(1500)}
		for range random.IntN(120) {
			size, count := sizes[random.IntN(3)], 1
			if random.IntN(3) == 0 {
				count = 1 + random.IntN(udp.MaxSegments)
			}
			buf := make([]byte, min(size*count-random.IntN(2)*random.IntN(size), udp.MaxRun))
			for i := range min(len(buf), 8) {
				buf[i] = byte(random.Uint32())
			}
			r := udp.Run{To: somewhere(random.IntN(6)), Buf: buf, Size: size}
			switch random.IntN(20) {
			case 0:
				r.TOS = 8
			case 1:
				r.TTL = 3
			case 2:
				r.Size = size + len(buf) // one datagram
			}
			runs = append(runs, r)
		}
		got := g.gather(runs)
		if a, b := whatArrives(got), whatArrives(runs); !maps.EqualFunc(a, b, slices.Equal) {
			t.Fatalf("sent\n%.500x\nin place of\n%.500x", a, b)
		}
		for _, r := range got {
			if len(r.Buf) > udp.MaxRun || r.Size <= 0 || len(r.Buf) > r.Size*udp.MaxSegments {
				t.Fatalf("a run of %d bytes, datagrams of %d", len(r.Buf), r.Size)
			}
		}
		fewer += len(runs) - len(got)
	}
	if fewer == 0 {
		t.Error("nothing was gathered")
	}
}

// Small packets for three peers in turn leave in three runs, from the device and as a relay, without allocation.
func TestPacketsForSeveralPeersLeaveInRuns(t *testing.T) {
	s := newStation("a", addrA)
	names := []node.Name{"b", "c", "d"}
	var states []mesh.PeerState
	routes := mesh.Routes{Subnets: owned("a", "10.0.0.0/16")}
	ends := make([]*station, len(names))
	for i, name := range names {
		near, far := tunnels(t, "a", name)
		states = append(states, directPeer(name, somewhere(10+i), near))
		routes.Subnets = append(routes.Subnets, owned(name, fmt.Sprintf("10.%d.0.0/16", i+1))...)
		ends[i] = newStation(name, somewhere(10+i))
		ends[i].PublishPeers([]mesh.PeerState{directPeer("a", addrA, far)})
	}
	s.PublishPeers(states)
	s.PublishRoutes(routes)
	const each = 20
	packets := make([][]byte, len(names))
	for i := range packets {
		ends[i].PublishRoutes(routes)
		packets[i] = ip{dst: fmt.Sprintf("10.%d.0.1", i+1), payload: 100, udp: true}.build()
	}
	send := func() {
		s.tx.now = s.now()
		for i := range each * len(names) {
			p := packets[i%len(names)]
			copy(s.tx.in[inHead:], p)
			s.tx.packet(len(p), device.Offload{})
		}
		s.tx.out.flush()
	}
	send()
	runs := s.sock.take()
	if len(runs) != len(names) {
		t.Fatalf("%d runs", len(runs))
	}
	for i, r := range runs {
		ends[i].receive(addrA, udp.Run{Buf: bytes.Clone(r.Buf), Size: r.Size})
		if got := ends[i].SelfCounters().OutPackets; got != each || len(ends[i].Drops()) > 0 {
			t.Errorf("%s got %d packets, drops %v", names[i], got, ends[i].Drops())
		}
	}

	// As a relay: from b to c and from d to b in turn.
	var batch []udp.Arrival
	for i := range 2 * each {
		from, to := 2*(i%2), 1-i%2
		d := make([]byte, 150)
		fromID, toID := names[from].ID(), names[to].ID()
		copy(d, toID[:])
		copy(d[6:], fromID[:])
		batch = append(batch, udp.Arrival{From: somewhere(10 + from), Buf: d, Size: len(d)})
	}
	s.rx.batch(batch)
	if runs := s.sock.take(); len(runs) != 2 || len(s.Drops()) > 0 {
		t.Errorf("as a relay %d runs, drops %v", len(runs), s.Drops())
	}

	s.cfg.Sockets[0], s.cfg.Event = &discard{}, func(mesh.Event) bool { return true }
	if n := testing.AllocsPerRun(20, func() { send(); s.rx.batch(batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

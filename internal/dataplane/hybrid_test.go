package dataplane

import (
	"crypto/rand"
	"reflect"
	"testing"

	"tincan/internal/device"
	"tincan/internal/hybrid"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// While packets wait for the keys of the second exchange, records of our own protocols use those that there are.
func TestHeldPacketsWaitForOtherKeys(t *testing.T) {
	second := &sptps.Hybrid{PostQuantum: true, Costs: []hybrid.Cost{{Cipher: hybrid.Stock}}}
	da, db := sessions(t, "a", "b", rand.Reader, second)
	a, b := pairWith(da.Tunnel(), db.Tunnel())
	for s, peer := range map[*station]node.Name{a: "b", b: "a"} {
		s.republish(peer, func(s *mesh.PeerState) { s.Hold, s.Adjacent = true, false })
	}
	a.takeEvents()
	for n := range 3 {
		if runs := a.out(ip{payload: n + 1}.build(), device.Offload{}); runs != nil {
			t.Fatal("a packet was sent with the keys of SPTPS")
		}
	}
	a.SendProbe(mesh.SendProbe{Node: "b", Addr: addrB, Data: []byte{0, 1, 2}})
	a.SendRecord(mesh.SendRecord{Node: "b", Type: wire.TypeRoster, Data: []byte("roster")})
	b.takeEvents()
	b.receive(addrA, a.sock.take()...)
	if got := b.takeEvents(); len(got) != 2 || !reflect.DeepEqual(got[1], mesh.RosterIn{Node: "a", Data: []byte("roster")}) {
		t.Errorf("probe and record while packets wait: %v", got)
	}

	agree(t, da, db)
	ta, _, _ := da.Data()
	tb, _, _ := db.Data()
	late := da.Tunnel().Seal(wire.AppendIDs(nil, node.ID{}, a.selfID), append([]byte{wire.TypeIP}, ip{payload: 9}.build()...))
	b.republish("a", func(s *mesh.PeerState) { s.Hold, s.Tunnel = false, tb })
	a.republish("b", func(s *mesh.PeerState) { s.Hold, s.Tunnel = false, ta })
	b.receive(addrA, append(a.sock.take(), a.out(ip{payload: 4}.build(), device.Offload{})...)...)
	if got := payloads(t, b.dev.take()); !reflect.DeepEqual(got, []int{1, 2, 3, 4}) {
		t.Errorf("packets of %v bytes arrived, want 1 to 4", got)
	}
	b.receive(addrA, udp.Run{To: addrB, Buf: late, Size: len(late)})
	if got := payloads(t, b.dev.take()); !reflect.DeepEqual(got, []int{9}) {
		t.Errorf("a packet of the tunnel before: %v", got)
	}
}

// Where post-quantum keys are required, packets pass neither unsealed over a meta connection nor as in tinc 1.0, nor with
// the keys of SPTPS.
func TestPacketsWithoutTheRequiredKeysAreRefused(t *testing.T) {
	frame := append(make([]byte, ethernetLen), ip{src: "10.0.0.1", dst: "10.1.0.1", payload: 10}.build()...)
	frame[12] = 8

	a, b := pair(t)
	b.FrameFromMeta("a", frame)
	if got := b.dev.take(); len(got) != 1 {
		t.Fatalf("the frame of this test is not good: %d packets", len(got))
	}
	b.republish("a", func(s *mesh.PeerState) { s.Hold, s.SealedOnly = true, true })
	b.FrameFromMeta("a", frame)
	_, st := b.known("a")
	st.Tunnel.Restrict(wire.TypeProbe)
	b.receive(addrA, a.out(ip{payload: 10}.build(), device.Offload{})...)
	if got := b.dev.take(); len(got) != 0 || b.dropped(WeakKeys) != 1 || b.dropped(Undecodable) != 1 {
		t.Errorf("%d packets arrived, %d and %d were refused", len(got), b.dropped(WeakKeys), b.dropped(Undecodable))
	}
	a.republish("b", func(s *mesh.PeerState) { s.Hold, s.SealedOnly = true, true })
	if runs := a.out(ip{payload: 10}.build(), device.Offload{}); runs != nil || len(a.metas[1].frames) > 0 {
		t.Errorf("%d datagrams and %d frames were sent", len(runs), len(a.metas[1].frames))
	}

	a, b = legacyPair(t)
	b.republish("a", func(s *mesh.PeerState) { s.SealedOnly, s.PassOnly = true, true })
	b.receive(addrA, a.out(ip{payload: 10}.build(), device.Offload{})...)
	if got := b.dev.take(); len(got) != 0 || b.dropped(WeakKeys) != 1 {
		t.Errorf("as in tinc 1.0: %d packets arrived, %d were refused", len(got), b.dropped(WeakKeys))
	}
}

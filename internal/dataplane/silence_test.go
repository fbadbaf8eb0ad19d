package dataplane

import (
	"reflect"
	"testing"
	"time"

	"tincan/internal/device"
	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/sptps"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// silenceReports returns the reports about silence among evs.
func silenceReports(evs []mesh.Event) (out []mesh.Event) {
	for _, e := range evs {
		switch e.(type) {
		case mesh.Silent, mesh.Heard, mesh.Large:
			out = append(out, e)
		}
	}
	return out
}

// probeFrom is a datagram with a probe of kind from s to the node called to.
func (s *station) probeFrom(to *station, kind byte) udp.Run {
	data := wire.AppendProbeRequest(nil, wire.MinProbe, []byte{1})
	data[0] = kind
	s.SendProbe(mesh.SendProbe{Node: to.cfg.Self, Addr: to.sock.local, Sock: -1, Data: data})
	runs := s.sock.take()
	return runs[len(runs)-1]
}

func TestSilenceIsReportedWhenNobodyAnswers(t *testing.T) {
	a, b := pair(t)
	look := func(after time.Duration) []mesh.Event {
		a.takeEvents()
		again := a.checkOnce(a.now() + after)
		if silent := a.dir.Load().byName["b"].silence.since.Load() != 0; silent != again && after < forward.LargeEvery {
			t.Errorf("after %s: looking again: %t, though silent: %t", after, again, silent)
		}
		return silenceReports(a.takeEvents())
	}
	if got := look(time.Second); got != nil {
		t.Errorf("without traffic: %v", got)
	}
	small := ip{payload: 100}.build()
	sent := a.out(small, device.Offload{})
	if got := look(90 * time.Millisecond); got != nil {
		t.Errorf("after 90 ms: %v", got)
	}
	got := look(110 * time.Millisecond)
	if len(got) != 1 || got[0].(mesh.Silent).Node != "b" || got[0].(mesh.Silent).For < 100*time.Millisecond {
		t.Errorf("after 110 ms: %v", got)
	}

	// A probe request does not show that b receives our datagrams.
	a.receive(addrB, b.probeFrom(a, wire.ProbeRequest))
	if got := look(230 * time.Millisecond); len(got) != 1 {
		t.Errorf("after a question of b: %v", got)
	}
	// Its reply does, and so do data.
	a.takeEvents()
	a.receive(addrB, b.probeFrom(a, wire.ProbeReplySize))
	if got := silenceReports(a.takeEvents()); !reflect.DeepEqual(got, []mesh.Event{mesh.Heard{Node: "b"}}) {
		t.Errorf("after an answer: %v", got)
	}
	if got := look(time.Second); got != nil {
		t.Errorf("a second later: %v", got)
	}
	b.receive(addrA, sent...)
	a.out(small, device.Offload{})
	a.receive(addrB, b.out(ip{src: "10.1.0.1", dst: "10.0.0.1", payload: 10}.build(), device.Offload{})...)
	if got := look(time.Second); got != nil {
		t.Errorf("when data have come back: %v", got)
	}

	// A change of the path resets the state.
	a.out(small, device.Offload{})
	a.republish("b", func(s *mesh.PeerState) { s.Confirmed, s.MinMTU = false, 0 })
	if got := look(time.Second); got != nil {
		t.Errorf("after a change of the path: %v", got)
	}
}

// A filter may let pass only datagrams that are hidden, or only others: those of the form that we do not send do not end a silence
// that was reported, but nobody is silent who sends some.
func TestSilenceOfOneForm(t *testing.T) {
	a, b := maskedPair(t)
	send := func(hidden bool) []mesh.Event {
		b.republish("a", func(s *mesh.PeerState) {
			if s.Mask = nil; hidden {
				s.Mask = maskOf("a")
			}
		})
		a.receive(addrB, b.out(ip{src: "10.1.0.1", dst: "10.0.0.1", payload: 10}.build(), device.Offload{})...)
		return silenceReports(a.takeEvents())
	}
	packet := func() { a.out(ip{payload: 100}.build(), device.Offload{}) }
	silent := func() bool {
		a.checkOnce(a.now() + 110*time.Millisecond)
		return len(silenceReports(a.takeEvents())) > 0
	}
	packet()
	if send(false); silent() {
		t.Error("silent, though data come")
	}
	packet()
	if !silent() {
		t.Fatal("the silence is not reported")
	}
	if got := send(false); got != nil {
		t.Errorf("after data that are not hidden: %v", got)
	}
	if got := send(true); !reflect.DeepEqual(got, []mesh.Event{mesh.Heard{Node: "b"}}) {
		t.Errorf("after data that are: %v", got)
	}

	// Another form is another path.
	packet()
	a.republish("b", func(s *mesh.PeerState) { s.Mask = nil })
	if silent() {
		t.Error("silent after a change of the form")
	}
}

func TestLargeFramesAreReported(t *testing.T) {
	a, _ := pair(t)
	a.out(ip{payload: 100}.build(), device.Offload{})
	a.checkOnce(a.now())
	a.takeEvents()
	a.out(ip{payload: 1200}.build(), device.Offload{})
	a.checkOnce(a.now())
	got := silenceReports(a.takeEvents())
	if len(got) != 1 || got[0].(mesh.Large).Node != "b" || got[0].(mesh.Large).Size < 1200 {
		t.Errorf("reports %v", got)
	}
}

func TestSilenceChecksEnd(t *testing.T) {
	a, _ := pair(t)
	a.out(ip{payload: 100}.build(), device.Offload{})
	if !a.checkSilence(a.now()+time.Second) || !a.watching.Load() {
		t.Error("stops looking while b is silent")
	}
	for range 2 {
		a.checkOnce(a.now() + forward.ForgetSilent + time.Second)
	}
	if a.checkSilence(a.now()+forward.ForgetSilent+2*time.Second) || a.watching.Load() {
		t.Error("still looking when b has been silent for long")
	}
}

// The last message of a handshake takes the path through the protocol core, the packet after it does not.
func TestRecordsThatComeBeforeTheirKeysWait(t *testing.T) {
	a, b := pair(t)
	a.republish("b", func(s *mesh.PeerState) { s.Adjacent, s.MinMTU, s.Confirmed = false, 0, false })
	var tun *sptps.Tunnel
	b.republish("a", func(s *mesh.PeerState) { tun, s.Tunnel = s.Tunnel, nil })
	p := ip{payload: 100}.build()
	for range maxEarlyPerPeer + 2 {
		a.out(p, device.Offload{})
	}
	for _, blob := range a.metas[1].blobs {
		b.FromMeta("a", blob)
	}
	if n := len(b.dev.take()); n != 0 {
		t.Fatalf("%d packets without keys", n)
	}
	if n := b.dropped(NoSession); n != 2 {
		t.Errorf("%d records given up, want those above %d", n, maxEarlyPerPeer)
	}
	b.republish("a", func(s *mesh.PeerState) { s.Tunnel = tun })
	if got := flat(t, b.dev.take()); len(got) != maxEarlyPerPeer {
		t.Errorf("%d packets when the keys have come", len(got))
	}
	if len(b.work.early.waiting) != 0 {
		t.Errorf("%d still wait", len(b.work.early.waiting))
	}
}

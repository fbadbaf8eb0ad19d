package forward

import (
	"testing"
	"time"
)

// good is a node that is reached directly by UDP, by frames of up to 1400 bytes.
func good(change ...func(*Peer)) *Peer {
	p := &Peer{Reachable: true, Session: true, Confirmed: true, Minor: 7, MinMTU: 1400}
	for _, c := range change {
		c(p)
	}
	return p
}

func tcpOnly(p *Peer)  { p.TCPOnly = true }
func old(p *Peer)      { p.Minor = 3 }
func unproven(p *Peer) { p.Confirmed, p.MinMTU = false, 0 }
func narrow(p *Peer)   { p.MinMTU = 1000 }
func gone(p *Peer)     { *p = Peer{} }
func adjacent(p *Peer) { p.Adjacent = true }
func keyless(p *Peer)  { p.Session = false }

func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name             string
		size             int
		passed, noUDP    bool // passed on for another node; UDP is off here
		relay, via, next *Peer
		want             Hop
	}{
		{name: "direct", size: 1400, via: good(), next: good(), want: HopVia},
		{name: "a byte too large", size: 1401, via: good(), next: good(), want: HopMeta},
		{name: "too large for via, not for the next hop", size: 1200, via: good(narrow), next: good(), want: HopNext},
		{name: "too large for both", size: 1401, via: good(narrow), next: good(), want: HopMeta},
		{name: "the next hop is not known", size: 100, via: good(), want: HopVia},
		{name: "nothing is known", size: 100, want: HopMeta},
		{name: "UDP is off here", size: 100, noUDP: true, relay: good(), via: good(), next: good(), want: HopMeta},
		{name: "the node on the way wants no UDP", size: 100, via: good(tcpOnly), next: good(tcpOnly), want: HopMeta},
		{name: "the node on the way cannot read ids", size: 100, via: good(old), next: good(old), want: HopMeta},
		{name: "no address has answered", size: 100, via: good(unproven), next: good(unproven), want: HopMeta},
		{name: "empty records need a confirmed address, too", size: 0, via: good(unproven), want: HopMeta},
		{name: "via wants no UDP, the next hop takes it", size: 100, via: good(tcpOnly), next: good(), want: HopNext},
		{name: "a relay was chosen", size: 1400, relay: good(), via: good(), next: good(), want: HopRelay},
		{name: "too large for the relay", size: 1200, relay: good(narrow), via: good(), next: good(), want: HopVia},
		{name: "the relay is gone", size: 100, relay: good(gone), via: good(), next: good(), want: HopVia},
		{name: "what others sent takes no chosen relay", size: 100, passed: true, relay: good(), via: good(), next: good(), want: HopVia},
	} {
		if got := Record(c.size, !c.passed, c.noUDP, c.relay, c.via, c.next); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestFrame(t *testing.T) {
	for _, c := range []struct {
		name      string
		size      int
		noUDP     bool
		to, relay *Peer
		want      Step
	}{
		{name: "not known", size: 100, want: StepDrop},
		{name: "not reachable", size: 100, to: good(gone), want: StepDrop},
		{name: "a session", size: 100, to: good(), want: StepRecord},
		{name: "no session", size: 100, to: good(keyless), want: StepWait},
		{name: "a neighbour", size: 1400, to: good(adjacent), want: StepRecord},
		{name: "a neighbour, too large", size: 1401, to: good(adjacent), want: StepPacket},
		{name: "a neighbour without session", size: 100, to: good(adjacent, keyless), want: StepPacket},
		{name: "a neighbour and a relay that takes it", size: 1200, to: good(adjacent, narrow), relay: good(), want: StepRecord},
		{name: "a neighbour and a relay that does not", size: 1401, to: good(adjacent, narrow), relay: good(), want: StepPacket},
		{name: "a neighbour and a relay, UDP is off here", size: 1200, noUDP: true, to: good(adjacent, narrow), relay: good(), want: StepPacket},
		{name: "far away and too large", size: 9000, to: good(), want: StepRecord},
	} {
		if got := Frame(c.size, c.noUDP, c.to, c.relay); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestLegacy(t *testing.T) {
	far := LegacyPeer{Legacy: true, CanSend: true, MinMTU: 1400}
	near := far
	near.Direct = true
	for _, c := range []struct {
		name  string
		size  int
		noUDP bool
		p     func() LegacyPeer
		want  LegacyStep
	}{
		{"fits", 1400, false, func() LegacyPeer { return far }, LegacyDatagram},
		{"too large, somebody is on the way", 1401, false, func() LegacyPeer { return far }, LegacyNext},
		{"too large, nobody is on the way", 1401, false, func() LegacyPeer { return near }, LegacyPacket},
		{"it came by TCP", 100, true, func() LegacyPeer { return far }, LegacyPacket},
		{"TCPOnly there", 100, false, func() LegacyPeer { p := far; p.TCPOnly = true; return p }, LegacyPacket},
		{"no key of it", 100, false, func() LegacyPeer { p := far; p.CanSend = false; return p }, LegacyPacket},
		{"it speaks SPTPS", 100, false, func() LegacyPeer { p := far; p.Legacy = false; return p }, LegacySession},
		{"it speaks SPTPS, by TCP", 100, true, func() LegacyPeer { p := far; p.Legacy = false; return p }, LegacyPacket},
	} {
		if got := Legacy(c.size, c.noUDP, c.p()); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestJudgeSilence(t *testing.T) {
	for d, want := range map[time.Duration]Silence{
		0: SilenceShort, SilentAfter - 1: SilenceShort, SilentAfter: SilenceReport,
		ForgetSilent: SilenceReport, ForgetSilent + 1: SilenceOver,
	} {
		if got := JudgeSilence(d); got != want {
			t.Errorf("after %s: %d, want %d", d, got, want)
		}
	}
}

// The rule runs for each batch of packets.
func BenchmarkRecord(b *testing.B) {
	b.ReportAllocs()
	via, next := good(), good()
	for b.Loop() {
		if Record(1400, true, false, nil, via, next) != HopVia {
			b.Fatal("not direct")
		}
	}
}

package sim

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/b64"
	"tincan/internal/hybrid"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// tincans is two nodes, n00 and n02, whose key exchange n01 passes on.
func tincans(t *testing.T, seed uint64, configure func(a, b *mesh.Config)) (w *World, a, b *Host) {
	t.Helper()
	w = New(seed)
	hs := []*Host{w.Add("n00"), w.Add("n01"), w.Add("n02")}
	for _, h := range hs {
		for _, o := range hs {
			h.Knows(o, o != h)
		}
	}
	var ca, cb mesh.Config
	configure(&ca, &cb)
	set := func(h *Host, from *mesh.Config) {
		h.Configure = func(c *mesh.Config) {
			c.PostQuantum, c.KeyExpire = from.PostQuantum, from.KeyExpire
			for n, f := range from.Hosts {
				f.Key = c.Hosts[n].Key
				c.Hosts[n] = f
			}
		}
	}
	set(hs[0], &ca)
	set(hs[2], &cb)
	w.UDP = func(_, _ *Host) bool { return false }
	hs[1].Start()
	hs[0].Start("n01")
	hs[2].Start("n01")
	w.Until(10*time.Second, func() bool { return hs[0].peers["n02"].Reachable && hs[2].peers["n00"].Reachable })
	return w, hs[0], hs[2]
}

func both(mode hybrid.Mode) func(a, b *mesh.Config) {
	return func(a, b *mesh.Config) { a.PostQuantum, b.PostQuantum = mode, mode }
}

// recordOf is the number of the record of a handshake that text carries, -1 if it carries none.
func recordOf(text string, ends ...node.Name) int64 {
	r, err := wire.ParseAnsKey(text)
	if err != nil {
		return -1
	}
	for _, n := range []node.Name{r.From, r.To} {
		if n != ends[0] && n != ends[1] {
			return -1
		}
	}
	b, err := b64.Decode(r.Key)
	if err != nil || len(b) < 5 {
		return -1
	}
	return int64(binary.BigEndian.Uint32(b))
}

func (h *Host) info(name node.Name) mesh.NodeInfo {
	for _, n := range h.Core.Nodes() {
		if n.Name == name {
			return n
		}
	}
	return mesh.NodeInfo{}
}

func TestTincansHavePostQuantumKeys(t *testing.T) {
	w, a, b := tincans(t, 1, both(hybrid.Yes))
	if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok {
		t.Fatal("no packet got through")
	}
	for _, p := range [][2]*Host{{a, b}, {b, a}} {
		if n := p[0].info(p[1].Name); !n.Protection.PostQuantum || n.Weakness != "" {
			t.Errorf("%s: %+v %s", p[0].Name, n.Protection, n.Weakness)
		}
		if n := p[0].info("n01"); !n.Protection.PostQuantum {
			t.Errorf("%s with its neighbour: %+v", p[0].Name, n.Protection)
		}
	}
}

// A record of the second exchange that gets lost is repeated soon.
func TestALostMessageOfTheSecondExchangeIsRepeated(t *testing.T) {
	for lost := range 3 {
		w, a, b := tincans(t, 2, both(hybrid.Yes))
		n := 0
		w.Change = func(from, to *Host, text string) string {
			if to.Name != "n01" && recordOf(text, "n00", "n02") >= 2 {
				if n++; n == lost+1 {
					return ""
				}
			}
			return text
		}
		if _, _, took, ok := w.Reaches(a, b, 5*time.Second); !ok || n < 3 {
			t.Errorf("message %d of %d lost: no packet within %s", lost+1, n, took)
		}
		if !a.info("n02").Protection.PostQuantum || !b.info("n00").Protection.PostQuantum {
			t.Errorf("message %d lost: %+v and %+v", lost+1, a.info("n02").Protection, b.info("n00").Protection)
		}
	}
}

// Somebody on the path who suppresses the second exchange delays packets, which then have the keys of SPTPS, and
// that is shown. When he stops, there are post-quantum keys within a minute.
func TestASuppressedSecondExchangeIsShown(t *testing.T) {
	for _, mode := range []hybrid.Mode{hybrid.Yes, hybrid.Require} {
		w, a, b := tincans(t, 3, both(mode))
		suppress, warned := true, 0
		w.Change = func(_, to *Host, text string) string {
			if suppress && to.Name != "n01" && recordOf(text, "n00", "n02") >= 2 {
				return ""
			}
			return text
		}
		w.Log = func(h *Host, l mesh.Log) {
			if l.Level == 0 && strings.Contains(l.Text, "somebody may suppress it") {
				warned++
			}
		}
		if _, _, took, ok := w.Reaches(a, b, 9*time.Second); ok {
			t.Errorf("mode %d: a packet passed after %s", mode, took)
		}
		w.Run(10 * time.Second)
		_, _, _, ok := w.Reaches(a, b, 3*time.Second)
		if want := mode == hybrid.Yes; ok != want {
			t.Errorf("mode %d: after 22 s packets pass: %v", mode, ok)
		}
		for _, p := range [][2]*Host{{a, b}, {b, a}} {
			n := p[0].info(p[1].Name)
			why := p[0].Core.Why(p[1].Name, mesh.Found{})
			if n.Protection.PostQuantum || n.Weakness != mesh.WhyNoSecond || why.Good || !slices.ContainsFunc(why.Reasons, func(r mesh.Reason) bool { return r.Code == mesh.WhyNoSecond }) {
				t.Errorf("mode %d: %+v %q, why: %+v", mode, n.Protection, n.Weakness, why)
			}
		}
		if warned != 2 {
			t.Errorf("mode %d: %d warnings, want one of each", mode, warned)
		}
		suppress = false
		w.Until(70*time.Second, func() bool { return a.info("n02").Protection.PostQuantum && b.info("n00").Protection.PostQuantum })
		if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok || a.info("n02").Weakness+b.info("n00").Weakness != "" || !a.info("n02").Protection.PostQuantum {
			t.Errorf("mode %d: when nobody suppresses it any more: packets pass %v, %+v %s", mode, ok, a.info("n02").Protection, a.info("n02").Weakness)
		}
	}
}

// The announcement is part of what both sign: who takes it away keeps the session from coming about, and gets no weaker one.
func TestAnAnnouncementThatIsTakenAwayBreaksTheSession(t *testing.T) {
	w, a, b := tincans(t, 4, both(hybrid.Yes))
	strip := true
	w.Change = func(_, to *Host, text string) string {
		if !strip || to.Name == "n01" {
			return text
		}
		if r, err := wire.ParseReqKey(text); err == nil && r.Sub == wire.SubStart {
			if b, err := b64.Decode(r.Data); err == nil {
				b[len(b)-33] = 0 // the flags, at the end of the nonce
				r.Data = b64.Encode(b)
				return string(r.Append(nil))
			}
		}
		return text
	}
	if _, _, _, ok := w.Reaches(a, b, 20*time.Second); ok || a.peers["n02"].Tunnel != nil || b.peers["n00"].Tunnel != nil {
		t.Error("a session came about")
	}
	strip = false
	if _, _, _, ok := w.Reaches(a, b, 20*time.Second); !ok || !a.info("n02").Protection.PostQuantum {
		t.Errorf("afterwards: packets pass %v, %+v", ok, a.info("n02").Protection)
	}
}

// From one renewal of the keys to the next packets never go back to those of SPTPS.
func TestRenewedKeysArePostQuantum(t *testing.T) {
	w, a, b := tincans(t, 5, func(a, b *mesh.Config) {
		a.PostQuantum, b.PostQuantum = hybrid.Yes, hybrid.Yes
		a.KeyExpire, b.KeyExpire = 5*time.Second, 5*time.Second
	})
	if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok {
		t.Fatal("no packet got through")
	}
	tunnels := map[any]bool{}
	for range 300 {
		w.Run(100 * time.Millisecond)
		for _, p := range [][2]*Host{{a, b}, {b, a}} {
			st := p[0].peers[p[1].Name]
			tunnels[st.Tunnel] = true
			if n := p[0].info(p[1].Name); st.Hold || !n.Protection.PostQuantum {
				t.Fatalf("%s: held %v, %+v", p[0].Name, st.Hold, n.Protection)
			}
		}
		if _, _, _, ok := w.Reaches(a, b, time.Second); !ok {
			t.Fatal("a packet was lost")
		}
	}
	if len(tunnels) < 8 {
		t.Errorf("%d tunnels in half a minute", len(tunnels))
	}
}

func TestModesOfTheTwoEnds(t *testing.T) {
	require := hybrid.Require
	for _, c := range []struct {
		name       string
		configure  func(a, b *mesh.Config)
		quantum    bool
		passes     bool
		encryption string // as a says it
	}{
		{"both yes", both(hybrid.Yes), true, true, "chacha20-poly1305, post-quantum keys"},
		{"one no", func(a, b *mesh.Config) { a.PostQuantum = hybrid.Yes }, false, true, "chacha20-poly1305, classical keys (n02 has PostQuantum = no)"},
		{"the other no", func(a, b *mesh.Config) { b.PostQuantum = hybrid.Yes }, false, true, "chacha20-poly1305, classical keys"},
		{"require and yes", func(a, b *mesh.Config) { a.PostQuantum, b.PostQuantum = hybrid.Require, hybrid.Yes }, true, true, "chacha20-poly1305, post-quantum keys"},
		{"require and no", func(a, b *mesh.Config) { a.PostQuantum = hybrid.Require }, false, false, "chacha20-poly1305, classical keys (n02 has PostQuantum = no)"},
		{"require in the host file, and no", func(a, b *mesh.Config) {
			a.PostQuantum = hybrid.Yes
			a.Hosts = map[node.Name]mesh.Host{"n02": {PostQuantum: &require}}
		}, false, false, "chacha20-poly1305, classical keys (n02 has PostQuantum = no)"},
	} {
		w, a, b := tincans(t, 6, c.configure)
		_, _, _, ok := w.Reaches(a, b, 5*time.Second)
		n := a.info("n02")
		if ok != c.passes || n.Protection.PostQuantum != c.quantum || (n.Weakness == mesh.WhyPostQuantum) == c.passes {
			t.Errorf("%s: packets pass %v, %+v %q", c.name, ok, n.Protection, n.Weakness)
		}
		arrived := false
		w.Send(b, a, 100, func(Trace) { arrived = true })
		w.Run(2 * time.Second)
		if arrived != c.passes {
			t.Errorf("%s: a packet of the other node arrives: %v", c.name, arrived)
		}
		if got := a.Core.Why("n02", mesh.Found{}).Encryption; got != c.encryption {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// With a node of tinc there is what tinc has, unless more is required.
func TestWithANodeOfTinc(t *testing.T) {
	for _, mode := range []hybrid.Mode{hybrid.No, hybrid.Yes, hybrid.Require} {
		w := New(7)
		a, b := w.Add("a"), w.Add("b")
		b.Plain = true
		a.Knows(b, true)
		b.Knows(a, true)
		a.Configure = func(c *mesh.Config) { c.PostQuantum = mode }
		a.Start("b")
		b.Start()
		_, _, _, ok := w.Reaches(a, b, 5*time.Second)
		n := a.info("b")
		if ok != (mode != hybrid.Require) || n.Protection != (mesh.Protection{Cipher: hybrid.Stock}) || (n.Weakness != "") == ok {
			t.Errorf("mode %d: packets pass %v, %+v %q", mode, ok, n.Protection, n.Weakness)
		}
	}
}

// A reload that wants other keys makes a new session.
func TestAReloadAsksForOtherKeys(t *testing.T) {
	w, a, b := tincans(t, 8, func(a, b *mesh.Config) { b.PostQuantum = hybrid.Yes })
	if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok || a.info("n02").Protection.PostQuantum {
		t.Fatalf("packets pass %v, %+v", ok, a.info("n02").Protection)
	}
	c := a.cfg
	c.PostQuantum = hybrid.Require
	a.event(mesh.Reconfigured{Config: c})
	if _, ok := w.Until(5*time.Second, func() bool { return a.info("n02").Protection.PostQuantum }); !ok {
		t.Errorf("%+v", a.info("n02").Protection)
	}
	if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok {
		t.Error("no packet got through afterwards")
	}
}

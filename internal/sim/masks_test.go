package sim

import (
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// maskedCouple makes two connected nodes that hide datagrams from each other's networks, once they reach each other by UDP.
func maskedCouple(t *testing.T, seed uint64, unmasked mesh.Unmasked, form func(from, to *Host, masked bool) bool) (w *World, a, b *Host) {
	t.Helper()
	w = New(seed)
	w.Form = form
	a, b = w.Add("a"), w.Add("b")
	a.Knows(b, true)
	b.Knows(a, false)
	for _, h := range []*Host{a, b} {
		h.Masks, h.Record = true, true
		h.Configure = func(c *mesh.Config) { c.Unmasked = unmasked }
	}
	b.Start()
	a.Start("b")
	return w, a, b
}

// byUDP tells whether a and b reach each other by UDP with large packets, in that form.
func byUDP(a, b *Host, masked bool) bool {
	for _, st := range []mesh.PeerState{a.peers[b.Name], b.peers[a.Name]} {
		if st.MinMTU < 1000 || (st.Mask != nil) != masked {
			return false
		}
	}
	return true
}

// No datagram between two nodes that can hide them is ever sent unhidden, from the first on: also not when a path dies, and
// when a node starts again.
func TestNoDatagramBetweenTincansIsUnhidden(t *testing.T) {
	slow := false
	for seed := range uint64(5) {
		w, a, b := maskedCouple(t, seed, mesh.UnmaskedLast, nil)
		w.OnSend = func(_, _ *Host, _ string) { slow = !slow }
		w.Delay = func(_, _ *Host) time.Duration { // at times requests are overtaken by datagrams
			if slow {
				return 40 * time.Millisecond
			}
			return 10 * time.Millisecond
		}
		if _, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, true) }); !ok {
			t.Fatalf("seed %d: they do not meet by masked UDP", seed)
		}
		w.flow(a, b, 1000, true)
		w.Run(2 * time.Minute)
		b.Kill()
		w.Run(time.Second)
		b.Start("a")
		if _, ok := w.Until(30*time.Second, func() bool { return byUDP(a, b, true) }); !ok {
			t.Fatalf("seed %d: they do not meet again", seed)
		}
		w.Run(time.Minute)
		if w.Unhidden != 0 || w.Datagrams < 1000 {
			t.Errorf("seed %d: %d of %d datagrams were not hidden", seed, w.Unhidden, w.Datagrams)
		}
	}
}

// Nodes that cannot hide datagrams are sent them as before, and are never sent a hidden one.
func TestOthersAreSentNothingHidden(t *testing.T) {
	for _, kind := range []string{"tinc 1.1", "tincan without masks"} {
		w, a, b := maskedCouple(t, 1, mesh.UnmaskedLast, nil)
		a.Kill()
		b.Kill()
		b.Masks, b.Plain = false, kind == "tinc 1.1"
		w.Form = func(_, _ *Host, masked bool) bool {
			if masked {
				t.Fatalf("%s: a masked datagram", kind)
			}
			return true
		}
		b.Start()
		a.Start("b")
		if _, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, false) }); !ok {
			t.Errorf("%s: they do not meet by UDP", kind)
		}
	}
}

// A filter that lets pass only one of the forms is passed by the other, and soon, if the configuration allows that one.
func TestFiltersOfOneForm(t *testing.T) {
	only := func(want bool) func(_, _ *Host, masked bool) bool {
		return func(_, _ *Host, masked bool) bool { return masked == want }
	}
	for _, c := range []struct {
		name     string
		unmasked mesh.Unmasked
		passes   bool // hidden datagrams do, and others do not
		within   time.Duration
	}{
		{"masks pass", mesh.UnmaskedLast, true, 3 * time.Second},
		{"only others pass", mesh.UnmaskedLast, false, 5 * time.Second},
		{"masks pass, tried last", mesh.UnmaskedFirst, true, 5 * time.Second},
		{"only others pass, tried first", mesh.UnmaskedFirst, false, 3 * time.Second},
		{"masks pass, nothing else is tried", mesh.UnmaskedNever, true, 3 * time.Second},
	} {
		w, a, b := maskedCouple(t, 3, c.unmasked, only(c.passes))
		took, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, c.passes) })
		if !ok || took > c.within {
			t.Errorf("%s: they meet by UDP after %v: %v", c.name, took, ok)
		}
		if c.unmasked == mesh.UnmaskedNever && w.Unhidden > 0 {
			t.Errorf("%s: %d datagrams were not hidden", c.name, w.Unhidden)
		}
	}
	w, a, b := maskedCouple(t, 3, mesh.UnmaskedNever, only(false))
	w.Run(time.Minute)
	if a.peers["b"].Confirmed || w.Unhidden > 0 {
		t.Errorf("without masks they meet by UDP although that is not wanted")
	}
	if _, _, _, ok := w.Reaches(a, b, 3*time.Second); !ok {
		t.Error("nor do they reach each other by TCP")
	}
}

// Where the form that is liked better did not pass, the other one is tried first the next time, until the better one works again.
func TestTheFormThatWorkedIsRemembered(t *testing.T) {
	passes := false // hidden ones do
	w, a, b := maskedCouple(t, 3, mesh.UnmaskedLast, func(_, _ *Host, masked bool) bool { return passes || !masked })
	worked := map[node.Name]mesh.Worked{}
	w.OnEffect = func(h *Host, e mesh.Effect) {
		if e, ok := e.(mesh.SaveWorked); ok && h == a {
			worked[e.Node] = e.Worked
		}
	}
	meet := func(masked bool) time.Duration {
		t.Helper()
		took, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, masked) })
		if !ok {
			t.Fatalf("they do not meet by UDP, masked: %v", masked)
		}
		return took
	}
	first := meet(false)
	if worked["b"].Form != mesh.ByUDP {
		t.Fatalf("remembered: %+v", worked)
	}
	for _, h := range []*Host{a, b} {
		h.Kill()
		h.Configure = func(c *mesh.Config) { c.Worked = map[node.Name]mesh.Worked{"a": worked["b"], "b": worked["b"]} }
	}
	b.Start()
	a.Start("b")
	if again := meet(false); again >= first || again > time.Second {
		t.Errorf("by UDP after %v, when remembered after %v", first, again)
	}
	passes = true
	if meet(true); worked["b"].Form != mesh.NoCarrier {
		t.Errorf("still remembered: %+v", worked)
	}
}

// A filter that begins to drop the form in use is evaded as soon as a path that has died, whatever is sent and whichever way it
// drops, and the better form is taken again when that is possible.
func TestAFilterThatBeginsLater(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		drops func(from *Host) bool
		quiet bool // nothing is sent when it begins
	}{
		{"large packets", 1000, func(*Host) bool { return true }, false},
		{"small packets", 100, func(*Host) bool { return true }, false},
		{"small packets, there", 100, func(from *Host) bool { return from.Name == "a" }, false},
		{"small packets, and back", 100, func(from *Host) bool { return from.Name == "b" }, false},
		{"small packets, later", 100, func(*Host) bool { return true }, true},
	} {
		for seed := range uint64(5) {
			dropped := false
			w, a, b := maskedCouple(t, seed, mesh.UnmaskedLast, func(from, _ *Host, masked bool) bool { return !dropped || !masked || !c.drops(from) })
			if _, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, true) }); !ok {
				t.Fatalf("%s, seed %d: they do not meet", c.name, seed)
			}
			w.Run(3 * time.Second)
			dropped = c.quiet
			f := w.flow(a, b, c.size, true)
			if !c.quiet {
				w.Run(3*time.Second + time.Duration(seed)*7*ms)
				f.fresh(w.Now)
				dropped = true
			}
			took, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, false) })
			if !ok || took > time.Second {
				t.Errorf("%s, seed %d: without masks after %v: %v", c.name, seed, took, ok)
			}
			w.Run(5 * time.Second)
			if f.gap > time.Second || !f.lastTrace().UDP {
				t.Errorf("%s, seed %d: no packet arrived for %v; the last one by UDP: %v", c.name, seed, f.gap, f.lastTrace().UDP)
			}
			dropped = false
			if took, ok = w.Until(time.Minute, func() bool { return byUDP(a, b, true) }); !ok || took > 15*time.Second {
				t.Errorf("%s, seed %d: masked again after %v: %v", c.name, seed, took, ok)
			}
		}
	}
}

// Datagrams of a path that was not hidden are, as soon as the configuration wants nothing else.
func TestTheConfigurationComesToWantMasksOnly(t *testing.T) {
	w, a, b := maskedCouple(t, 1, mesh.UnmaskedFirst, nil)
	if _, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, false) }); !ok {
		t.Fatal("they do not meet")
	}
	f := w.flow(a, b, 1000, true)
	w.Run(3 * time.Second)
	f.fresh(w.Now)
	for _, h := range []*Host{a, b} {
		h.reload(func(c *mesh.Config) { c.Unmasked = mesh.UnmaskedNever })
	}
	took, ok := w.Until(20*time.Second, func() bool { return byUDP(a, b, true) })
	w.Run(20 * time.Second)
	if !ok || took > time.Second || f.gap > time.Second || !f.lastTrace().UDP || a.peers["b"].Mask == nil {
		t.Errorf("hidden after %v: %v; no packet arrived for %v; the last one by UDP: %v", took, ok, f.gap, f.lastTrace().UDP)
	}
}

// Of two ends that like different forms each sends its own, and takes that of the other for a sign of life.
func TestEndsThatLikeDifferentFormsRest(t *testing.T) {
	w, a, b := maskedCouple(t, 1, mesh.UnmaskedLast, nil)
	b.Kill()
	b.Configure = func(c *mesh.Config) { c.Unmasked = mesh.UnmaskedFirst }
	b.Start("a")
	w.Run(20 * time.Second)
	f := w.flow(a, b, 100, true)
	w.Run(30 * time.Second)
	f.fresh(w.Now)
	probes := 0
	w.OnEffect = func(_ *Host, e mesh.Effect) {
		if _, ok := e.(mesh.SendProbe); ok {
			probes++
		}
	}
	w.Run(time.Minute)
	if a.peers["b"].Mask == nil || b.peers["a"].Mask != nil || f.came < f.sent-5 || probes > 100 {
		t.Errorf("hidden there: %v, and back: %v; %d of %d packets arrived; %d probes in a minute",
			a.peers["b"].Mask != nil, b.peers["a"].Mask != nil, f.came, f.sent, probes)
	}
}

// Probes that keep a path open come at no regular time.
func TestMaskedProbesHaveNoRhythm(t *testing.T) {
	w, a, b := maskedCouple(t, 1, mesh.UnmaskedLast, nil)
	w.Until(20*time.Second, func() bool { return byUDP(a, b, true) })
	w.Run(time.Minute)
	gaps := map[time.Duration]int{}
	var last time.Time
	w.OnEffect = func(h *Host, e mesh.Effect) {
		if p, ok := e.(mesh.SendProbe); ok && h == a && p.Data[0] == 0 && len(p.Data) < 100 {
			gaps[w.Now.Sub(last).Truncate(100*time.Millisecond)]++
			last = w.Now
		}
	}
	w.Run(10 * time.Minute)
	for gap, n := range gaps {
		if n > 10 {
			t.Errorf("%d of the probes come after about %v", n, gap)
		}
	}
	if len(gaps) < 10 {
		t.Errorf("there are %d times between probes", len(gaps))
	}
}

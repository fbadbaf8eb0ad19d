package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// signedLine is a signed network of nodes in a row. The last is a member who does not keep to the protocol.
func signedLine(t *testing.T, seed uint64, n int) (w *World, honest []*Host, mallory *Host) {
	t.Helper()
	w = New(seed)
	hs := line(w, n+1)
	w.Run(5 * time.Second)
	newSigned(t, hs...).tell(hs...)
	for _, h := range hs {
		h.Record = true
	}
	for _, a := range hs {
		for _, b := range hs {
			if a != b {
				w.Ping(a, b, func(_, _ Trace) {})
			}
		}
	}
	w.Run(20 * time.Second) // sessions are made, and connections are firsthand
	return w, hs[:n], hs[n]
}

// forgetEffects begins to record anew.
func forgetEffects(hs []*Host) {
	for _, h := range hs {
		h.Effects = nil
	}
}

// downs are the nodes and subnets that went down for h, as it has recorded.
func (h *Host) downs() (list []string) {
	for _, e := range h.Effects {
		switch e := e.(type) {
		case mesh.NodeDown:
			list = append(list, string(e.Node))
		case mesh.SubnetDown:
			list = append(list, fmt.Sprint(e.Subnet))
		}
	}
	return list
}

// A member says, over and over, that connections and subnets of others have ended. In a signed network nobody loses a node
// or a subnet by that: those that it is about are asked first.
func TestFalseWithdrawalsDoNothingInASignedNetwork(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w, honest, mallory := signedLine(t, seed, 6)
			forgetEffects(honest)
			sent, arrived := 0, 0
			for range 20 {
				for _, a := range honest {
					for _, b := range honest {
						if a != b {
							sent++
							w.Ping(a, b, func(_, _ Trace) { arrived++ })
						}
					}
				}
				for range 20 {
					i := w.Rand.IntN(len(honest) - 1)
					a, b := honest[i], honest[i+1]
					mallory.says(fmt.Sprintf("13 %x %s %s", w.Rand.Uint32(), a.Name, b.Name))
					mallory.says(fmt.Sprintf("13 %x %s %s", w.Rand.Uint32(), b.Name, a.Name))
					mallory.says(fmt.Sprintf("11 %x %s %s", w.Rand.Uint32(), a.Name, a.Subnet()))
					w.Run(50 * time.Millisecond)
				}
			}
			w.Run(5 * time.Second)
			for _, h := range honest {
				if downs := h.downs(); len(downs) > 0 {
					t.Errorf("for %s went down: %v", h.Name, downs)
				}
			}
			if arrived < sent {
				t.Errorf("of %d echoes %d were answered", sent, arrived)
			}
		})
	}
}

// What has really ended is noticed as before, a moment later: by those who were told, and by somebody who joins in that moment.
func TestTrueWithdrawalsCountInASignedNetwork(t *testing.T) {
	w, honest, last := signedLine(t, 1, 5)
	late := w.Add("late")
	at := honest[0]
	late.Knows(at, true)
	at.Knows(late, false)
	roll := newSigned(t, append(slices.Clone(honest), last, late)...)
	roll.tell(append(slices.Clone(honest), last)...)
	late.Keep(roll.Clone())
	last.Kill()
	w.Run(20 * time.Millisecond)
	late.Start(at.Name)
	w.Run(withheld)
	for _, h := range honest {
		if p := h.peers[last.Name]; p.Reachable {
			t.Errorf("%s still takes %s for reachable", h.Name, last.Name)
		}
	}
	w.Run(time.Second)
	if p := late.peers[last.Name]; p.Reachable {
		t.Errorf("%s, who has come meanwhile, takes %s for reachable", late.Name, last.Name)
	}
	if p := late.peers[honest[3].Name]; !p.Reachable {
		t.Errorf("%s does not reach %s", late.Name, honest[3].Name)
	}
}

// withheld is for how long the end of a connection may be unknown to those who are far from it.
const withheld = 1500 * time.Millisecond

// A member says that another, which is off, has connections. Nothing answers in its name: who has packets for it notices that,
// and would take another owner of the subnet, until the node itself answers.
func TestWhoeverIsOnlySaidToBeThereIsPassedOver(t *testing.T) {
	w := New(1)
	hs := line(w, 4)
	off := w.Add("off")
	off.Knows(hs[0], true)
	hs[0].Knows(off, false)
	roll := newSigned(t, append(slices.Clone(hs), off)...)
	w.Run(5 * time.Second)
	roll.tell(hs...)
	w.Run(20 * time.Second)
	mallory, victim := hs[3], hs[0]
	rank := func() string {
		for _, o := range victim.Core.Subnets() {
			if o.Owner == off.Name {
				return fmt.Sprint(o.Reachable, o.Rank)
			}
		}
		return "none"
	}
	claim := func() {
		mallory.says(fmt.Sprintf("12 %x %s off 203.0.113.9 655 700000c 1", w.Rand.Uint32(), mallory.Name))
		mallory.says(fmt.Sprintf("12 %x off %s 203.0.113.9 655 700000c 1", w.Rand.Uint32(), mallory.Name))
		mallory.says(fmt.Sprintf("10 %x off %s", w.Rand.Uint32(), off.Subnet()))
	}
	claim()
	w.Run(time.Second)
	announced, silent := fmt.Sprint(true, subnet.Announced), fmt.Sprint(true, subnet.Silent)
	if got := rank(); got != announced {
		t.Fatalf("before anybody has asked it is %s, want %s", got, announced)
	}
	for range 12 {
		w.Ping(victim, off, func(_, _ Trace) { t.Error("it has answered") })
		w.Run(time.Second)
	}
	if got := rank(); got != silent {
		t.Errorf("after twelve seconds it is %s, want %s", got, silent)
	}
	if names := victim.Core.Silent(); !slices.Equal(names, []node.Name{off.Name}) {
		t.Errorf("silent are %v", names)
	}
	if w := victim.Core.Why(off.Name, mesh.Found{}); w.Good || w.Reasons[0].Code != mesh.WhyNoAnswer {
		t.Errorf("why: %+v", w)
	}
	starts := 0
	w.OnSend = func(_, _ *Host, text string) {
		if strings.HasPrefix(text, "15 n00 off ") {
			starts++
		}
	}
	for range 120 {
		claim()
		w.Run(time.Minute)
	}
	if starts < 4*3 || starts > 8*3 { // over three connections, less and less often
		t.Errorf("in two hours %d requests for a session have crossed connections", starts)
	}
	off.Keep(roll.Clone())
	off.Start(hs[0].Name)
	w.Run(5 * time.Second)
	w.Ping(victim, off, func(_, _ Trace) {})
	w.Run(5 * time.Second)
	if got := rank(); got != announced {
		t.Errorf("when it is there it is %s, want %s", got, announced)
	}
}

// claims is a network in which mallory says that she is connected with off. All but off have the roster and know each other, without
// a packet.
type claims struct {
	w                    *World
	honest               []*Host
	mallory, victim, off *Host
	roll                 *signed
}

func newClaims(t *testing.T) *claims {
	w := New(1)
	hs := line(w, 4)
	c := &claims{w: w, honest: hs[:3], mallory: hs[3], victim: hs[0], off: w.Add("off")}
	c.victim.Record = true
	c.off.Knows(hs[2], true)
	hs[2].Knows(c.off, false)
	c.roll = newSigned(t, append(slices.Clone(hs), c.off)...)
	w.Run(5 * time.Second)
	c.roll.tell(hs...)
	w.Run(20 * time.Second)
	return c
}

// claim has mallory say it once more.
func (c *claims) claim() {
	m := c.mallory
	m.says(fmt.Sprintf("12 %x %s off 203.0.113.9 655 700000c 1", c.w.Rand.Uint32(), m.Name))
	m.says(fmt.Sprintf("12 %x off %s 203.0.113.9 655 700000c 1", c.w.Rand.Uint32(), m.Name))
	m.says(fmt.Sprintf("10 %x off %s", c.w.Rand.Uint32(), c.off.Subnet()))
}

// deny has her say the opposite, and waits until that is believed.
func (c *claims) deny() {
	c.mallory.says(fmt.Sprintf("13 %x %s off", c.w.Rand.Uint32(), c.mallory.Name))
	c.mallory.says(fmt.Sprintf("13 %x off %s", c.w.Rand.Uint32(), c.mallory.Name))
	c.w.Run(2 * time.Second)
}

// seesOff is what the victim says of off: whether it is reachable, whether others say so, and whether it does not answer.
func (c *claims) seesOff() string {
	for _, n := range c.victim.Core.Nodes() {
		if n.Name == c.off.Name {
			return fmt.Sprint(n.Reachable, n.Claimed, n.Silent)
		}
	}
	return "nothing"
}

// told counts what the victim was told of off: that it can be reached, and that it cannot any more.
func (c *claims) told() (ups, downs int) {
	for _, e := range c.victim.Effects {
		switch e := e.(type) {
		case mesh.NodeUp:
			if e.Node == c.off.Name {
				ups++
			}
		case mesh.SubnetUp:
			if e.Owner == c.off.Name {
				ups++
			}
		case mesh.NodeDown:
			if e.Node == c.off.Name {
				downs++
			}
		}
	}
	return ups, downs
}

// A member can say as often as she likes that she is connected with one that is off: nobody is told that this can be reached, its
// subnets come after those of others at once, and it is asked less and less often.
func TestWhoeverIsOnlySaidToBeThereIsNotListed(t *testing.T) {
	c := newClaims(t)
	for _, h := range c.honest {
		for _, n := range h.Core.Nodes() {
			if n.Name != c.off.Name && !n.Reachable {
				t.Errorf("%s does not believe that %s is there", h.Name, n.Name)
			}
		}
	}
	forgetEffects(c.honest)
	starts := 0
	c.w.OnSend = func(from, _ *Host, text string) {
		if from == c.victim && strings.HasPrefix(text, "15 n00 off ") {
			starts++
		}
	}
	silent := false
	for i := range 60 {
		c.deny()
		c.claim()
		c.w.Run(time.Duration(i%15+1) * time.Second)
		if got := c.seesOff(); got != "false true false" && got != "false true true" && got != "false false false" {
			t.Fatalf("reachable, claimed, silent: %s", got)
		} else if got == "false true true" {
			silent = true
		}
		for _, o := range c.victim.Core.Subnets() {
			if o.Owner == c.off.Name && o.Reachable && !o.Claimed {
				t.Fatalf("%+v", o)
			}
		}
	}
	if ups, downs := c.told(); ups+downs > 0 {
		t.Errorf("the victim was told of it %d and %d times", ups, downs)
	}
	if !silent || starts == 0 || starts > 20 {
		t.Errorf("silent: %v; %d requests for a session in ten minutes", silent, starts)
	}

	c.off.Keep(c.roll.Clone())
	c.off.Start(c.honest[2].Name)
	c.w.Run(5 * time.Second)
	if got := c.seesOff(); got != "true false false" {
		t.Errorf("when it is there: reachable, claimed, silent: %s", got)
	}
	if ups, downs := c.told(); ups != 2 || downs > 0 {
		t.Errorf("when it is there the victim is told of it and its subnet %d and %d times", ups, downs)
	}
}

// A member that has gone is not kept there by somebody who says that it is connected with her.
func TestWhoeverHasGoneIsNotKeptThereByClaims(t *testing.T) {
	c := newClaims(t)
	c.off.Keep(c.roll.Clone())
	c.off.Start(c.honest[2].Name)
	c.w.Run(30 * time.Second)
	c.w.Ping(c.victim, c.off, func(_, _ Trace) {})
	c.w.Run(10 * time.Second)
	forgetEffects(c.honest)
	for range 20 {
		c.claim()
		c.w.Run(10 * time.Millisecond)
	}
	c.off.Kill()
	for range 40 {
		for range 10 {
			c.claim()
			c.w.Run(10 * time.Millisecond)
		}
		c.w.Run(900 * time.Millisecond)
	}
	if got := c.seesOff(); got != "false true true" {
		t.Errorf("reachable, claimed, silent: %s", got)
	}
	if ups, downs := c.told(); ups > 0 || downs != 1 {
		t.Errorf("the victim was told of it %d and %d times", ups, downs)
	}
}

// In a signed network each node knows by which neighbour the broadcasts of another one have to come, also for a while after that has
// changed; those of a node that is only claimed to be there come by none.
func TestBroadcastsComeByTheTree(t *testing.T) {
	c := newClaims(t)
	hops := func(h *Host, of node.Name) [2]node.Name { return h.peers[of].TreeHops }
	middle := c.honest[1]
	for h, want := range map[*Host]node.Name{c.honest[0]: "n00", c.honest[2]: "n02", c.mallory: "n02"} {
		if got := hops(middle, h.Name); got != [2]node.Name{want} {
			t.Errorf("broadcasts of %s come to %s by %v, want %s", h.Name, middle.Name, got, want)
		}
	}
	c.claim()
	c.w.Run(time.Minute)
	if got := hops(middle, c.off.Name); got != [2]node.Name{} {
		t.Errorf("those of %s, which is off, by %v", c.off.Name, got)
	}
	c.off.Keep(c.roll.Clone())
	c.off.Start(c.honest[2].Name)
	c.w.Run(15 * time.Second)
	if got := hops(c.victim, c.off.Name); got != [2]node.Name{"n01"} {
		t.Errorf("when it is there they come by %v", got)
	}
}

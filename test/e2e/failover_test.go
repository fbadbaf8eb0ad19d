//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"tincan/internal/lab"
)

// soakTrials is how often each failure is tried; 0 if nothing is to be measured.
var soakTrials, _ = strconv.Atoi(os.Getenv("SOAK_TRIALS"))

// failure is something that happens to a path while packets flow on it.
type failure struct {
	name   string
	trials int           // at most, as some take long
	limit  time.Duration // for the interruption
	build  func(w *world) *scene
}

// scene is two nodes, a flow between them, and what can be done to it.
type scene struct {
	flow   func() flow
	ready  func() bool // the path that will fail is in use
	fail   func()
	repair func()
	back   bool // the flow goes back to the old path after the repair
}

// flow is one of the kinds of the lab.
type flow interface {
	Restart()
	Longest() time.Duration
	LastSent() time.Time
	stop()
}

type echoes struct{ *lab.Echoes }

func (e echoes) stop() { e.Stop() }

type oneWay struct{ *lab.Flow }

func (f oneWay) stop() { f.Stop() }

// outcome is what the trials of a failure gave.
type outcome struct {
	gap  time.Duration // nothing arrived for so long after the failure
	back time.Duration // the old path was in use so long after the repair; 0 if that was not looked at
	loss time.Duration // nothing arrived for so long when it went back
}

// times are one of the durations of all outcomes.
func times(list []outcome, of func(outcome) time.Duration) (ds []time.Duration) {
	for _, o := range list {
		ds = append(ds, of(o))
	}
	return ds
}

const (
	// flowPace is the time between two packets of a flow.
	flowPace = 10 * time.Millisecond
	// slowest is how long a path may take to work (again) before we give up.
	slowest = 150 * time.Second
	// seamless is how long a change of paths that nothing forces may interrupt a flow.
	seamless = 300 * time.Millisecond
)

// TestFailingOver measures for how long packets do not arrive when a path dies,
// and when it comes back. The table that it prints is the one in
// docs/reliability.md: SOAK_TRIALS=100.
func TestFailingOver(t *testing.T) {
	t.Parallel()
	if soakTrials == 0 {
		t.Skip("SOAK_TRIALS says how often each path is to die; make soak says 100")
	}
	var mu sync.Mutex
	failures := failures()
	outcomes := make([][]outcome, len(failures))
	t.Run("of", func(t *testing.T) {
		for i, f := range failures {
			trials := min(soakTrials, f.trials)
			// Several worlds at a time, since a trial is mostly waiting.
			worlds := (trials + 24) / 25
			for part := range worlds {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, "ip4")
					s := f.build(w)
					for n := part; n < trials; n += worlds {
						o := s.trial(w)
						mu.Lock()
						outcomes[i] = append(outcomes[i], o)
						mu.Unlock()
					}
				})
			}
		}
	})
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what fails\ttrials\tmedian\tp90\tp99\tworst\tback after\tinterrupted then")
	for i, f := range failures {
		if len(outcomes[i]) == 0 {
			continue
		}
		gaps := times(outcomes[i], func(o outcome) time.Duration { return o.gap })
		back := times(outcomes[i], func(o outcome) time.Duration { return o.back })
		loss := times(outcomes[i], func(o outcome) time.Duration { return o.loss })
		fmt.Fprintf(tw, "%s\t%d\t%v\t%v\t%v\t%v", f.name, len(gaps),
			share(gaps, 50), share(gaps, 90), share(gaps, 99), share(gaps, 100))
		if share(back, 100) > 0 {
			fmt.Fprintf(tw, "\t%v\t%v", share(back, 50), share(loss, 99))
		}
		fmt.Fprintln(tw)
		if p99 := share(gaps, 99); p99 > f.limit {
			t.Errorf("%s: interrupted for %v (p99), wanted at most %v", f.name, p99, f.limit)
		}
		if p99 := share(loss, 99); p99 > seamless {
			t.Errorf("%s: coming back interrupts for %v (p99), wanted at most %v", f.name, p99, seamless)
		}
	}
	tw.Flush()
	t.Log("\n" + b.String())
}

// share is the smallest duration that at least the given share of the list,
// in percent, does not exceed.
func share(list []time.Duration, percent int) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[(len(sorted)*percent+99)/100-1].Round(10 * time.Millisecond)
}

// trial lets the path fail once.
func (s *scene) trial(w *world) (o outcome) {
	w.Helper()
	w.eventually("the path is in use", slowest, s.ready)
	f := s.flow()
	defer f.stop()
	// Anywhere between two of whatever happens every second.
	time.Sleep(500*time.Millisecond + rand.N(time.Second))
	w.eventually("the path is in use", slowest, s.ready)
	f.Restart()
	s.fail()
	failed := time.Now()
	// It goes on when for a second nothing is missing any more.
	for steady := 0; steady < 10; {
		time.Sleep(100 * time.Millisecond)
		steady++
		if at := f.LastSent(); !at.After(failed) || time.Since(at) > 150*time.Millisecond {
			steady = 0
		}
		if time.Since(failed) > slowest {
			w.Errorf("nothing arrives %v later", slowest)
			break
		}
	}
	o.gap = f.Longest()
	f.Restart()
	s.repair()
	if s.back {
		repaired := time.Now()
		w.eventually("the path is in use again", slowest, s.ready)
		o.back = time.Since(repaired)
		time.Sleep(500 * time.Millisecond)
		o.loss = f.Longest()
	}
	return o
}

// failures is what is tried.
func failures() []failure {
	list := []failure{
		{"UDP, echoes, TCP to fall back to", 100, time.Second, func(w *world) *scene {
			a, b := w.pair()
			return &scene{w.echoes(a, b), w.direct(a, b), w.fails(w.only(lab.UDP, a, b)), w.lift, true}
		}},
		{"UDP, one way flow", 100, time.Second, func(w *world) *scene {
			a, b := w.pair()
			return &scene{w.datagrams(a, b), w.direct(a, b), w.fails(w.only(lab.UDP, a, b)), w.lift, true}
		}},
		{"UDP in one direction, echoes", 100, time.Second, func(w *world) *scene {
			a, b := w.pair()
			return &scene{w.echoes(a, b), w.direct(a, b), w.fails(w.towards(lab.UDP, a, b)), w.lift, true}
		}},
		{"UDP between two NATs, a relay to fall back to", 100, time.Second, func(w *world) *scene {
			_, a, b := w.apart(lab.PortRestricted)
			return &scene{w.echoes(a, b), w.direct(a, b), w.fails(w.only(lab.UDP, a, b)), w.lift, true}
		}},
		{"everything between two that have a third", 100, 1500 * time.Millisecond, func(w *world) *scene {
			_, a, b := w.apart(open)
			return &scene{w.echoes(a, b), w.direct(a, b), w.fails(w.only(lab.All, a, b)), w.lift, true}
		}},
		{"relay killed, another is there", 100, 1500 * time.Millisecond, func(w *world) *scene {
			s, used := w.relays()
			s.fail = func() { used().killed() }
			s.repair = func() {
				for _, n := range w.nodes[:2] {
					if n.daemon.Ended() {
						n.up()
					}
				}
			}
			return s
		}},
		{"relay falls silent, another is there", 100, 1500 * time.Millisecond, func(w *world) *scene {
			s, used := w.relays()
			s.fail = func() { w.must(used().link.Cut()) }
			s.repair = func() {
				for _, n := range w.nodes[:2] {
					w.must(n.link.Restore())
				}
			}
			return s
		}},
		{"own address, echoes", 50, 2 * time.Second, func(w *world) *scene {
			a, b := w.pair()
			return &scene{w.echoes(b, a), w.direct(a, b), w.roams(b), func() {}, false}
		}},
		{"own address, flow towards it only", 50, 2 * time.Second, func(w *world) *scene {
			a, b := w.pair()
			return &scene{w.datagrams(a, b), w.direct(a, b), w.roams(b), func() {}, false}
		}},
		// The meta connection dies too, and there is no other. If it was young, the next
		// attempt would be later each time.
		{"a NAT is restarted, two nodes only", 20, 5 * time.Second, func(w *world) *scene {
			a, b := w.node("left"), w.natted("right", lab.Symmetric)
			a.found()
			a.up()
			b.joins(a.invite(b.Name()))
			return &scene{w.echoes(b, a), w.direct(a, b), func() { w.must(b.gate.ForgetNAT()) }, func() { time.Sleep(10 * time.Second) }, false}
		}},
		{"MTU, a TCP stream", 30, time.Second, func(w *world) *scene {
			a, b := w.pair()
			w.must(b.link.Quality(lab.Quality{Rate: 20e6, Delay: 5 * time.Millisecond}))
			b.stopped() // else the delay is taken for a queue
			b.up()
			return &scene{w.stream(b, a),
				func() bool { return w.direct(a, b)() && b.sees(a.Name()).minMTU > 1400 },
				func() { w.must(b.link.BlackHole(1280)) },
				func() {
					w.must(b.link.BlackHole(0))
					b.stopped() // to begin again
					b.up()
				}, false}
		}},
	}
	for _, kind := range []kind{tinc10, tinc11} {
		if kind == tinc11 && tincDir == "" {
			continue
		}
		// As good as the protocol allows: what we send is our business, what they
		// send waits until they notice by themselves.
		name := fmt.Sprintf("UDP, %v at the other end, ", kind)
		list = append(list, failure{name + "flow to it", 20, time.Second, func(w *world) *scene {
			ours, old := w.pairWithOld(kind)
			return &scene{w.datagrams(ours, old), w.byUDP(ours, old), w.fails(w.only(lab.UDP, ours, old)), w.lift, false}
		}}, failure{name + "flow from it", 3, 2 * time.Minute, func(w *world) *scene {
			ours, old := w.pairWithOld(kind)
			return &scene{w.datagrams(old, ours), w.byUDP(ours, old), w.fails(w.only(lab.UDP, ours, old)), w.lift, false}
		}})
	}
	return list
}

// pair are two public nodes with a meta connection.
func (w *world) pair() (a, b *node) {
	w.Helper()
	w.cables = true
	a, b = w.node("left"), w.node("right")
	a.found()
	a.up()
	b.joins(a.invite(b.Name()))
	a.reaches(b)
	return a, b
}

// apart are two nodes that know each other by a third one. If they are behind NAT
// there is no meta connection between them.
func (w *world) apart(kind lab.NAT) (meet, a, b *node) {
	w.Helper()
	meet, a, b = w.node("meet"), w.natted("left", kind), w.natted("right", kind)
	meet.found()
	meet.up()
	for _, n := range []*node{a, b} {
		n.joins(meet.invite(n.Name()))
	}
	w.allReach("ip4", meet, a, b)
	if kind == open {
		w.eventually("they are connected", slowest, func() bool { return a.linked(b) })
	}
	return meet, a, b
}

// relays are two nodes that cannot meet and two relays, which come first in
// w.nodes; used tells which of them is in use.
func (w *world) relays() (s *scene, used func() *node) {
	w.Helper()
	w.cables = true
	r := []*node{w.node("meet"), w.node("again")}
	a, b := w.natted("left", lab.Symmetric), w.natted("right", lab.Symmetric)
	r[0].found()
	r[0].up()
	for _, n := range []*node{r[1], a, b} {
		n.joins(r[0].invite(n.Name()))
	}
	w.allReach("ip4", w.nodes...)
	used = func() *node {
		via := a.chosenRelay(b)
		if via == "" {
			_, via = a.path(b)
		}
		if via == r[1].Name() {
			return r[1]
		}
		return r[0]
	}
	ready := func() bool {
		_, _ = a.Ping(b.vpn("ip4"), 56, 200*time.Millisecond)
		there, _ := a.path(b)
		back, _ := b.path(a)
		for _, n := range []*node{a, b} {
			for _, relay := range r {
				if !n.linked(relay) { // who dies every few seconds is not dialled every time
					_, _ = n.try("retry")
					return false
				}
				if path, _ := n.path(relay); path != "direct-udp" {
					_, _ = n.Ping(relay.vpn("ip4"), 56, 100*time.Millisecond)
					return false
				}
			}
		}
		return there == "relayed" && back == "relayed"
	}
	return &scene{flow: w.echoes(a, b), ready: ready}, used
}

// pairWithOld are a tincan and an older program, both with their default timing.
func (w *world) pairWithOld(kind kind) (ours, old *node) {
	w.Helper()
	n := w.legacy(
		site{name: "ours", connect: []string{"old"}, patient: true},
		site{name: "old", kind: kind, patient: true})
	upAll(n...)
	w.allReach("ip4", n...)
	return n[0], n[1]
}

// echoes, datagrams and stream make a flow from a to b.
func (w *world) echoes(a, b *node) func() flow {
	return func() flow {
		w.Helper()
		e, err := a.Echo(b.vpn("ip4"), flowPace)
		w.must(err)
		return echoes{e}
	}
}

func (w *world) datagrams(a, b *node) func() flow {
	return func() flow {
		w.Helper()
		f, err := lab.Datagrams(a.Host, b.Host, b.vpn("ip4"), flowPace)
		w.must(err)
		return oneWay{f}
	}
}

func (w *world) stream(a, b *node) func() flow {
	return func() flow {
		w.Helper()
		f, err := lab.Stream(a.Host, b.Host, b.vpn("ip4"))
		w.must(err)
		return oneWay{f}
	}
}

// direct waits for UDP between a and b, for which there must be traffic.
func (w *world) direct(a, b *node) func() bool {
	return func() bool {
		w.Helper()
		_, _ = a.Ping(b.vpn("ip4"), 56, 200*time.Millisecond)
		there, _ := a.path(b)
		back, _ := b.path(a)
		return there == "direct-udp" && back == "direct-udp" && a.chosenRelay(b) == "" && b.chosenRelay(a) == ""
	}
}

// choices is how the log tells of relays that are chosen for their delay or loss.
var choices = regexp.MustCompile(`packets for (\w+) are (?:now relayed by (\w+)|no longer relayed)`)

// chosenRelay is the relay that was chosen for packets to another node although there
// may be a direct path, "" if there is none.
func (n *node) chosenRelay(to *node) (relay string) {
	for _, m := range choices.FindAllStringSubmatch(n.log(), -1) {
		if m[1] == to.Name() {
			relay = m[2]
		}
	}
	return relay
}

// byUDP is direct for old programs.
func (w *world) byUDP(a, b *node) func() bool {
	return func() bool {
		w.Helper()
		_, _ = a.Ping(b.vpn("ip4"), 56, 200*time.Millisecond)
		return a.hasUDP(b) && b.hasUDP(a)
	}
}

// only is the traffic between two nodes, or the NATs in front of them.
func (w *world) only(what lab.Traffic, a, b *node) []lab.Traffic {
	return append(w.towards(what, a, b), w.towards(what, b, a)...)
}

// towards is the traffic from a to b.
func (w *world) towards(what lab.Traffic, a, b *node) []lab.Traffic {
	return []lab.Traffic{lab.Traffic(fmt.Sprintf("ip saddr %s ip daddr %s %s", a.public(), b.public(), what))}
}

// public is the address of a node that others see.
func (n *node) public() string {
	if n.gate != nil {
		return n.gate.Addr("ip4").String()
	}
	return n.Addr("ip4").String()
}

// fails blocks traffic on the router in the middle, until lift.
func (w *world) fails(traffic []lab.Traffic) func() {
	return func() {
		w.Helper()
		for _, what := range traffic {
			rule, err := w.internet.Block(what)
			w.must(err)
			w.rules = append(w.rules, rule)
		}
	}
}

func (w *world) lift() {
	w.Helper()
	for _, rule := range w.rules {
		w.must(rule.Lift())
	}
	w.rules = nil
}

// roams carries a node from one network to another, and back the next time.
func (w *world) roams(n *node) func() {
	home, away := w.prefixes()[0], "10.98.0.2/24"
	return func() {
		w.Helper()
		w.must(n.link.Move(away))
		home, away = away, home
	}
}

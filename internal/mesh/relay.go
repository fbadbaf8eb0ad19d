package mesh

import (
	"cmp"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/mesh/quality"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Which relay our packets for a node take. tinc has the graph decide, which knows hops and
// weights and nothing of what happens by UDP. Here a pair that has traffic and no good
// direct path measures a few paths from end to end, with echoes, and takes the best.
//
// Only the source chooses. Who passes a packet on goes by the graph, or directly, as tinc
// does; so nodes that disagree cannot send a packet in circles by this.

const (
	// maxMeasured are measured for a pair at a time.
	maxMeasured = 4
	// relayTick is how often the path in use is measured, others and the direct
	// path less often.
	relayTick    = 500 * time.Millisecond
	directEvery  = 2 * time.Second
	othersEvery  = 4 * time.Second
	quickerEvery = time.Second
	// exploreEvery is how often a pair whose direct path is slow looks whether a relay is
	// quicker, and how often the worst of the paths makes room for another.
	exploreEvery = 30 * time.Second
	slowDirect   = 60 * time.Millisecond
	// talkingFor is how long after the last packet of ours paths are measured.
	talkingFor = 3 * time.Second
	// givenUp is how many echoes in a row may be lost on a path that is in use, and deadPath
	// how many on one that has worked before it makes room for another.
	givenUp, deadPath = 3, 6
	// shunned is how long a path that does not work is left alone.
	shunned = 30 * time.Second
	// minStay is how long a relay that works is kept.
	minStay = 3 * time.Second
	// Loss of the direct path above which a relay is preferred, and below which the path is good again.
	badLoss, goodLoss = 0.2, 0.1
	// relayHeadStart is how much slower than a relay the direct path may be: twice and this.
	relayHeadStart = 20 * time.Millisecond
	// meetFor is how long a node that might become a relay has to answer by UDP.
	meetFor = 4 * time.Second
	// maxShunned nodes are remembered for a pair.
	maxShunned = 64
)

// relaying is how our packets for a node get there when they do not go directly.
type relaying struct {
	begun  time.Time  // when we began to send it packets, after a pause
	own    time.Time  // last packet of ours for it
	listed bool       // in relays.talking
	chosen *relayPath // nil: directly, or as the graph says
	since  time.Time  // of chosen

	direct  *relayPath // by UDP without relay
	meta    *relayPath // over our connection with it
	paths   []*relayPath
	shunned map[node.Name]time.Time // until when

	bad      bool      // the direct path works, but badly
	searched time.Time // last search for paths
	explored time.Time
}

// newRelaying: echoes may still be under way along the paths of before, so the new ones are others.
func newRelaying() relaying { return relaying{direct: &relayPath{}, meta: &relayPath{tcp: true}} }

// relayPath is one path to a node that is being measured.
type relayPath struct {
	relay   *peer // nil: none
	tcp     bool
	quality quality.Path
	asked   time.Time // last echo
	waiting int       // echoes without answer
	byTCP   bool      // somewhere it goes over a meta connection
}

// mayChoose tells whether a relay may be chosen for p.
func (rl *relays) mayChoose(p *peer) bool {
	return p.reachable() && rl.answersEchoes(p) && p.session().ready() && !rl.cfg.TCPOnly && !rl.cfg.DirectOnly &&
		!rl.cfg.NoUDPDiscovery && p.path().Options&wire.TCPOnly == 0
}

// isDirect tells whether packets for p go by UDP without a relay, unless one is chosen.
func (rl *relays) isDirect(p *peer) bool { return p.usable() && rl.reach.effectiveVia(p) == p }

// canRelay tells whether r would take our packets for p.
func (rl *relays) canRelay(r, p *peer) bool {
	return r != nil && r != p && r != rl.self && rl.nodes[r.name] == r && r.reachable() && r.usable() &&
		r.minor() >= 4 && !r.session().hopByHop() && r.path().Options&(wire.TCPOnly|wire.Indirect|wire.NoRelay) == 0
}

// talkingTo takes note of a packet of ours for p.
func (rl *relays) talkingTo(p *peer) {
	r := p.relaying()
	first := rl.now.Sub(r.own) > talkingFor
	r.own = rl.now
	if first {
		rl.keyring.keepLearned(p)
		r.begun = rl.now
	}
	if !rl.cfg.Echoes && !rl.cfg.AutoConnect {
		return
	}
	if !r.listed || first {
		rl.tickSoon()
	}
	if !r.listed {
		r.listed = true
		rl.talking = append(rl.talking, p)
	}
	if r.chosen != nil { // its UDP path is to stay open
		rl.paths.keepOpen(r.chosen.relay)
	}
	if first {
		rl.measure(p)
	}
}

func (rl *relays) tickSoon() {
	rl.by(&rl.tick, rl.now.Add(relayTick+rl.jitter(turnJitter)), rl.checkRelays)
}

// checkRelays measures the paths that are due. It runs each relayTick, while we talk to somebody.
func (rl *relays) checkRelays() {
	rl.sweepTalking()
	talk := false
	var end time.Time
	for _, p := range rl.talking {
		if rl.now.Sub(p.relaying().own) <= talkingFor {
			talk = true
		} else {
			end = earlier(end, p.relaying().own.Add(keepTrying+1)) // of the talk
		}
	}
	switch {
	case talk:
		rl.tickSoon()
	case !end.IsZero():
		rl.by(&rl.tick, end, rl.checkRelays)
	}
	for _, p := range rl.talking {
		if rl.now.Sub(p.relaying().own) <= talkingFor {
			rl.measure(p)
		}
	}
}

func (rl *relays) forgetRelays(p *peer) {
	begun, own := p.relaying().begun, p.relaying().own
	*p.relaying() = newRelaying()
	p.relaying().begun, p.relaying().own = begun, own
	rl.touch(p)
}

// decideRelays lets go of relays that cannot be used any more, before anything is published.
func (rl *relays) decideRelays() {
	for _, p := range rl.talking {
		r := p.relaying()
		switch {
		case r.chosen != nil && !(rl.mayChoose(p) && rl.canRelay(r.chosen.relay, p)):
			rl.choose(p)
		case r.chosen == nil && r.searched.IsZero() && rl.now.Sub(r.own) <= talkingFor && !rl.isDirect(p):
			rl.measure(p) // the direct path has just been lost
		}
	}
}

// measure sends the echoes to p that are due.
func (rl *relays) measure(p *peer) {
	if !rl.mayChoose(p) {
		return
	}
	r := p.relaying()
	direct := rl.isDirect(p)
	if direct {
		every := directEvery
		if r.bad {
			every = quickerEvery
		}
		rl.measurePath(p, r.direct, every)
		if r.chosen == nil && !r.bad {
			r.searched = time.Time{}
			slow := r.direct.quality.Measured() && r.direct.quality.Mean() > slowDirect && rl.now.Sub(r.explored) >= exploreEvery
			if !slow && !rl.promising(r) {
				return
			}
		}
	} else if !r.bad { // one that was bad has to show first that it has become better
		r.direct.quality = quality.Path{}
	}
	if p.conn() != nil && !direct {
		rl.measurePath(p, r.meta, othersEvery)
	}
	search := othersEvery
	if len(r.paths) < maxMeasured/2 {
		search = quickerEvery
	}
	if rl.now.Sub(r.searched) >= search {
		r.searched = rl.now
		rl.findRelays(p)
	}
	for _, w := range r.paths {
		every := othersEvery
		switch {
		case w == r.chosen || r.chosen == nil && !direct:
			every = relayTick
		case w.byTCP || w.quality.Count() < 3: // the relay may still be looking for its own direct path
			every = quickerEvery
		case r.chosen != nil && w.quality.Measured() && w.quality.Mean() < r.chosen.quality.Mean():
			every = quickerEvery // it was left because echoes were lost, perhaps by chance
		}
		rl.measurePath(p, w, every)
	}
}

// promising tells whether a measured path seems clearly better than the direct one.
func (rl *relays) promising(r *relaying) bool {
	return slices.ContainsFunc(r.paths, func(w *relayPath) bool {
		return w.quality.Measured() && w.quality.Missed() == 0 && !w.byTCP && clearlyBetter(&w.quality, &r.direct.quality)
	})
}

func clearlyBetter(relay, direct *quality.Path) bool {
	return 2*relay.Cost()+relayHeadStart < direct.Cost()
}

// measurePath sends an echo along w, if none is under way and the last one is long enough ago.
func (rl *relays) measurePath(p *peer, w *relayPath, every time.Duration) {
	if w.waiting == 0 && (w.asked.IsZero() || rl.now.Sub(w.asked) >= every-relayTick/4) {
		rl.echoAlong(p, w)
	}
}

// echoAlong sends an echo along w. When the first one is lost two more follow at once: if they
// are lost too, it was not chance.
func (rl *relays) echoAlong(p *peer, w *relayPath) {
	w.asked = rl.now
	w.waiting++
	e := SendEcho{Path: EchoUDP}
	switch {
	case w.tcp:
		e.Path = EchoTCP
	case w.relay != nil:
		e.Via = w.relay.name
		rl.paths.keepOpen(w.relay)
	}
	rl.askEcho(p, e, wire.MinEcho, w.quality.Wait(), func(a echoed) {
		w.waiting--
		if a.lost {
			if w.quality.Lost(); w.quality.Missed() == 1 && rl.mayChoose(p) {
				rl.echoAlong(p, w)
				rl.echoAlong(p, w)
			}
		} else {
			w.quality.Answered(a.rtt)
			w.byTCP = a.there.TCP || a.back.TCP
		}
		if rl.nodes[p.name] == p {
			rl.choose(p)
		}
	})
}

// findRelays looks for relays to p that are worth a try.
func (rl *relays) findRelays(p *peer) {
	r := p.relaying()
	if r.shunned == nil || len(r.shunned) > maxShunned {
		r.shunned = map[node.Name]time.Time{}
	}
	r.paths = slices.DeleteFunc(r.paths, func(w *relayPath) bool {
		if w.quality.Missed() >= deadPath || w.quality.Missed() >= givenUp && !w.quality.Measured() || !rl.canRelay(w.relay, p) {
			r.shunned[w.relay.name] = rl.now.Add(shunned)
			return w != r.chosen
		}
		return false
	})
	explore := rl.now.Sub(r.explored) >= exploreEvery
	if explore {
		r.explored = rl.now
	}
	if len(r.paths) >= maxMeasured && !explore {
		return
	}
	fresh := rl.prospects(p)
	if len(r.paths) >= maxMeasured && len(fresh) > 0 {
		worst := slices.MaxFunc(r.paths, func(a, b *relayPath) int { return cmp.Compare(a.rank(r), b.rank(r)) })
		r.shunned[worst.relay.name] = rl.now.Add(4 * exploreEvery)
		r.paths = slices.DeleteFunc(r.paths, func(w *relayPath) bool { return w == worst })
	}
	for _, c := range fresh[:min(len(fresh), maxMeasured-len(r.paths))] {
		r.paths = append(r.paths, &relayPath{relay: c})
	}
	if len(r.paths) < maxMeasured/2 {
		rl.meetNeighbours(p)
	}
}

// rank orders paths by how readily they are kept.
func (w *relayPath) rank(r *relaying) time.Duration {
	switch {
	case w == r.chosen:
		return 0
	case !w.quality.Measured():
		return time.Hour
	case w.byTCP:
		return time.Minute + w.quality.Cost()
	}
	return 1 + w.quality.Cost()
}

// prospects are nodes that might be relays to p, the likeliest first: those that have a
// connection with it, then the nearest.
func (rl *relays) prospects(p *peer) []*peer {
	r := p.relaying()
	var out []*peer
	for _, c := range rl.order {
		if rl.canRelay(c, p) && !rl.now.Before(r.shunned[c.name]) && !slices.ContainsFunc(r.paths, func(w *relayPath) bool { return w.relay == c }) {
			out = append(out, c)
		}
	}
	distance := func(c *peer) time.Duration {
		d := time.Second
		if c.rtt() > 0 {
			d = c.rtt()
		}
		if !linked(rl.graph, c.name, p.name) {
			d += time.Minute
		}
		return d
	}
	slices.SortStableFunc(out, func(a, b *peer) int { return cmp.Compare(distance(a), distance(b)) })
	return out
}

func linked(g *graph.Graph, a, b node.Name) bool {
	_, there := g.Get(a, b)
	_, back := g.Get(b, a)
	return there && back
}

// meetNeighbours opens the UDP path to a few nodes that are connected with p, so that they can
// become relays: to two of them, and to the next two when these have had their time.
func (rl *relays) meetNeighbours(p *peer) {
	var list []*peer
	for e := range rl.graph.From(p.name) {
		c := rl.nodes[e.To]
		if c == nil || c == rl.self || !c.reachable() || c.confirmed() || !linked(rl.graph, e.To, p.name) || c.session().hopByHop() {
			continue
		}
		list = append(list, c)
	}
	turn := 2 * int(rl.now.Sub(p.talkBegan())/meetFor%4096)
	for i := range min(2, len(list)) {
		c := list[(turn+i)%len(list)]
		rl.paths.keepOpen(c)
		rl.paths.try(c, true)
	}
}

// choose decides which relay our packets for p take, if any.
func (rl *relays) choose(p *peer) {
	r := p.relaying()
	best := rl.best(p)
	if best != r.chosen {
		old := "no relay"
		if r.chosen != nil {
			old = string(r.chosen.relay.name)
		}
		if best != nil {
			rl.logf(2, Info, "packets for %s are now relayed by %s (%s, loss %.0f%%), not %s", p.name, best.relay.name, best.quality.Mean().Round(100*time.Microsecond), 100*best.quality.Loss(), old)
		} else {
			rl.logf(2, Info, "packets for %s are no longer relayed by %s", p.name, old)
		}
		r.chosen, r.since = best, rl.now
		rl.touch(p)
		if best == nil && !rl.isDirect(p) && rl.mayChoose(p) {
			rl.findRelays(p)
			for _, w := range r.paths { // which of the others works?
				rl.measurePath(p, w, 0)
			}
		}
	}
}

func (rl *relays) best(p *peer) *relayPath {
	r := p.relaying()
	if !rl.mayChoose(p) {
		return nil
	}
	if rl.isDirect(p) {
		r.judge()
	}
	var best *relayPath
	for _, w := range r.paths {
		if rl.works(p, w) && (best == nil || w.quality.Cost() < best.quality.Cost()) {
			best = w
		}
	}
	cur := r.chosen
	if cur != nil && !rl.works(p, cur) {
		cur = nil
	}
	// Between relays: stay, unless another one is better for certain.
	if cur != nil && best != cur && (best.quality.Count() < 3 || rl.now.Sub(r.since) < minStay || best.quality.Cost()+best.quality.Cost()/5+5*time.Millisecond >= cur.quality.Cost()) {
		best = cur
	}
	if best == nil {
		return nil
	}
	if !rl.isDirect(p) {
		if r.meta.quality.Measured() && p.conn() != nil && r.meta.quality.Missed() == 0 && clearlyBetter(&r.meta.quality, &best.quality) {
			return nil // our connection with it is
		}
		return best
	}
	return rl.orDirect(p, best)
}

// works tells whether packets for p can take w now.
func (rl *relays) works(p *peer, w *relayPath) bool {
	return w.quality.Measured() && w.quality.Missed() < givenUp && !w.byTCP && w.quality.Loss() < 0.5 && rl.canRelay(w.relay, p)
}

// judge decides whether the direct path is so bad that others are to be looked for.
func (r *relaying) judge() {
	switch s := &r.direct.quality; {
	case s.Count() < 3: // it has just been found
		r.bad = false
	case s.Loss() > badLoss || s.Missed() >= givenUp:
		r.bad = true
	case s.Loss() < goodLoss:
		r.bad = false
	}
}

// orDirect decides between the relay w and the direct path to p, which there is: it takes a
// clearly worse direct path to prefer a relay.
func (rl *relays) orDirect(p *peer, w *relayPath) *relayPath {
	r := p.relaying()
	s := &r.direct.quality
	switch {
	case r.bad && w.quality.Cost() < s.Cost() && w.quality.Loss() < s.Loss()/2:
		return w
	case r.bad && w == r.chosen && w.quality.Cost() < s.Cost()+s.Cost()/4:
		return w
	case s.Count() < 3:
		return nil
	case w == r.chosen && w.quality.Cost()+w.quality.Cost()/2 < s.Cost():
		return w
	case w.quality.Count() >= 3 && clearlyBetter(&w.quality, s):
		return w
	}
	return nil
}

// chosen is the path over a relay that was chosen, nil if none was.
func (p *peer) chosen() *relayPath {
	if p.contacted == nil {
		return nil
	}
	return p.contacted.relaying.chosen
}

// relay is the relay that was chosen, nil if none was.
func (p *peer) relay() *peer {
	if c := p.chosen(); c != nil {
		return c.relay
	}
	return nil
}

// lastSent is when we had a packet of our own for p last, zero: never.
func (p *peer) lastSent() time.Time {
	if p.contacted == nil {
		return time.Time{}
	}
	return p.contacted.relaying.own
}

// talkBegan is when we began to send packets of our own to p, after a pause.
func (p *peer) talkBegan() time.Time {
	if p.contacted == nil {
		return time.Time{}
	}
	return p.contacted.relaying.begun
}

// inTalk lists the nodes to which we have sent packets of our own lately.
func (rl *relays) inTalk() []*peer { return rl.talking }

// directQuality is how good the direct path to p is.
func (p *peer) directQuality() *quality.Path { return &p.relaying().direct.quality }

// chosenQuality is how good the path over the relay is that was chosen. There has to be one.
func (p *peer) chosenQuality() *quality.Path { return &p.chosen().quality }

// sweepTalking forgets the talks that have ended.
func (rl *relays) sweepTalking() {
	talking := rl.talking[:0]
	for _, p := range rl.talking {
		if rl.nodes[p.name] == p && p.reachable() && rl.now.Sub(p.relaying().own) <= keepTrying {
			talking = append(talking, p)
		} else {
			rl.forgetRelays(p)
		}
	}
	clear(rl.talking[len(talking):])
	rl.talking = talking
}

// relaying is how our packets for p are relayed.
func (p *peer) relaying() *relaying { return &p.contact().relaying }

package mesh

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/mesh/pmtu"
	"tincan/internal/mesh/quality"
)

// A path that dies is not announced. What shows it is silence: we send, and nothing comes
// back. The data plane sees that first (Silent). It may mean nothing, for some traffic needs
// no answer, so the node is suspected and probed: a few probes in quick succession, and the same to other
// addresses that it may have. If none is answered the path is given up, packets take
// another path, and probes go on until it answers again.
//
//	traffic ──► silent for 0.1 s ──► suspected: probes ──┬─► answered: the path works
//	                                                     ├─► only small ones, at once: its MTU has shrunk
//	                                                     ├─► only small ones, late: a queue is full
//	                                                     ├─► at another address: the peer has moved
//	                                                     └─► none: not reached by UDP for now
//
// How many probes it takes follows the loss that is seen, so that a lossy path is not given up
// for a dead one, and how long they are waited for follows the round trip time.

const (
	// minSilence is the shortest silence after which a node is suspected. It grows with
	// the round trip time.
	minSilence = 100 * time.Millisecond
	// suspectInterval is the least time between an answer and the next suspicion.
	suspectInterval = 200 * time.Millisecond
	// quickProbes is the time between two probes of a peer that suspects us, at most.
	quickProbes = 2 * minSpacing
	// minSpacing and maxSpacing bound the time between two probes of a suspicion.
	minSpacing, maxSpacing = 30 * time.Millisecond, 150 * time.Millisecond
	// minAnswer is how long the last probe of a suspicion has for its answer at least.
	minAnswer = 60 * time.Millisecond
	// minTries and maxTries bound the number of probes of a suspicion.
	minTries, maxTries = 4, 24
	// lossThreshold is the chance, which is accepted, that all probes of a suspicion get lost on a path that works.
	lossThreshold = 1e-5
	// lostBursts discovery requests follow each other at quickInterval when a path
	// was given up.
	lostBursts = 40
	// resumeWithin is how long what was known of a path that was given up stays good.
	resumeWithin = time.Minute
	// falseAlarm is how soon after it was given up a path shows by its answer that this
	// was wrong.
	falseAlarm = 500 * time.Millisecond
	// maxBackoff bounds how many more probes are sent after false alarms, as a power of two. The backoff is
	// lowered by one each backoffDecay.
	maxBackoff   = 3
	backoffDecay = time.Minute
	// proveInterval is how often the size in use is proved while large frames are sent.
	proveInterval = 400 * time.Millisecond
	// largeSize is the frame above which a path may treat frames otherwise than
	// small ones, in bytes.
	largeSize = 600
	// maxQueued is how long a full queue is taken for the reason why no frame of the size in use passes. In that
	// time at least one would have found room: of four times as many as the line takes, one in eight does at least.
	maxQueued = 10 * time.Second
	// maxQueuedByOthers is the same if we send so little that the queue must be full of what others send, as when
	// a TCP connection has stalled. More often than not it is no queue then, but a path that has become longer.
	maxQueuedByOthers = 500 * time.Millisecond
	// busySends is how often large frames are sent in a quarter of a second to fill a queue, at least.
	busySends = 8
	// maxFlights bounds the probes that are remembered until they are answered.
	maxFlights = 32
	// manySizes is how many sizes small probes have, one after the other. Late answers are not taken for early ones of
	// others.
	manySizes = 2 * maxFlights
)

// suspicion is the state of finding out whether a peer is still reached at its address.
type suspicion struct {
	began time.Time     // zero: there is none
	quiet time.Duration // how long there had been silence then, as far as that is known
	left  int           // probes still to be sent
	sent  int
	large bool // it is also about the size of frames
	own   bool // the silence was seen by us; else somebody or something hinted at it
	size  bool // it is about the size of frames alone: data still come
	want  int  // that size, if large

	small, big bool          // what was answered at the address in use
	best       int           // largest size that was answered there
	waited     time.Duration // sum of the round trip times of small ones
	answers    int           // how many there were

	alt     netip.AddrPort // another address that has answered, or another form
	altSock int
	altForm form
}

// outstanding is a probe that has not been answered.
type outstanding struct {
	addr netip.AddrPort
	size int
	form form
	sent time.Time
}

// resume is what was known of a path when it was given up.
type resume struct {
	at   time.Time
	addr netip.AddrPort
	pmtu pmtu.Search
}

// ---------------------------------------------------------------- what is measured

// probeSent remembers a probe.
func (r *udpPath) probeSent(now time.Time, to netip.AddrPort, size int, as form) {
	if len(r.outstanding) >= maxFlights {
		r.outstanding = slices.Delete(r.outstanding, 0, 1)
	}
	r.outstanding = append(r.outstanding, outstanding{to, size, as, now})
}

// probeAnswered takes note of an answer. Probes that were sent before it to the same address
// are lost; that counts only on a path that answers at all, as this one does.
func (r *udpPath) probeAnswered(now time.Time, from netip.AddrPort, size int, as form) {
	for i := len(r.outstanding) - 1; i >= 0; i-- {
		f := r.outstanding[i]
		if f.addr != from || f.size != size || f.form != as {
			continue
		}
		if from == r.addr {
			rtt := now.Sub(f.sent)
			r.rtt.Add(rtt)
			if size < largeSize && !r.ambiguous(i) {
				r.base.Add(now, rtt)
				r.counts.RTT.Add(rtt)
				if d := &r.suspicion; !d.began.IsZero() {
					d.waited, d.answers = d.waited+rtt, d.answers+1
				}
			}
			wait := r.rtt.Answer(minAnswer)
			for _, g := range r.outstanding[:i] {
				if r.confirmed && g.addr == from && g.form == as && g.size < largeSize && now.Sub(g.sent) > wait {
					r.loss += (1 - r.loss) / 16
					r.counts.Lost++
				}
			}
			r.loss -= r.loss / 16
		}
		r.outstanding = slices.DeleteFunc(r.outstanding, func(g outstanding) bool { return g.addr == from && g.form == as && !g.sent.After(f.sent) })
		return
	}
}

// ambiguous tells whether an answer to the probe at i may be one to an earlier probe.
func (r *udpPath) ambiguous(i int) bool {
	f := r.outstanding[i]
	return slices.ContainsFunc(r.outstanding[:i], func(g outstanding) bool { return g.addr == f.addr && g.size == f.size })
}

// tries is how many probes in a row must go unanswered to show that they are not just lost.
func (r *udpPath) tries() int {
	if r.loss < 0.02 {
		return minTries
	}
	n := int(math.Ceil(math.Log(lossThreshold) / math.Log(min(r.loss, 0.9))))
	return min(max(n, minTries), maxTries)
}

// spacing is the time between two probes of a suspicion.
func (r *udpPath) spacing() time.Duration { return min(max(r.rtt.Mean()/3, minSpacing), maxSpacing) }

// ---------------------------------------------------------------- silence

func (ps *paths) silent(e Silent) {
	p := ps.nodes[e.Node]
	if p == nil || p == ps.self || !p.reachable() {
		return
	}
	r := p.udp()
	if e.For >= r.rtt.Answer(minSilence) {
		r.suspicion.size = false
	}
	if e.For < r.rtt.Answer(minSilence) || ps.now.Sub(r.alive) < suspectInterval {
		return
	}
	if ps.suspect(p, true, ps.now.Sub(r.largeAt) < time.Second); r.suspicion.began.Equal(ps.now) {
		r.suspicion.quiet = e.For
	}
}

// heard: data came from p at its address, so it was only slow.
func (ps *paths) heard(e Heard) {
	p := ps.nodes[e.Node]
	if p == nil {
		return
	}
	if d := &p.udp().suspicion; d.own && !d.large {
		ps.decide(p)
	}
}

// large: while large frames are sent it is proved now and then that they pass.
func (ps *paths) large(e Large) {
	p := ps.nodes[e.Node]
	if p == nil || p == ps.self || !p.reachable() {
		return
	}
	r := p.udp()
	r.largeAt, r.largeSends = ps.now, e.Sends
	if e.Size >= r.largest || ps.now.Sub(r.largestAt) >= time.Second {
		r.largest, r.largestAt = e.Size, ps.now
	}
	if !r.confirmed || !r.pmtu.Fixed() || !r.suspicion.began.IsZero() || ps.cfg.NoUDPDiscovery ||
		ps.now.Sub(r.passed) < proveInterval || ps.now.Sub(r.proving) < proveInterval {
		return
	}
	ps.proveSize(p)
}

// inUse is the size of the largest frames that were sent lately; if there were none, of the largest that pass.
// Larger ones need not be asked about: on a line that is full of smaller ones they find no room.
func (r *udpPath) inUse(now time.Time) int {
	if now.Sub(r.largeAt) < time.Second && r.largest >= largeSize {
		return min(r.largest, r.pmtu.Passes())
	}
	return r.pmtu.Passes()
}

// mayBeQueued is how long a full queue is taken for the reason why no frame of the size in use passes.
func (r *udpPath) mayBeQueued(now time.Time) time.Duration {
	if now.Sub(r.largeAt) < time.Second && r.largeSends >= busySends {
		return maxQueued
	}
	return maxQueuedByOthers
}

// lack takes note that it is asked whether frames of the size in use pass.
func (r *udpPath) lack(now time.Time) {
	if r.lacking.IsZero() {
		r.lacking = now
	}
}

// proveSize asks whether frames of the size in use still pass.
func (ps *paths) proveSize(p *peer) {
	r := p.udp()
	r.proving = ps.now
	asked := ps.now
	r.lack(ps.now)
	ps.probe(p, r.addr, r.inUse(ps.now))
	ps.after(r.rtt.Answer(minAnswer)+minSpacing, func() {
		r := p.udp()
		if p.reachable() && r.confirmed && r.pmtu.Fixed() && r.proving == asked && r.passed.Before(asked) {
			before := r.suspicion.began
			if ps.suspect(p, true, true); r.suspicion.began != before {
				r.suspicion.size = true
			}
		}
	})
}

// probedBySuspect takes note of a small probe of p. Several in quick succession say that p suspects
// the path to us, so the one to p may not work either. So does one in another form than ours: p tries that then, or has taken it.
func (ps *paths) probedBySuspect(p *peer, as form) {
	r := p.udp()
	last := r.lastProbed
	r.lastProbed = ps.now
	if (ps.now.Sub(last) < quickProbes || as == formsOf(ps.env, p).other()) && ps.now.Sub(r.alive) > suspectInterval {
		ps.suspect(p, false, false)
	}
}

// suspect asks p whether it is still there. own tells that our own eyes saw its silence, large
// that frames of the size in use may be the only ones that are lost.
func (ps *paths) suspect(p *peer, own, large bool) {
	r := p.udp()
	if !r.confirmed || ps.cfg.NoUDPDiscovery || !p.session().ready() || !r.suspicion.began.IsZero() {
		return
	}
	if r.backoff > 0 && ps.now.Sub(r.gaveUp) > backoffDecay {
		r.backoff, r.gaveUp = r.backoff-1, ps.now
	}
	large = large && r.pmtu.Passes() >= largeSize
	r.suspicion = suspicion{began: ps.now, left: min(r.tries()<<r.backoff, maxTries), own: own, large: large, want: r.inUse(ps.now)}
	ps.probeSuspect(p)
}

// alternatives probes the paths that would take the place of the path to p, in the same time.
func (ps *paths) alternatives(p *peer) {
	for _, a := range ps.candidates(p) {
		if a != p.udp().addr {
			ps.probe(p, a, minProbe)
		}
	}
	ps.probeAs(formsOf(ps.env, p).other(), p, p.udp().addr, minProbe)
	if p.conn() != nil {
		ps.links.ask(p.conn())
	} else if hop := ps.nodes[p.path().NextHop]; hop != nil && hop != p && ps.now.Sub(hop.udp().alive) > suspectInterval {
		ps.links.ask(hop.conn())
		ps.suspect(hop, false, false)
	}
}

// probeSuspect sends the next probes of a suspicion.
func (ps *paths) probeSuspect(p *peer) {
	r := p.udp()
	d := &r.suspicion
	d.left--
	d.sent++
	size := p.session().minProbe() + r.smallSizes // the answer tells the size, and so which of them it answers
	r.smallSizes = (r.smallSizes + 1) % manySizes
	if !d.small || !d.large {
		ps.probe(p, r.addr, size)
	}
	if d.large && !d.big {
		r.lack(ps.now)
		ps.probe(p, r.addr, d.want)
		if d.sent%3 == 1 {
			for _, size := range r.pmtu.Ladder(ps.overhead(p)) {
				if size > d.best {
					ps.probe(p, r.addr, size)
				}
			}
		}
	}
	if d.sent%4 == 2 && !d.small { // the first probe has not been answered at once
		ps.alternatives(p)
	}
	began := d.began
	wait := r.spacing()
	switch {
	case d.left == 0:
		wait = r.rtt.Answer(minAnswer)
	case d.sent == 1 && !d.large: // mostly it is answered, and that is all
		wait = min(r.rtt.Answer(wait), maxSpacing)
	}
	due := ps.now.Add(wait)
	ps.timers.Set(due, func() {
		r := p.udp()
		switch d := &r.suspicion; {
		case d.began.IsZero() || d.began != began || !p.reachable() || !r.confirmed:
		case d.left > 0:
			ps.probeSuspect(p)
		case ps.now.Sub(due) > stalled: // the answers may wait to be read
			d.left = 1
			ps.probeSuspect(p)
		default:
			ps.conclude(p)
		}
	})
}

// confirmAlive takes note that a probe was answered by p, from the address and in the form in use or in another one.
func (ps *paths) confirmAlive(p *peer, inUse bool, from netip.AddrPort, sock, size int, as form) {
	r := p.udp()
	d := &r.suspicion
	if d.began.IsZero() {
		return
	}
	switch {
	case !inUse:
		if !d.alt.IsValid() {
			d.alt, d.altSock, d.altForm = from, sock, as
		}
		return
	case size >= d.want && size >= largeSize:
		d.big, d.small = true, true
	default:
		d.small, d.best = true, max(d.best, size)
	}
	if d.small && (d.big || !d.large) {
		ps.decide(p)
	}
}

// waited is the mean round trip time of the small probes that were answered since the suspicion began. If only such were
// whose time is not known, it is that of before.
func (r *udpPath) waited() time.Duration {
	if d := &r.suspicion; d.answers > 0 {
		return d.waited / time.Duration(d.answers)
	}
	return r.rtt.Mean()
}

// decide ends a suspicion: all is well.
func (ps *paths) decide(p *peer) { p.udp().suspicion = suspicion{} }

// conclude draws the conclusion when the probes of a suspicion have had their time.
func (ps *paths) conclude(p *peer) {
	r := p.udp()
	d, rtt := r.suspicion, r.waited()
	r.suspicion = suspicion{}
	switch {
	case d.small && r.base.Queued(rtt) && ps.now.Sub(r.lacking) < r.mayBeQueued(ps.now):
		ps.logf(5, Debug, "frames of %d bytes to %s are lost in a full queue", d.want, p.name)
	case d.small:
		ps.logf(2, Info, "frames of %d bytes no longer reach %s", d.want, p.name)
		r.pmtu.Shrunk(ps.now, d.want, d.best)
		ps.touch(p)
		ps.searchMTU(p)
	case d.size: // a queue is full; silence would have told of itself
	case d.alt.IsValid():
		ps.failovers.Add(ps.now.Sub(d.began) + d.quiet)
		ps.confirm(p, d.alt, d.altSock, d.altForm)
		ps.searchMTU(p)
	default:
		ps.failovers.Add(ps.now.Sub(d.began) + d.quiet)
		ps.giveUpUDP(p)
	}
}

// giveUpUDP has the packets for p take another path, and probes for this one in quick succession.
func (ps *paths) giveUpUDP(p *peer) {
	ps.logf(2, Info, "%s no longer answers by UDP", p.name)
	ps.goIdle(p)
	p.udp().burst = lostBursts
	ps.discover(p)
}

// goIdle lets go of the path to p without looking for it. Who has nothing to say to p leaves it in
// peace: the next packet asks.
func (ps *paths) goIdle(p *peer) {
	r := p.udp()
	r.resume = resume{at: ps.now, addr: r.addr, pmtu: r.pmtu}
	r.confirmed = false
	r.dead = true
	r.idle = true
	r.suspicion = suspicion{}
	r.gaveUp = ps.now
	r.pmtu.Reset()
	r.probeNow()
	ps.touch(p)
}

// resumed brings back what was known of the path when it answers again.
func (r *udpPath) resumed(now time.Time, addr netip.AddrPort) {
	was := r.resume
	r.resume, r.dead = resume{}, false
	if was.at.IsZero() || was.addr != addr || now.Sub(was.at) > resumeWithin {
		return
	}
	r.pmtu = was.pmtu
	if now.Sub(was.at) < falseAlarm && r.backoff < maxBackoff {
		r.backoff++
	}
}

// failoverTimes is how long it took until packets took another path, for the paths that were given up.
func (ps *paths) failoverTimes() quality.Histogram { return ps.failovers }

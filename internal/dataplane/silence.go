package dataplane

import (
	"context"
	"sync/atomic"
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/wire"
)

// A peer that receives datagrams and sends none may be down. For each peer to which datagrams
// are sent directly we record since when nothing has come back. The fast paths
// update this at most once per batch. One goroutine checks all peers, as long as one of them is
// silent, and reports to the protocol core.

const checkEvery = 25 * time.Millisecond

// silence is the state of dead-path detection for one peer. All times are those of [Plane.now].
type silence struct {
	since    atomic.Int64 // of the first unanswered datagram, 0: none
	large    atomic.Int32 // longest frame sent since the last report, in bytes, if above forward.LargeFrame
	sends    atomic.Int32 // how often such frames were sent since the last report
	reported atomic.Bool  // the silence was reported to the protocol core, and its end not yet

	silentReports, largeReports pacer
}

// sentTo notes that a frame of that many bytes goes directly to a peer.
func (p *Plane) sentTo(to *peer, now time.Duration, frame int) {
	s := &to.silence
	quiet := true
	if s.since.Load() == 0 {
		s.since.Store(int64(now))
		quiet = false
	}
	if frame > forward.LargeFrame {
		s.sends.Add(1)
		if int32(frame) > s.large.Load() {
			s.large.Store(int32(frame))
			quiet = false
		}
	}
	if !quiet && !p.watching.Load() && p.watching.CompareAndSwap(false, true) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// isProbeRequest reports whether plain, type and data of a record, is a probe request. Its sender may not
// receive our datagrams; anything else may be a reply.
func isProbeRequest(plain []byte) bool {
	return plain[0] == wire.TypeProbe && len(plain) > 1 && plain[1] == wire.ProbeRequest
}

// heardFrom notes that an authentic datagram came directly from a peer. One that is hidden while ours are not, or the other way
// round, does not end a silence that was reported: a filter may let pass only what looks like that.
func (p *Plane) heardFrom(from *peer, masked bool) {
	s := &from.silence
	if s.since.Load() == 0 || s.reported.Load() && masked != from.state.Load().masks() {
		return
	}
	s.since.Store(0)
	if s.reported.Load() && s.reported.CompareAndSwap(true, false) {
		p.cfg.Event(mesh.Heard{Node: from.name})
	}
}

// watch reports silent peers to the protocol core until ctx ends.
func (p *Plane) watch(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		tick.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		tick.Reset(checkEvery)
		for p.checkSilence(p.now()) {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}

// checkSilence reports silent peers, and returns whether to check again.
func (p *Plane) checkSilence(now time.Duration) bool {
	if p.checkOnce(now) {
		return true
	}
	p.watching.Store(false)
	// A peer may have become silent between the two lines above.
	return p.anySilent() && p.watching.CompareAndSwap(false, true)
}

func (p *Plane) anySilent() bool {
	for _, pr := range p.dir.Load().all {
		if pr.silence.since.Load() != 0 || pr.silence.large.Load() != 0 {
			return true
		}
	}
	return false
}

func (p *Plane) checkOnce(now time.Duration) (again bool) {
	for _, pr := range p.dir.Load().all {
		s := &pr.silence
		if size := s.large.Load(); size != 0 {
			again = true
			if !s.largeReports.tooSoon(now, forward.LargeEvery) {
				s.large.Store(0)
				sends := int(s.sends.Swap(0))
				p.event(&s.largeReports, now, forward.LargeEvery, func() mesh.Event {
					return mesh.Large{Node: pr.name, Size: p.probeSize(pr, int(size)), Sends: sends}
				})
			}
		}
		since := s.since.Load()
		if since == 0 {
			continue
		}
		silent := now - time.Duration(since)
		switch forward.JudgeSilence(silent) {
		case forward.SilenceOver:
			s.since.CompareAndSwap(since, 0)
			continue
		case forward.SilenceReport:
			if !s.silentReports.tooSoon(now, forward.SilentEvery) {
				s.reported.Store(true)
				p.event(&s.silentReports, now, forward.SilentEvery, func() mesh.Event { return mesh.Silent{Node: pr.name, For: silent} })
			}
		}
		again = true
	}
	return again
}

// probeSize is the size of the probe whose datagram is as long as that of the given frame.
func (p *Plane) probeSize(to *peer, frame int) int {
	if s := to.state.Load(); p.bridging || s == nil || s.Legacy != nil {
		return frame
	}
	return frame - ethernetLen // which is not carried
}

// reset clears the state of a peer whose path has changed.
func (s *silence) reset() {
	s.since.Store(0)
	s.large.Store(0)
	s.reported.Store(false)
}

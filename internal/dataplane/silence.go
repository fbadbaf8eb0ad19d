package dataplane

import (
	"context"
	"sync/atomic"
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/wire"
)

// Who gets datagrams from us and says nothing may be gone. For each peer to which datagrams
// go directly we remember since when it has said nothing in return. The fast paths
// write that down at most once a batch. One goroutine looks through it, as long as there is
// anything to see, and tells the protocol core.

const lookEvery = 25 * time.Millisecond

// silence is what is known of the answers of one peer. All times are those of [Plane.now].
type silence struct {
	since    atomic.Int64 // of the first datagram without an answer, 0: all is well
	large    atomic.Int32 // longest frame that was sent lately, in bytes, if above forward.LargeFrame
	sends    atomic.Int32 // how often such frames were sent since the last report
	reported atomic.Bool  // the protocol core was told of the silence, and not yet of its end

	told, grown pacer
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

// isQuestion tells whether plain, type and data of a record, is a probe that asks. Who asks may not
// hear us; all else may be an answer.
func isQuestion(plain []byte) bool {
	return plain[0] == wire.TypeProbe && len(plain) > 1 && plain[1] == wire.ProbeRequest
}

// heardFrom notes that an authentic datagram came directly from a peer.
func (p *Plane) heardFrom(from *peer) {
	s := &from.silence
	if s.since.Load() == 0 {
		return
	}
	s.since.Store(0)
	if s.reported.Load() && s.reported.CompareAndSwap(true, false) {
		p.cfg.Event(mesh.Heard{Node: from.name})
	}
}

// watch tells the protocol core of silence until ctx ends.
func (p *Plane) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		tick.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
		tick.Reset(lookEvery)
		for p.checkSilence(p.now()) {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}

// checkSilence reports what there is to report, and tells whether to look again.
func (p *Plane) checkSilence(now time.Duration) bool {
	if p.lookOnce(now) {
		return true
	}
	p.watching.Store(false)
	// Somebody may have come between the two lines above.
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

func (p *Plane) lookOnce(now time.Duration) (again bool) {
	for _, pr := range p.dir.Load().all {
		s := &pr.silence
		if size := s.large.Load(); size != 0 {
			again = true
			if !s.grown.quiet(now, forward.LargeEvery) {
				s.large.Store(0)
				sends := int(s.sends.Swap(0))
				p.event(&s.grown, now, forward.LargeEvery, func() mesh.Event {
					return mesh.Large{Node: pr.name, Size: p.asProbe(pr, int(size)), Sends: sends}
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
			if !s.told.quiet(now, forward.SilentEvery) {
				s.reported.Store(true)
				p.event(&s.told, now, forward.SilentEvery, func() mesh.Event { return mesh.Silent{Node: pr.name, For: silent} })
			}
		}
		again = true
	}
	return again
}

// asProbe is the size of the probe whose datagram is as long as that of a frame of that size.
func (p *Plane) asProbe(to *peer, frame int) int {
	if s := to.state.Load(); p.bridging || s == nil || s.Legacy != nil {
		return frame
	}
	return frame - ethernetLen // which is not carried
}

// forgive forgets the silence of a peer: it is reached in another way now.
func (s *silence) forgive() {
	s.since.Store(0)
	s.large.Store(0)
	s.reported.Store(false)
}

package sim

import (
	"time"

	"tincan/internal/forward"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// silence is what a host knows of the answers of another one.
type silence struct {
	since    time.Time // of the first datagram without an answer, zero: all is well
	reported bool      // the protocol core was told
	large    time.Time // when it was last told of large frames
	longest  int       // frame since then, in bytes, if large
	sends    int       // large frames since then
}

func (h *Host) silenceOf(n node.Name) *silence {
	s := h.silent[n]
	if s == nil {
		s = &silence{}
		h.silent[n] = s
	}
	return s
}

// sentTo notes that a frame of that many bytes goes directly to the node called n.
func (h *Host) sentTo(n node.Name, frame int) {
	s := h.silenceOf(n)
	now := h.w.Now
	if frame > forward.LargeFrame {
		s.longest, s.sends = max(s.longest, frame), s.sends+1
		if now.Sub(s.large) >= forward.LargeEvery {
			h.event(mesh.Large{Node: n, Size: s.longest - ethernetLen, Sends: s.sends}) // without Ethernet header
			s.large, s.longest, s.sends = now, 0, 0
		}
	}
	if !s.since.IsZero() {
		return
	}
	s.since = now
	run := h.run
	var look func()
	look = func() {
		if h.run != run || !h.Up || s.since != now {
			return
		}
		silent := h.w.Now.Sub(now)
		switch forward.JudgeSilence(silent) {
		case forward.SilenceOver:
			s.since = time.Time{}
			return
		case forward.SilenceReport:
			s.reported = true
			h.event(mesh.Silent{Node: n, For: silent})
		}
		h.w.After(forward.SilentEvery, look)
	}
	h.w.After(forward.SilentAfter, look)
}

// heardAgain notes that an authentic datagram, hidden by a mask or not, came directly from another host.
func (h *Host) heardAgain(from *Host, masked bool) {
	n := from.Name
	s := h.silenceOf(n)
	if s.since.IsZero() || h.peers[n].Addr != from.outside() || s.reported && masked != (h.peers[n].Mask != nil) {
		return
	}
	s.since = time.Time{}
	if s.reported {
		s.reported = false
		h.event(mesh.Heard{Node: n})
	}
}

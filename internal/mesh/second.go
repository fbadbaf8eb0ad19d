package mesh

import (
	"slices"
	"time"

	"tincan/internal/hybrid"
	"tincan/internal/mask"
	"tincan/internal/mesh/timer"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

// The second key exchange (package hybrid, decision 039) follows each exchange of SPTPS with a node that
// announces it, by the same messages (ANS_KEY). The responder of the session begins. While it has not succeeded for the
// first time in a session, packets wait for its keys if these will be post-quantum; if nobody answers for handshakeTimeout
// they are protected by the keys of SPTPS, unless the configuration requires others. That is shown.

// secondEvery is the longest time between two attempts at the second exchange.
const secondEvery = time.Minute

// secondState is the second key exchange of a session.
type secondState struct {
	wants  *sptps.Hybrid // what we have announced
	since  time.Time     // when it began in this session, zero: none is under way
	first  time.Time     // since when none has succeeded, in this session and those just before it
	tries  int           // repetitions so far
	timer  *timer.Timer  // of the next one
	failed bool          // there was one that nobody answered, and none that has succeeded since
}

// beginSecond: an exchange of SPTPS has succeeded.
func (s *sptpsSession) beginSecond() {
	s.endSecond()
	if _, able := s.active.Hybrid(); !able {
		return
	}
	s.second.since = s.ss.now
	if s.second.first.IsZero() {
		s.second.first = s.ss.now
	}
	s.offer()
	s.awaitSecond()
}

// endSecond: nothing is awaited any more.
func (s *sptpsSession) endSecond() {
	s.ss.timers.Cancel(s.second.timer)
	s.second.timer, s.second.since, s.second.tries = nil, time.Time{}, 0
}

// offer sends, if we are the responder, the first message of the second exchange.
func (s *sptpsSession) offer() {
	if s.initiator {
		return
	}
	record, err := s.active.Offer()
	if err != nil {
		s.ss.logf(0, Error, "the second key exchange with %s: %v", s.p.name, err)
		return
	}
	s.answer(record)
}

// awaitSecond repeats our part of the second exchange if it does not succeed: after 2, 4 and 8 s, and then each
// minute at least, as long as there are packets for the node. If nobody has answered by then there is a new session:
// perhaps the node does not have this one.
func (s *sptpsSession) awaitSecond() {
	active := s.active
	s.second.timer = s.ss.after(min(repeatAfter<<min(s.second.tries, 8), secondEvery), func() {
		s.second.timer = nil
		if s.active == active && !s.second.since.IsZero() && s.p.reachable() {
			s.repeatSecond()
		}
	})
}

func (s *sptpsSession) repeatSecond() {
	ss, p := s.ss, s.p
	late := ss.now.Sub(s.second.first) > handshakeTimeout
	restart := false
	if _, _, ok := s.active.Data(); late && !ok && !s.second.failed {
		s.second.failed = true
		ss.logf(0, Warning, "%s announces the second key exchange, but does not take part: somebody may suppress it", p.name)
		ss.touch(p)
		restart = ss.now.Sub(s.second.since) > handshakeTimeout
		ss.paths.formsChanged(p)
	}
	if late && ss.now.Sub(p.lastActive()) >= keepTrying {
		return // the next packet goes on with it, see resumeSecond
	}
	s.second.tries++
	switch record, err := s.active.Unconfirmed(); {
	case err == nil && record != nil:
		s.answer(record)
	case restart || late && s.initiator: // only the other end could begin, and it may have given up
		s.start()
	default:
		s.offer()
	}
	s.awaitSecond()
}

// resumeSecond goes on with a second exchange that was given up since there were no packets.
func (s *sptpsSession) resumeSecond() {
	if !s.second.since.IsZero() && s.second.timer == nil {
		s.repeatSecond()
	}
}

// secondDone: there are new keys for packets.
func (s *sptpsSession) secondDone() {
	s.endSecond()
	s.second.failed, s.second.first = false, time.Time{}
	k := s.protection()
	kind := "classical"
	if k.PostQuantum {
		kind = "post-quantum"
	}
	s.ss.logf(3, Debug, "packets for %s: %s, %s keys", s.p.name, k.Cipher, kind)
	s.ss.touch(s.p)
	if s.newMask { // the node has ours by now
		s.newMask = false
		s.ss.paths.formsChanged(s.p)
	}
}

// learnMask takes the mask that the node has told in a second exchange, if it is another one.
func (s *sptpsSession) learnMask() {
	key := s.active.Mask()
	if key == nil || s.hides != nil && s.hidesKey == *key {
		return
	}
	s.hides, s.hidesKey, s.newMask = mask.New(*key), *key, true
	s.ss.touch(s.p)
}

// mask is with what datagrams to the node are hidden, nil: they cannot be. pending says that this will be known after the second
// exchange, which is under way.
func (s *sptpsSession) mask() (m *mask.Mask, pending bool) {
	return s.hides, s.active != nil && s.active.Masking() && s.hides == nil && !s.second.failed
}

// next is the state for a new session. Whether the exchange succeeded lately is not forgotten.
func (s *secondState) next(wants *sptps.Hybrid, now time.Time) secondState {
	n := secondState{wants: wants, failed: s.failed}
	if now.Sub(s.first) < 2*secondEvery {
		n.first = s.first
	}
	return n
}

// restrict has classical keys used for records of our own protocols only, if post-quantum ones are required.
func (s *sptpsSession) restrict() {
	if s.active == nil {
		return
	}
	least := byte(0)
	if s.ss.postQuantum(s.p.host()) == hybrid.Require {
		least = wire.TypeProbe
	}
	s.active.Tunnel().Restrict(least)
	if data, keys, ok := s.active.Data(); ok && !keys.PostQuantum {
		data.Restrict(least)
	}
}

// hopeless tells whether packets wait for keys that will not come.
func (s *sptpsSession) hopeless() bool {
	if !s.held() {
		return false
	}
	postQuantum, able := s.active.Hybrid()
	return !able || !postQuantum
}

// protection is what protects packets, if there is a session.
func (s *sptpsSession) protection() Protection {
	if s.active == nil {
		return Protection{}
	}
	if _, keys, ok := s.active.Data(); ok {
		return Protection{Cipher: keys.Cipher, PostQuantum: keys.PostQuantum}
	}
	return Protection{Cipher: hybrid.Stock}
}

// held tells whether packets have to wait for other keys than those that there are.
func (s *sptpsSession) held() bool {
	if s.active == nil || s.protection().PostQuantum {
		return false
	}
	if s.ss.postQuantum(s.p.host()) == hybrid.Require {
		return true
	}
	_, _, done := s.active.Data()
	postQuantum, able := s.active.Hybrid()
	return able && postQuantum && !done && !s.second.failed
}

// whyStock is why packets are not protected by what we would like: one of the codes of reasons, "" if they are.
func (s *sptpsSession) whyStock() string {
	if s.active == nil || s.second.wants == nil {
		return ""
	}
	postQuantum, able := s.active.Hybrid()
	_, _, done := s.active.Data()
	switch {
	case !able:
		return stockOnly
	case !done && s.second.failed:
		return WhyNoSecond
	case !done:
		return WhyHandshake
	case s.second.wants.PostQuantum && !postQuantum:
		return notWanted
	}
	return ""
}

// wantsOther tells whether the configuration has another wish than the session was made with.
func (s *sptpsSession) wantsOther() bool {
	now, was := s.ss.hybridInSession(s.p.host()), s.second.wants
	if now == nil || was == nil {
		return now != was
	}
	sameMask := now.Mask == was.Mask || now.Mask != nil && was.Mask != nil && *now.Mask == *was.Mask
	return !sameMask || now.PostQuantum != was.PostQuantum || !slices.Equal(now.Costs, was.Costs)
}

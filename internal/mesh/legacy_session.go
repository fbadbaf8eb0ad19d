package mesh

import (
	"errors"
	"time"

	"tincan/internal/legacy"
	"tincan/internal/mask"
	"tincan/internal/wire"
)

const (
	// reqKeyInterval is the least time between two requests for the key of a node
	// of tinc 1.0. It is also the time that a node may take to use a new key of ours.
	reqKeyInterval = 10 * time.Second
	// unsolicited is how long a neighbour has to send its key unasked, as all do.
	unsolicited = time.Second
	// minLegacyProbe is the size of the smallest probe of tinc 1.0, in bytes of frame.
	minLegacyProbe = 64
	// legacyWindow is the default of ReplayWindow.
	legacyWindow = 4096
)

// legacySession is what protects packets between us and a node of tinc 1.0: a key for
// each direction, which the receiver has made. Each ANS_KEY brings a new one.
type legacySession struct {
	ss   *sessions
	p    *peer
	link *legacy.Link

	told   time.Time     // when our key was last sent
	mayAsk time.Time     // when we may ask for the key of the node
	asked  bool          // and have done so
	policy legacy.Policy // by which its key was judged
	warned string        // of what about its last key, "" if that is good
}

// sessionFits tells whether the session of p is of the kind that it is to have.
func (ss *sessions) sessionFits(p *peer) bool {
	return p.keys.session.hopByHop() == ss.keyring.speaksLegacy(p)
}

func newLegacySession(ss *sessions, p *peer) *legacySession {
	window := ss.cfg.ReplayWindow
	if window == 0 {
		window = legacyWindow
	}
	return &legacySession{ss: ss, p: p, link: legacy.NewLink(max(window, 0))}
}

func (s *legacySession) hopByHop() bool { return true }
func (s *legacySession) ready() bool    { return s.link.CanSend() }
func (s *legacySession) pending() bool  { return s.asked && !s.link.CanSend() }

// inVain: a relay answers in the place of the node, which proves nothing.
func (s *legacySession) prove()        {} // nothing in it is proof
func (s *legacySession) minProbe() int { return minLegacyProbe }

func (s *legacySession) protection() Protection { return Protection{} }
func (s *legacySession) held() bool             { return false }
func (s *legacySession) whyStock() string       { return "" }

// mask: tinc 1.0 knows nothing of that.
func (s *legacySession) mask() (m *mask.Mask, pending bool) { return nil, false }

func (s *legacySession) suite() legacy.Suite {
	suite, _ := s.link.SendSuite()
	return suite
}

// onNeighbourUp sends our key at once, as all nodes do.
func (s *legacySession) onNeighbourUp(*conn) {
	s.mayAsk = s.ss.now.Add(unsolicited)
	s.begin()
}

// begin sends our key, and asks for that of the node, if it has not been done. Without
// an RSA key we do not take part: packets go over meta connections.
func (s *legacySession) begin() {
	ss, p := s.ss, s.p
	if !ss.keyring.rsaLogin(p) || !p.reachable() {
		return
	}
	if !s.link.CanReceive() {
		s.tell()
	}
	if s.link.CanSend() || ss.now.Before(s.mayAsk) {
		return
	}
	s.mayAsk, s.asked = ss.now.Add(reqKeyInterval), true
	ss.reschedule(p)
	ss.reach.route(p, wire.ReqKey{From: ss.cfg.Name, To: p.name, Sub: wire.SubNone}.Append(nil))
}

// tell makes a new key for what the node sends to us, and tells it (tinc 1.0 ANS_KEY).
func (s *legacySession) tell() {
	ss, p := s.ss, s.p
	suite := ss.cfg.Suite
	key, err := s.link.NewReceiveKey(ss.deps.Secrets, suite)
	if err != nil {
		ss.logf(0, Error, "could not make a key for %s: %v", p.name, err)
		return
	}
	s.told = ss.now
	if ss.keysExpire.IsZero() { // not in all nodes at the same moment after a common start
		ss.keysExpire = ss.now.Add(ss.cfg.KeyExpire - ss.jitter(ss.cfg.KeyExpire/8+1))
		ss.timers.Set(ss.keysExpire, ss.expireKeys)
	}
	ss.reach.route(p, wire.AnsKey{
		From: ss.cfg.Name, To: p.name, Key: key,
		Cipher: suite.Cipher, Digest: suite.Digest, MACLen: suite.MACLen, Compression: suite.Compression,
	}.Append(nil))
}

// reqKey answers with a new key: the old one may never have arrived.
func (s *legacySession) reqKey(c *conn, r wire.ReqKey) {
	ss, p := s.ss, s.p
	switch {
	case r.Sub != wire.SubNone:
		ss.logf(3, Debug, "%s asks for a session, though it is said to speak only the protocol of tinc 1.0", p.name)
	case !ss.keyring.rsaLogin(p):
		ss.logf(2, Info, "%s asks for a key of the protocol of tinc 1.0, for which its RSA key is not here", p.name)
	case !ss.startAllowed(p, ss.keyring.leadsTo(c, p)):
		ss.logf(2, Warning, "%s asks for keys too often", p.name)
	default:
		s.tell()
	}
}

// ansKey takes the key by which the node wants to receive. One that cannot be used leaves us
// without: the packets go over meta connections.
func (s *legacySession) ansKey(_ *conn, r wire.AnsKey) {
	ss, p := s.ss, s.p
	if !ss.keyring.rsaLogin(p) {
		return
	}
	had := s.link.CanSend()
	s.asked, s.policy = false, ss.keyring.policy(p)
	suite := legacy.Suite{Cipher: r.Cipher, Digest: r.Digest, MACLen: r.MACLen, Compression: r.Compression}
	if err := s.link.SetSendKey(r.Key, suite, s.policy); err != nil {
		s.refused(err)
		return
	}
	s.warned, s.mayAsk = "", ss.now
	ss.logf(3, Debug, "%s has sent a new key", p.name)
	if addr, ok := r.Addr.Addr(); ok && r.HasAddr && !p.confirmed() && ss.addresses.believable(addr) {
		p.udp().told(addr) // where a relay sees it
		ss.paths.toldAddress(p, addr)
	}
	ss.touch(p)
	if !had {
		p.udp().probeNow()
		ss.paths.try(p, true)
	}
}

// refused: the node wants what we do not do. Asking again would not change that.
func (s *legacySession) refused(err error) {
	ss, p := s.ss, s.p
	s.mayAsk = ss.now.Add(ss.cfg.KeyExpire)
	ss.touch(p)
	if s.warned == err.Error() {
		return
	}
	s.warned = err.Error()
	var weak *legacy.ErrWeak
	if errors.As(err, &weak) {
		ss.logf(0, Warning, "%s wants to receive with %s, which is too weak: its packets go over TCP; "+
			"change that on %s, or allow it with %q in its host file", p.name, weak.What, p.name, weak.Setting)
		return
	}
	ss.logf(1, Warning, "the key that %s sent cannot be used, its packets go over TCP: %v", p.name, err)
}

// keyChanged: the node has dropped the key that we have (tinc 1.0 KEY_CHANGED). To a
// neighbour it sends the new one unasked.
func (s *legacySession) keyChanged() {
	s.link.DropSendKey()
	s.asked = false
	if s.p.conn() != nil || s.mayAsk.After(s.ss.now) {
		s.mayAsk = s.ss.now.Add(unsolicited)
	}
	s.ss.touch(s.p)
}

// reconfigured asks for the key of the node again if other weak choices are allowed now.
func (s *legacySession) reconfigured() {
	if policy := s.ss.keyring.policy(s.p); policy != s.policy {
		s.policy, s.warned = policy, ""
		s.link.DropSendKey()
		s.asked, s.mayAsk = false, s.ss.now
	}
}

func (s *legacySession) beginDue() time.Time {
	switch {
	case !s.ss.keyring.rsaLogin(s.p), s.link.CanReceive() && s.link.CanSend():
		return time.Time{}
	case !s.link.CanReceive():
		return s.ss.now
	}
	return later(s.mayAsk, s.ss.now)
}

// checkDue: so many packets that a key is worn out come in no less than several minutes.
func (s *legacySession) checkDue() time.Time {
	if !s.link.CanReceive() {
		return time.Time{}
	}
	return s.ss.now.Add(time.Minute)
}

func (s *legacySession) check() {
	if s.link.Expired() {
		s.tell()
	}
}

// undecodable: our key may have been lost on its way.
func (s *legacySession) undecodable(count int) {
	switch {
	case !s.ss.keyring.rsaLogin(s.p) || s.link.CanReceive() && (count < undecodableLimit || s.ss.now.Sub(s.told) < reqKeyInterval):
	case s.ss.startAllowed(s.p, true):
		s.ss.logf(2, Info, "%d packets of %s in a row could not be decrypted; sending it a new key", count, s.p.name)
		s.tell()
	}
}

// publish: where nobody searches for the path MTU, tinc 1.0 uses UDP untried.
func (s *legacySession) publish(st *PeerState) {
	st.Legacy, st.PassOnly = s.link, s.ss.keyring.passOnly(s.p)
	if st.PassOnly {
		st.MinMTU = 0
		return
	}
	o := wire.Options(st.Options)
	switch {
	case s.ss.cfg.TCPOnly || o.Has(wire.TCPOnly):
		st.MinMTU = 0
	case !o.Has(wire.PMTUDiscovery) && st.Addr.IsValid() && !s.p.dead():
		st.MinMTU = st.MTU
	}
}

// largestFrame tries: the cipher fills up blocks.
func (s *legacySession) largestFrame(payload int) int {
	for n := payload; n > 0; n-- {
		if s.link.SealedLen(n) <= payload {
			return n
		}
	}
	return 0
}

// expireKeys drops the keys that we have given to nodes of tinc 1.0 when their time has come, and
// says so (tinc 1.0 KeyExpire). Neighbours and those we talk to get new ones at once.
func (ss *sessions) expireKeys() {
	ss.keysExpire = time.Time{}
	given := false
	var inUse []*legacySession
	for _, p := range ss.order {
		s, ok := p.keys.session.(*legacySession)
		if !ok || !s.link.CanReceive() {
			continue
		}
		s.link.DropReceiveKey()
		given = true
		if p.conn() != nil || ss.now.Sub(p.lastActive()) < keepTrying {
			inUse = append(inUse, s)
		}
	}
	if !given {
		return
	}
	ss.logf(2, Info, "renewing the keys of the protocol of tinc 1.0")
	ss.links.flood(nil, string(wire.KeyChanged{Nonce: ss.nonce(), Origin: ss.cfg.Name}.Append(nil)))
	for _, s := range inUse {
		s.tell()
	}
}

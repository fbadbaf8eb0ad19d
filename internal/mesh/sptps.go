package mesh

import (
	"encoding/binary"
	"time"

	"tincan/internal/b64"
	"tincan/internal/compress"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

// noLegacyPart stands in the cipher, digest and MAC fields of ANS_KEY.
const noLegacyPart = -1

const (
	// handshakeTimeout is how long a handshake may take before it is begun again.
	handshakeTimeout = 10 * time.Second
	// repeatAfter is how long a message of a handshake may be without an answer before it is sent
	// once more. A connection that ends takes along what is on its way.
	repeatAfter = 2 * time.Second
	// maxRecords in one direction: the record number has 32 bits and must not wrap.
	maxRecords = 1 << 31
	// undecodableLimit is how many records in a row may fail before the
	// session is begun again. A single one may be forged or late.
	undecodableLimit = 5
	// doubtfulTries handshakes that fail make a learned key doubtful.
	doubtfulTries = 2
)

// sptpsSession is the SPTPS datagram session with a node. While a new handshake is under way
// the old keys stay in use, so nobody can interrupt traffic by beginning one.
type sptpsSession struct {
	m *Mesh
	p *peer

	active    *sptps.Datagram // established, nil if none
	born      time.Time       // when active was established or last rekeyed, or that was given up
	initiator bool            // we began it and are the one to renew its keys

	outbound     *sptps.Datagram // handshake that we began
	outboundKey  keys.PublicKey  // of the node, in it
	tries        int             // handshakes that we began since the last one that succeeded
	lastSent     []byte          // our last message in it
	sent         time.Time       // when that was sent last
	answered     bool            // outbound has had an answer
	inbound      *sptps.Datagram // handshake that the peer began
	inboundKey   keys.PublicKey  // of the node, in it
	over         ConnID          // where its start came from
	lastReceived string          // the last record of the peer in it, in base64
	reply        []byte          // our answer to that
	begun        time.Time       // of the last start in either direction

	early     string // a start of the peer that came before its key was known
	earlyOver ConnID
	earlyAt   time.Time

	compression int // level that the peer wants to receive

	rekeying time.Time // when a rekey was begun, zero if none is under way
}

// onNeighbourUp makes a session with a new neighbour before there is traffic, so that the
// first packet finds one. The side that dialled is first; if both began at the same
// moment, one of the handshakes would be in vain.
func (s *sptpsSession) onNeighbourUp(c *conn) {
	m, p := s.m, s.p
	delay := time.Duration(0)
	if !c.dialled() {
		delay = 2 * time.Second
	}
	m.timers.cancel(p.startTimer)
	p.startTimer = m.after(delay, func() {
		if p.conn == c {
			m.try(p, true)
		}
	})
}

func (s *sptpsSession) hopByHop() bool { return false }
func (s *sptpsSession) ready() bool    { return s.active != nil }
func (s *sptpsSession) pending() bool  { return s.outbound != nil || s.inbound != nil }
func (s *sptpsSession) keyChanged()    {} // it has keys of its own
func (s *sptpsSession) reconfigured()  {}
func (s *sptpsSession) minProbe() int  { return minProbe }

func (s *sptpsSession) suite() legacy.Suite { return legacy.Suite{Compression: s.compression} }

func (s *sptpsSession) publish(st *PeerState) {
	if s.active != nil {
		st.Tunnel, st.Compression = s.active.Tunnel(), s.compression
	}
}

// largestFrame: a record in a datagram has a number, a type and a tag, and the ids of
// both nodes before it.
func (s *sptpsSession) largestFrame(payload int) int {
	const record, ids = 21, 12
	return payload - record - ids
}

// begin begins a session if there is none and none is under way.
func (s *sptpsSession) begin() {
	switch {
	case s.active != nil:
	case s.pending() && s.m.now.Sub(s.begun) < handshakeTimeout:
		s.repeat()
	default:
		s.start()
	}
}

// repeat sends our last message in a handshake once more if nobody has answered it: after 2, 4 and 8 s. It
// is the same one, and so is the answer, so any of each fit. A tinc 1.1 that gets two starts answers both,
// and goes on with the later one.
func (s *sptpsSession) repeat() {
	if s.outbound != nil && s.inbound == nil && s.m.now.Sub(s.sent) >= max(repeatAfter, s.sent.Sub(s.begun)) {
		s.sent = s.m.now
		s.m.route(s.p, s.lastSent)
	}
}

// heardBefore tells whether the peer repeats what it said last, since it has not had our answer. It gets
// that once more.
func (s *sptpsSession) heardBefore(data string, leads bool) bool {
	if s.lastReceived != data || s.reply == nil {
		return false
	}
	if s.m.startAllowed(s.p, leads) {
		s.m.route(s.p, s.reply)
	}
	return true
}

// start sends the first handshake record (REQ_KEY 15).
func (s *sptpsSession) start() {
	m, p := s.m, s.p
	if !p.reachable || p == m.self {
		return
	}
	if why := m.whyNotLegacy(p); why != "" {
		m.limitExceeded(nil, "packets for %s: %s", p.name, why)
		return
	}
	key := m.sessionKey(p)
	if key == nil {
		m.askKey(p)
		return
	}
	if s.doubtful() {
		m.askKey(p)
	}
	d, kex, err := sptps.NewDatagram(sptps.Config{
		Initiator: true, Key: m.cfg.Key, Peer: *key,
		Label: sptps.LabelUDP(m.cfg.Name, p.name), Rand: m.deps.Secrets, Window: m.cfg.ReplayWindow,
	})
	if err != nil {
		m.logf(0, Error, "could not start a session with %s: %v", p.name, err)
		return
	}
	s.outbound, s.outboundKey, s.inbound, s.begun, s.sent, s.answered = d, *key, nil, m.now, m.now, false
	s.tries++
	s.lastSent = wire.ReqKey{From: m.cfg.Name, To: p.name, Sub: wire.SubStart, Data: b64.Encode(kex)}.Append(nil)
	m.logf(3, Debug, "starting a session with %s", p.name)
	m.route(p, s.lastSent)
}

// whyNotLegacy tells why nothing is sent to p, which is said to speak only the protocol of tinc 1.0,
// or as which we speak only that. "": it is said to speak SPTPS, and so do we.
func (m *Mesh) whyNotLegacy(p *peer) string {
	switch {
	case m.cfg.Key != nil && p.minor() >= 2, p.session.hopByHop() && m.rsaLogin(p):
		return ""
	case m.cfg.RSAKey == nil:
		return "only the protocol of tinc 1.0 is possible with it, for which this node has no RSA key"
	case m.cfg.Key != nil && p.key() != nil:
		return "it is said to speak only the protocol of tinc 1.0, but it has an Ed25519 key"
	}
	return "it is said to speak only the protocol of tinc 1.0, for which its host file with its RSA key has to be here"
}

// askForKey sends the question for the public key of p (REQ_KEY 19).
func (m *Mesh) askForKey(p *peer) {
	m.route(p, wire.ReqKey{From: m.cfg.Name, To: p.name, Sub: wire.SubAskKey}.Append(nil))
}

// reqKey handles a REQ_KEY of the node for us.
func (s *sptpsSession) reqKey(c *conn, r wire.ReqKey) {
	m, p := s.m, s.p
	switch r.Sub {
	case wire.SubStart:
		s.peerStarts(c, r.Data)
	case wire.SubAskKey:
		m.route(p, wire.ReqKey{From: m.cfg.Name, To: p.name, Sub: wire.SubKey, Data: m.cfg.Key.Public().String()}.Append(nil))
	case wire.SubKey:
		s.toldKey(c, r.Data)
	case wire.SubNone:
		m.logf(2, Info, "%s asks for a key of the protocol of tinc 1.0, though it speaks a newer one", p.name)
	}
}

// toldKey: somebody says what the key of the node is.
func (s *sptpsSession) toldKey(c *conn, text string) {
	m, p := s.m, s.p
	if p.askedKey.IsZero() {
		return
	}
	k, err := keys.ParsePublicKey(text)
	if err == nil {
		err = k.Valid()
	}
	if err != nil {
		m.logf(1, Warning, "%s sent an unusable public key: %v", p.name, err)
		return
	}
	m.claimed(c, p, k)
}

// tryKey begins a session with a key that has just been claimed for the node: by an answer to the start that we
// could not answer before, or by one of our own.
func (s *sptpsSession) tryKey() {
	c, data := s.m.conns[s.earlyOver], s.early
	s.early = ""
	if data != "" && c != nil && s.m.now.Sub(s.earlyAt) < handshakeTimeout {
		s.peerStarts(c, data)
		return
	}
	s.start()
}

// peerStarts handles a start message. If both sides began at the same time, the one with
// the smaller name goes on; tinc would have both yield, and neither succeed.
func (s *sptpsSession) peerStarts(c *conn, data string) {
	m, p := s.m, s.p
	key := m.sessionKey(p)
	if key == nil {
		s.early, s.earlyOver, s.earlyAt = data, c.id, m.now
		m.askKey(p)
		return
	}
	leads := m.leadsTo(c, p)
	if s.inbound != nil && s.over != c.id && !leads && m.now.Sub(s.begun) < repeatAfter {
		m.logf(3, Debug, "ignoring a session request from %s that arrived from %s", p.name, c)
		return
	}
	kex, err := b64.Decode(data)
	if err != nil {
		m.logf(2, Warning, "malformed session request from %s", p.name)
		return
	}
	crossing := s.outbound != nil && !s.answered && m.now.Sub(s.begun) < handshakeTimeout
	if crossing && m.cfg.Name < p.name {
		m.logf(3, Debug, "%s started a session at the same time; continuing with ours", p.name)
		s.repeat()
		return
	}
	if s.heardBefore(data, leads) {
		return
	}
	if !m.startAllowed(p, leads) {
		m.logf(2, Warning, "%s starts sessions too often", p.name)
		return
	}
	d, own, err := sptps.NewDatagram(sptps.Config{
		Key: m.cfg.Key, Peer: *key,
		Label: sptps.LabelUDP(p.name, m.cfg.Name), Rand: m.deps.Secrets, Window: m.cfg.ReplayWindow,
	})
	if err != nil {
		m.logf(0, Error, "could not answer %s: %v", p.name, err)
		return
	}
	out, _, err := d.Handshake(kex)
	if err != nil {
		m.logf(2, Warning, "bad session request from %s: %v", p.name, err)
		return
	}
	s.inbound, s.inboundKey, s.lastReceived, s.over = d, *key, data, c.id
	if !crossing && (leads || s.outbound == nil || m.now.Sub(s.begun) >= handshakeTimeout) {
		s.outbound, s.begun = nil, m.now
	}
	s.reply = s.answer(own)
	s.answer(out...)
	m.mtuInfoTo(p)
	m.udpInfoTo(p)
}

// answer sends handshake records (ANS_KEY) and returns the last message.
func (s *sptpsSession) answer(records ...[]byte) (last []byte) {
	m, p := s.m, s.p
	for _, r := range records {
		last = wire.AnsKey{
			From: m.cfg.Name, To: p.name, Key: b64.Encode(r),
			Cipher: noLegacyPart, Digest: noLegacyPart, MACLen: noLegacyPart, Compression: m.cfg.Compression,
		}.Append(nil)
		m.route(p, last)
	}
	return last
}

// ansKey handles an ANS_KEY of the node for us. What it says beside the record counts only if the record
// has proven that the node has sent it.
func (s *sptpsSession) ansKey(c *conn, r wire.AnsKey) {
	m, p := s.m, s.p
	if !compress.Supported(r.Compression) {
		m.logf(2, Warning, "%s wants the unknown compression level %d", p.name, r.Compression)
		return
	}
	record, err := b64.Decode(r.Key)
	if err != nil || len(record) < 5 {
		m.logf(2, Warning, "unreadable handshake record from %s", p.name)
		return
	}
	if s.heardBefore(r.Key, m.leadsTo(c, p)) {
		return
	}
	if !s.handshake(record, r) {
		return
	}
	if addr, ok := r.Addr.Addr(); r.HasAddr && ok {
		m.toldAddress(p, addr)
	}
	m.mtuInfoTo(p)
}

// handshake feeds a record, which came in r, to the handshake that it belongs to. It reports whether that
// is complete now: whoever has sent the record has the key of the node.
func (s *sptpsSession) handshake(record []byte, r wire.AnsKey) (done bool) {
	m, p := s.m, s.p
	d := s.active
	var other *sptps.Datagram
	if n := binary.BigEndian.Uint32(record); n < 2 { // the first two records of a session are clear
		d, other = s.outbound, s.inbound
		// When both have begun, record 0 says that the peer has yielded and
		// answers our start, record 1 that it goes on with its own.
		if d == nil || s.inbound != nil && n == 1 {
			d, other = s.inbound, s.outbound
		}
	}
	if d == nil {
		m.logf(3, Debug, "handshake record from %s without a session", p.name)
		return false
	}
	out, done, err := d.Handshake(record)
	if err != nil && other != nil { // one of the two may have been begun by somebody else in its name
		d = other
		out, done, err = d.Handshake(record)
	}
	if err != nil {
		m.logf(2, Info, "handshake with %s: %v", p.name, err)
		return false
	}
	last := s.answer(out...)
	switch d {
	case s.outbound:
		s.answered = true
		if done {
			s.inbound = nil
		}
		s.lastSent, s.sent = last, m.now
	case s.inbound:
		s.lastReceived, s.reply = r.Key, last
	}
	if !done {
		return false
	}
	s.compression = r.Compression
	first := d != s.active
	if first {
		key := s.inboundKey
		if s.initiator = d == s.outbound; s.initiator {
			key = s.outboundKey
			s.lastSent, s.lastReceived, s.reply = nil, "", nil
		}
		s.active, s.outbound, s.inbound, s.tries = d, nil, nil, 0
		m.logf(2, Info, "session with %s established", p.name)
		m.proven(p, key)
	} else {
		m.logf(3, Debug, "keys of the session with %s renewed", p.name)
	}
	s.born, s.rekeying = m.now, time.Time{}
	m.touch(p)
	if addr, ok := r.Addr.Addr(); ok && r.HasAddr && usable(addr) && m.guarded(p, addr) {
		p.udp().note(addr) // so that it is among those that are opened now
	}
	if first {
		m.publishPeers() // the probes that follow need the new keys
		p.udp().probeNow()
		m.try(p, true)
	}
	return true
}

// doubtful tells whether the learned key of the node does not seem to be the right one: sessions
// do not come about with it.
func (s *sptpsSession) doubtful() bool {
	return s.p.host.Key == nil && s.p.trust.claim == nil && s.p.trust.learned != nil && s.tries >= doubtfulTries
}

// check renews the keys when they are due.
func (s *sptpsSession) check() {
	m, p := s.m, s.p
	if s.active == nil {
		return
	}
	if s.inbound == nil && m.now.Sub(s.born) > handshakeTimeout { // nobody repeats anything any more
		s.lastReceived, s.reply = "", nil
	}
	if m.now.Sub(s.begun) <= handshakeTimeout && (s.outbound != nil || s.inbound != nil) {
		return // a new session is being made
	}
	if s.active.Tunnel().SealedCount() > maxRecords {
		s.start()
		return
	}
	if !s.rekeying.IsZero() {
		if m.now.Sub(s.rekeying) > handshakeTimeout {
			m.logf(2, Warning, "%s did not answer the key renewal; starting a new session", p.name)
			s.born, s.rekeying = m.now, time.Time{}
			s.start()
		}
		return
	}
	due := m.cfg.KeyExpire
	if !s.initiator { // the other side is first; do it if it does not
		due += due/4 + time.Second
	}
	if m.now.Sub(s.born) < due {
		return
	}
	s.rekeying = m.now
	out, err := s.active.Rekey()
	if err != nil { // the peer has begun one, which may have come to a halt
		m.logf(3, Debug, "renewing the keys of the session with %s: %v", p.name, err)
		return
	}
	s.answer(out...)
}

func (s *sptpsSession) undecodable(count int) {
	m, p := s.m, s.p
	if s.active == nil {
		s.begin()
		return
	}
	if count < undecodableLimit || m.now.Sub(s.begun) < handshakeTimeout {
		return
	}
	m.logf(2, Info, "%d records of %s in a row could not be decrypted; starting a new session", count, p.name)
	s.start()
}

package mesh

import (
	"encoding/binary"
	"slices"
	"time"

	"tincan/internal/aesgcm"
	"tincan/internal/b64"
	"tincan/internal/compress"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mask"
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
	// suspectTries handshakes that fail make a learned key suspect, and that the node is there at all.
	suspectTries = 2
)

// sptpsSession is the SPTPS datagram session with a node. While a new handshake is under way
// the old keys stay in use, so nobody can interrupt traffic by beginning one.
type sptpsSession struct {
	ss *sessions
	p  *peer

	active      *sptps.Datagram // established, nil if none
	born        time.Time       // when active was established or last rekeyed, or that was given up
	initiator   bool            // we began it and are the one to renew its keys
	compression int             // level that the peer wants to receive
	rekeying    time.Time       // when a rekey was begun, zero if none is under way
	second      secondState
	hides       *mask.Mask // hides datagrams to the node, nil: it does not take that, or it is not known yet
	hidesKey    mask.Key
	newMask     bool // no path was searched with it yet

	shake *handshakes // nil: there was none
}

// handshakes are those with a node that are under way. Only the last record of one is proof; until then
// anybody in the mesh may have sent what came in the name of the node. So each beginning that could be
// the node's is gone on with, up to maxExchanges of a kind, and the first that verifies ends the others. Our own first
// record is the same in all of a kind, so that it fits whichever the node itself goes on with.
type handshakes struct {
	begun time.Time // of the last start in either direction
	tries int       // handshakes that we began since the last one that succeeded

	outbound *exchange   // that we began, as it was before an answer; nil if none
	answered []*exchange // copies of it, each with another answer
	sent     time.Time   // when our last message in it was sent last
	blank    *exchange   // our part of those that the peer begins, as it was before it began
	inbound  []*exchange // copies of it, each with another beginning
	last     *exchange   // of these, the one that succeeded: the peer may not have our last message

	early     string // a start of the peer that came before its key was known
	earlyOver ConnID
	earlyAt   time.Time
}

// exchange is one handshake.
type exchange struct {
	d        *sptps.Datagram
	key      keys.PublicKey // of the node, in it
	wants    *sptps.Hybrid  // what we announce in it
	over     ConnID         // where its first record came from, if the peer began
	leads    bool           // that came over the connection that leads to the node
	kex      []byte         // our first record
	received string         // the last record of the peer, in base64; of an answer to us the first
	sent     []byte         // our last message
}

// maxExchanges of a kind are gone on with at a time.
const maxExchanges = 3

// with is list and e. If there are too many the oldest gives way, but first those that came over another connection than
// the one that leads to the node.
func with(list []*exchange, e *exchange) []*exchange {
	if len(list) >= maxExchanges {
		i := slices.IndexFunc(list, func(o *exchange) bool { return !o.leads })
		if i < 0 && !e.leads {
			return list
		}
		i = max(i, 0)
		list = slices.Delete(list, i, i+1)
	}
	return append(list, e)
}

// end forgets those that are under way.
func (h *handshakes) end() {
	h.outbound = nil
	h.answered = nil
	h.blank = nil
	h.inbound = nil
}

// handshakes returns what there is, and begins it if there is nothing.
func (s *sptpsSession) handshakes() *handshakes {
	if s.shake == nil {
		s.shake = &handshakes{}
	}
	return s.shake
}

// onNeighbourUp makes a session with a new neighbour before there is traffic, so that the
// first packet finds one. The side that dialled is first; if both began at the same
// moment, one of the handshakes would be in vain.
func (s *sptpsSession) onNeighbourUp(c *conn) {
	ss, p := s.ss, s.p
	delay := time.Duration(0)
	if !c.dialled() {
		delay = 2 * time.Second
	}
	ss.timers.Cancel(p.keys.startTimer)
	p.keys.startTimer = ss.after(delay, func() {
		if p.conn() == c {
			ss.paths.try(p, true)
		}
	})
}

func (s *sptpsSession) hopByHop() bool { return false }
func (s *sptpsSession) ready() bool    { return s.active != nil }
func (s *sptpsSession) pending() bool {
	return s.shake != nil && (s.shake.outbound != nil || len(s.shake.inbound) > 0)
}
func (s *sptpsSession) keyChanged()   {} // it has keys of its own
func (s *sptpsSession) minProbe() int { return minProbe }

// reconfigured makes a new session if the configuration wants other keys for packets.
func (s *sptpsSession) reconfigured() {
	s.restrict()
	if s.active != nil && s.wantsOther() {
		s.start()
	}
}

func (s *sptpsSession) suite() legacy.Suite { return legacy.Suite{Compression: s.compression} }

func (s *sptpsSession) publish(st *PeerState) {
	st.SealedOnly = s.ss.sealedOnly(s.p)
	if s.active != nil {
		st.Tunnel, _, _ = s.active.Data()
		st.Compression, st.Hold = s.compression, s.held()
		st.Pad = s.hides != nil
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
		s.resumeSecond()
	case s.pending() && s.ss.now.Sub(s.shake.begun) < handshakeTimeout:
		s.repeat()
	default:
		s.start()
	}
}

func (s *sptpsSession) prove() {
	if s.pending() && s.ss.now.Sub(s.shake.begun) < handshakeTimeout {
		s.repeat()
		return
	}
	s.start()
}

func (s *sptpsSession) beginDue() time.Time {
	h := s.shake
	switch {
	case s.active != nil || s.p.keys.startTimer.Waiting():
		return time.Time{}
	case s.pending() && (h.outbound == nil || len(h.inbound) > 0):
		return h.begun.Add(handshakeTimeout)
	case s.pending():
		return earlier(h.sent.Add(max(repeatAfter, h.sent.Sub(h.begun))), h.begun.Add(handshakeTimeout))
	case s.p.keyAsked() || s.ss.keyring.whyNotLegacy(s.p) != "": // to ask again hurriedly does not help
		return s.ss.now.Add(handshakeTimeout)
	}
	return s.ss.now
}

// repeat sends our last message in a handshake once more if nobody has answered it: after 2, 4 and 8 s. It
// is the same one, and so is the answer, so any of each fit. A tinc 1.1 that gets two starts answers both,
// and goes on with the later one.
func (s *sptpsSession) repeat() {
	h := s.shake
	if h.outbound == nil || len(h.inbound) > 0 || s.ss.now.Sub(h.sent) < max(repeatAfter, h.sent.Sub(h.begun)) {
		return
	}
	h.sent = s.ss.now
	if len(h.answered) == 0 {
		s.ss.reach.route(s.p, h.outbound.sent)
	}
	for _, e := range h.answered {
		s.ss.reach.route(s.p, e.sent)
	}
}

// heardBefore tells whether the peer repeats what it said last, since it has not had our answer. It gets
// that once more.
func (s *sptpsSession) heardBefore(data string, leads bool) bool {
	h := s.shake
	if h == nil {
		return false
	}
	heard := func(e *exchange) bool { return e != nil && e.received == data }
	e := h.last
	if i := slices.IndexFunc(h.inbound, heard); i >= 0 {
		e = h.inbound[i]
	}
	if !heard(e) {
		return false
	}
	if s.ss.startAllowed(s.p, leads) {
		s.ss.reach.route(s.p, e.sent)
		if e == h.last && !s.second.since.IsZero() { // what followed it got lost, too
			s.offer()
		}
	}
	return true
}

// start sends the first handshake record (REQ_KEY 15).
func (s *sptpsSession) start() {
	ss, p := s.ss, s.p
	if !p.reachable() || p == ss.self {
		return
	}
	if why := ss.keyring.whyNotLegacy(p); why != "" {
		ss.limitExceeded(nil, "packets for %s: %s", p.name, why)
		return
	}
	key := ss.keyring.sessionKey(p)
	if key == nil {
		ss.keyring.askKey(p)
		return
	}
	if s.keySuspect() {
		ss.keyring.askKey(p)
	}
	wants := ss.hybridInSession(p.host())
	d, kex, err := sptps.NewDatagram(sptps.Config{
		Initiator: true, Key: ss.cfg.Key, Peer: *key, Hybrid: wants,
		Label: sptps.LabelUDP(ss.cfg.Name, p.name), Rand: ss.deps.Secrets, Window: ss.cfg.ReplayWindow,
	})
	if err != nil {
		ss.logf(0, Error, "could not start a session with %s: %v", p.name, err)
		return
	}
	h := s.handshakes()
	h.end()
	h.outbound = &exchange{
		d: d, key: *key, wants: wants,
		sent: wire.ReqKey{From: ss.cfg.Name, To: p.name, Sub: wire.SubStart, Data: b64.Encode(kex)}.Append(nil),
	}
	h.begun = ss.now
	h.sent = ss.now
	h.tries++
	ss.begun++
	ss.reschedule(p)
	ss.logf(3, Debug, "starting a session with %s", p.name)
	ss.reach.route(p, h.outbound.sent)
	if h.tries == suspectTries {
		ss.reach.unanswered(p)
	}
}

// askForKey sends the question for the public key of p (REQ_KEY 19).
func (ss *sessions) askForKey(p *peer) {
	ss.reach.route(p, wire.ReqKey{From: ss.cfg.Name, To: p.name, Sub: wire.SubAskKey}.Append(nil))
}

// reqKey handles a REQ_KEY of the node for us.
func (s *sptpsSession) reqKey(c *conn, r wire.ReqKey) {
	ss, p := s.ss, s.p
	switch r.Sub {
	case wire.SubStart:
		s.peerStarts(c, r.Data)
	case wire.SubAskKey:
		ss.reach.route(p, wire.ReqKey{From: ss.cfg.Name, To: p.name, Sub: wire.SubKey, Data: ss.cfg.Key.Public().String()}.Append(nil))
	case wire.SubKey:
		s.toldKey(c, r.Data)
	case wire.SubNone:
		ss.logf(2, Info, "%s asks for a key of the protocol of tinc 1.0, though it speaks a newer one", p.name)
	}
}

// toldKey: somebody says what the key of the node is.
func (s *sptpsSession) toldKey(c *conn, text string) {
	ss, p := s.ss, s.p
	if !p.keyAsked() {
		return
	}
	k, err := keys.ParsePublicKey(text)
	if err == nil {
		err = k.Valid()
	}
	if err != nil {
		ss.logf(1, Warning, "%s sent an unusable public key: %v", p.name, err)
		return
	}
	ss.keyring.claimed(c, p, k)
}

// tryKey begins a session with a key that has just been claimed for p: by an answer to the start that we
// could not answer before, or by one of our own.
func (ss *sessions) tryKey(p *peer) {
	s, ok := p.keys.session.(*sptpsSession)
	if !ok {
		return
	}
	h := s.handshakes()
	c, data := ss.links.connOf(h.earlyOver), h.early
	h.early = ""
	if data != "" && c != nil && ss.now.Sub(h.earlyAt) < handshakeTimeout {
		s.peerStarts(c, data)
		return
	}
	s.start()
}

// peerStarts handles a start message. If both sides began at the same time, the one with
// the smaller name goes on; tinc would have both yield, and neither succeed.
func (s *sptpsSession) peerStarts(c *conn, data string) {
	ss, p, h := s.ss, s.p, s.handshakes()
	key := ss.keyring.sessionKey(p)
	if key == nil {
		h.early, h.earlyOver, h.earlyAt = data, c.id, ss.now
		ss.keyring.askKey(p)
		return
	}
	leads := ss.keyring.leadsTo(c, p)
	elsewhere := func(e *exchange) bool { return e.over != c.id }
	if slices.ContainsFunc(h.inbound, elsewhere) && !leads && ss.now.Sub(h.begun) < repeatAfter {
		ss.logf(3, Debug, "ignoring a session request from %s that arrived from %s", p.name, c)
		return
	}
	kex, err := b64.Decode(data)
	if err != nil {
		ss.logf(2, Warning, "malformed session request from %s", p.name)
		return
	}
	crossing := h.outbound != nil && len(h.answered) == 0 && ss.now.Sub(h.begun) < handshakeTimeout
	if crossing && ss.cfg.Name < p.name {
		ss.logf(3, Debug, "%s started a session at the same time; continuing with ours", p.name)
		s.repeat()
		return
	}
	if s.heardBefore(data, leads) {
		return
	}
	if !ss.startAllowed(p, leads) {
		ss.logf(2, Warning, "%s starts sessions too often", p.name)
		return
	}
	if ss.now.Sub(h.begun) >= handshakeTimeout { // what was under way has come to nothing
		h.end()
	}
	if h.blank == nil || h.blank.key != *key {
		wants := ss.hybridInSession(p.host())
		d, own, err := sptps.NewDatagram(sptps.Config{
			Key: ss.cfg.Key, Peer: *key, Hybrid: wants,
			Label: sptps.LabelUDP(p.name, ss.cfg.Name), Rand: ss.deps.Secrets, Window: ss.cfg.ReplayWindow,
		})
		if err != nil {
			ss.logf(0, Error, "could not answer %s: %v", p.name, err)
			return
		}
		h.blank, h.inbound = &exchange{d: d, key: *key, wants: wants, kex: own}, nil
	}
	d := h.blank.d.Clone()
	out, _, err := d.Handshake(kex)
	if err != nil {
		ss.logf(2, Warning, "bad session request from %s: %v", p.name, err)
		return
	}
	if !crossing && (leads || h.outbound == nil) {
		h.begun = ss.now
	}
	e := &exchange{d: d, key: *key, wants: h.blank.wants, over: c.id, leads: leads, received: data}
	h.inbound = with(h.inbound, e)
	e.sent = s.answer(h.blank.kex)
	s.answer(out...)
	ss.reschedule(p)
	ss.paths.mtuInfoTo(p)
	ss.paths.udpInfoTo(p)
}

// answer sends handshake records (ANS_KEY) and returns the last message.
func (s *sptpsSession) answer(records ...[]byte) (last []byte) {
	ss, p := s.ss, s.p
	for _, r := range records {
		last = wire.AnsKey{
			From: ss.cfg.Name, To: p.name, Key: b64.Encode(r),
			Cipher: noLegacyPart, Digest: noLegacyPart, MACLen: noLegacyPart, Compression: ss.cfg.Compression,
		}.Append(nil)
		ss.reach.route(p, last)
	}
	return last
}

// ansKey handles an ANS_KEY of the node for us. What it says beside the record counts only if the record
// has proven that the node has sent it.
func (s *sptpsSession) ansKey(c *conn, r wire.AnsKey) {
	ss, p := s.ss, s.p
	if !compress.Supported(r.Compression) {
		ss.logf(2, Warning, "%s wants the unknown compression level %d", p.name, r.Compression)
		return
	}
	record, err := b64.Decode(r.Key)
	if err != nil || len(record) < 5 {
		ss.logf(2, Warning, "unreadable handshake record from %s", p.name)
		return
	}
	if s.heardBefore(r.Key, ss.keyring.leadsTo(c, p)) {
		return
	}
	if !s.handshake(c, record, r) {
		return
	}
	if addr, ok := r.Addr.Addr(); r.HasAddr && ok {
		ss.paths.toldAddress(p, addr)
	}
	ss.paths.mtuInfoTo(p)
}

// handshake feeds a record, which came in r over c, to the handshake that it belongs to. It reports whether that
// is complete now: whoever has sent the record has the key of the node.
func (s *sptpsSession) handshake(c *conn, record []byte, r wire.AnsKey) (done bool) {
	ss, p := s.ss, s.p
	switch n := binary.BigEndian.Uint32(record); { // the first two records of a session are clear
	case n >= 2 && s.active != nil:
		before, _, _ := s.active.Data()
		out, done, err := s.active.Handshake(record)
		if err != nil {
			ss.logf(2, Info, "handshake with %s: %v", p.name, err)
			return false
		}
		s.answer(out...)
		s.learnMask()
		if done {
			ss.logf(3, Debug, "keys of the session with %s renewed", p.name)
			s.established(r)
			s.beginSecond()
		}
		if now, _, _ := s.active.Data(); now != before {
			s.secondDone()
		}
		return done
	case n < 2 && s.pending():
		if n == 0 && s.shake.outbound != nil {
			s.peerAnswers(c, record, r)
			return false
		}
		return s.conclude(record, r)
	}
	ss.logf(3, Debug, "handshake record from %s without a session", p.name)
	return false
}

// peerAnswers takes the first record of an answer to our start.
func (s *sptpsSession) peerAnswers(c *conn, record []byte, r wire.AnsKey) {
	ss, p, h := s.ss, s.p, s.shake
	leads := ss.keyring.leadsTo(c, p)
	if slices.ContainsFunc(h.answered, func(e *exchange) bool { return e.received == r.Key }) {
		return // we go on when nobody answers us
	}
	if len(h.answered) > 0 && !ss.startAllowed(p, leads) {
		ss.logf(2, Info, "%s answers too often", p.name)
		return
	}
	d := h.outbound.d.Clone()
	out, _, err := d.Handshake(record)
	if err != nil {
		ss.logf(2, Info, "handshake with %s: %v", p.name, err)
		return
	}
	e := &exchange{d: d, key: h.outbound.key, wants: h.outbound.wants, leads: leads, received: r.Key}
	h.answered = with(h.answered, e)
	h.sent = ss.now
	e.sent = s.answer(out...)
	ss.reschedule(p)
}

// conclude takes a last record of the peer, which ends one of the handshakes if it verifies.
func (s *sptpsSession) conclude(record []byte, r wire.AnsKey) (done bool) {
	ss, p, h := s.ss, s.p, s.shake
	var last error
	for i, e := range slices.Concat(h.inbound, h.answered) {
		out, done, err := e.d.Handshake(record)
		if err != nil {
			last = err
			continue
		}
		sent := s.answer(out...)
		if !done {
			return false
		}
		s.active, s.initiator, h.last = e.d, i >= len(h.inbound), nil
		s.endSecond()
		s.second = s.second.next(e.wants, ss.now)
		if !s.active.Masking() {
			s.hides = nil
		}
		s.restrict()
		if !s.initiator {
			e.received, e.sent = r.Key, sent
			h.last = e
		}
		h.end()
		h.tries = 0
		ss.logf(2, Info, "session with %s established", p.name)
		ss.reach.answered(p)
		ss.keyring.proven(p, e.key)
		s.established(r)
		s.beginSecond()
		ss.forwarding.publishPeers() // the probes that follow need the new keys
		p.udp().probeNow()
		ss.paths.try(p, true)
		return true
	}
	if last == nil {
		ss.logf(3, Debug, "%s has signed what it has not begun", p.name)
		return false
	}
	ss.logf(2, Info, "handshake with %s: %v", p.name, last)
	return false
}

// established: the node has proven by r that it has the key, and there are new keys.
func (s *sptpsSession) established(r wire.AnsKey) {
	ss, p := s.ss, s.p
	ss.made++
	s.compression = r.Compression
	s.born, s.rekeying = ss.now, time.Time{}
	ss.touch(p)
	if addr, ok := r.Addr.Addr(); ok && r.HasAddr && usable(addr) && ss.paths.guarded(p, addr) {
		p.udp().note(addr) // so that it is among those that are opened now
	}
}

// keySuspect tells whether the learned key of the node does not seem to be the right one: sessions
// do not come about with it.
func (s *sptpsSession) keySuspect() bool {
	return s.p.keyIsLearned() && s.shake != nil && s.shake.tries >= suspectTries
}

// check renews the keys when they are due.
func (s *sptpsSession) check() {
	ss, p := s.ss, s.p
	if s.active == nil {
		return
	}
	if h := s.shake; h != nil {
		if ss.now.Sub(s.born) >= handshakeTimeout { // nobody repeats anything any more
			h.last = nil
		}
		if ss.now.Sub(h.begun) < handshakeTimeout && s.pending() {
			return // a new session is being made
		}
	}
	data, _, second := s.active.Data()
	if max(s.active.Tunnel().SealedCount(), data.SealedCount()) > maxRecords {
		s.start()
		return
	}
	if !s.rekeying.IsZero() {
		if ss.now.Sub(s.rekeying) >= handshakeTimeout {
			ss.logf(2, Warning, "%s did not answer the key renewal; starting a new session", p.name)
			s.born, s.rekeying = ss.now, time.Time{}
			s.start()
		}
		return
	}
	usedUp := second && data.SealedCount() > aesgcm.MaxRecords && s.second.since.IsZero()
	if ss.now.Before(s.renewAt()) && !usedUp {
		return
	}
	s.rekeying = ss.now
	ss.reschedule(p)
	out, err := s.active.Rekey()
	if err != nil { // the peer has begun one, which may have come to a halt
		ss.logf(3, Debug, "renewing the keys of the session with %s: %v", p.name, err)
		return
	}
	s.answer(out...)
}

// renewAt is when the keys are to be renewed.
func (s *sptpsSession) renewAt() time.Time {
	due := s.ss.cfg.KeyExpire
	if !s.initiator { // the other side is first; do it if it does not
		due += due/4 + time.Second
	}
	return s.born.Add(due)
}

func (s *sptpsSession) checkDue() time.Time {
	if s.active == nil {
		return time.Time{}
	}
	at := s.renewAt()
	if !s.rekeying.IsZero() {
		at = s.rekeying.Add(handshakeTimeout)
	}
	if h := s.shake; h != nil {
		if s.pending() {
			at = later(at, h.begun.Add(handshakeTimeout))
		}
		if h.last != nil {
			at = earlier(at, s.born.Add(handshakeTimeout))
		}
	}
	return at
}

func (s *sptpsSession) undecodable(count int) {
	ss, p := s.ss, s.p
	if s.active == nil {
		s.begin()
		return
	}
	if s.hopeless() { // what comes is refused, see restrict
		return
	}
	if count < undecodableLimit || s.shake != nil && ss.now.Sub(s.shake.begun) < handshakeTimeout {
		return
	}
	ss.logf(2, Info, "%d records of %s in a row could not be decrypted; starting a new session", count, p.name)
	s.start()
}

package mesh

import (
	"encoding/binary"
	"fmt"
	"time"

	"tincan/internal/b64"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

// Subtypes of REQ_KEY (tinc 1.1).
const (
	subStart     = 15 // first handshake record of the initiator
	subAskKey    = 19 // please send your public key
	subTellKey   = 20 // my public key
	subRecord    = 21 // a data record inside a request
	noLegacyPart = -1 // the cipher, digest and MAC fields of ANS_KEY
)

const (
	// handshakeTimeout is how long a handshake may take before it is begun again.
	handshakeTimeout = 10 * time.Second
	// maxRecords in one direction: the record number has 32 bits and must not wrap.
	maxRecords = 1 << 31
	// maxCompression is the highest compression level of tinc 1.1.
	maxCompression = 12
	// undecodableLimit is how many records in a row may fail before the
	// session is begun again. A single one may be forged or late.
	undecodableLimit = 5
)

// session is the SPTPS datagram session with a node. While a new handshake is under way
// the old keys stay in use, so nobody can interrupt traffic by beginning one.
type session struct {
	active *sptps.Datagram // established, nil if none
	born   time.Time       // when active was established or last rekeyed, or that was given up
	elder  bool            // we began it and are the one to renew its keys

	mine     *sptps.Datagram // handshake that we began
	theirs   *sptps.Datagram // handshake that the peer began
	begun    time.Time       // of the last start in either direction
	answered bool            // mine has had an answer

	rekeying time.Time // when a rekey was begun, zero if none is under way
}

func (m *Mesh) endSession(p *peer) {
	p.session = session{}
	m.touch(p)
}

// ensureSession begins a session with p if there is none and none is under way.
func (m *Mesh) ensureSession(p *peer) {
	s := &p.session
	if s.active != nil || (s.mine != nil || s.theirs != nil) && m.now.Sub(s.begun) < handshakeTimeout {
		return
	}
	m.startSession(p)
}

// startSession sends the first handshake record (REQ_KEY 15).
func (m *Mesh) startSession(p *peer) {
	if !p.reachable || p == m.self || p.minor() < 2 {
		return
	}
	if p.key() == nil {
		m.askKey(p)
		return
	}
	d, kex, err := sptps.NewDatagram(sptps.Config{
		Initiator: true, Key: m.cfg.Key, Peer: *p.key(),
		Label: sptps.LabelUDP(m.cfg.Name, p.name), Rand: m.in.Secrets, Window: m.cfg.ReplayWindow,
	})
	if err != nil {
		m.logf(0, Error, "could not begin a session with %s: %v", p.name, err)
		return
	}
	s := &p.session
	s.mine, s.theirs, s.begun, s.answered = d, nil, m.now, false
	m.logf(3, Debug, "beginning a session with %s", p.name)
	m.route(p, wire.ReqKey{From: m.cfg.Name, To: p.name, Sub: subStart, Data: b64.Encode(kex)}.Append(nil))
}

// askKey asks p for its public key. The answer is believed, as tinc does it: newcomers
// know only their inviter's key.
func (m *Mesh) askKey(p *peer) {
	if !p.askedKey.IsZero() && m.now.Sub(p.askedKey) < handshakeTimeout {
		return
	}
	p.askedKey = m.now
	m.route(p, wire.ReqKey{From: m.cfg.Name, To: p.name, Sub: subAskKey}.Append(nil))
}

// route sends a request towards p over the meta connections.
func (m *Mesh) route(p *peer, text []byte) {
	if c := m.nextHopConn(p); c != nil {
		m.send(c, text)
	}
}

// both looks up the two ends of a routed request; ok is false if it is to be ignored.
func (m *Mesh) both(from, to node.Name) (f, t *peer, ok bool) {
	f, t = m.nodes[from], m.nodes[to]
	if f != nil && t != nil && !(f.reachable && t.reachable) && m.graphDirty && m.early < maxEarly {
		// The edges that make it reachable may have come just before, in the same batch.
		m.early++
		m.search()
	}
	ok = f != nil && t != nil && f != m.self && f.reachable && t.reachable
	return f, t, ok
}

func (m *Mesh) reqKey(c *conn, text string) error {
	r, err := wire.ParseReqKey(text)
	if err != nil {
		return err
	}
	from, to, ok := m.both(r.From, r.To)
	if !ok {
		return nil
	}
	if to != m.self && m.cfg.TunnelServer {
		return nil
	}
	if r.Sub == subRecord {
		if rec, err := b64.Decode(r.Data); err == nil && len(rec) > 0 {
			m.emit(TunnelledData{From: r.From, To: r.To, Hop: c.peer.name, Record: rec})
		}
		return nil
	}
	if to != m.self {
		m.pass(c, to, []byte(text))
		return nil
	}
	switch r.Sub {
	case subStart:
		m.peerStarts(from, r.Data)
	case subAskKey:
		if from.key() == nil {
			m.askKey(from)
		}
		m.route(from, wire.ReqKey{From: m.cfg.Name, To: from.name, Sub: subTellKey, Data: m.cfg.Key.Public().String()}.Append(nil))
	case subTellKey:
		m.learnKey(from, r.Data)
	case -1:
		m.logf(2, Info, "%s asks for a key of the old protocol, which this node does not speak", from.name)
	}
	return nil
}

func (m *Mesh) learnKey(p *peer, text string) {
	if p.key() != nil || p.askedKey.IsZero() { // known, or not asked for
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
	p.known, p.learned, p.host.Key = true, m.now, &k
	m.logf(1, Info, "learned the public key of %s", p.name)
	m.emit(SaveKey{Node: p.name, Key: k})
	m.startSession(p)
	m.autoConnectSoon()
}

// peerStarts handles a start message. If both sides began at the same time, the one with
// the smaller name goes on; tinc would have both yield, and neither succeed.
func (m *Mesh) peerStarts(p *peer, data string) {
	if p.key() == nil {
		m.askKey(p)
		return
	}
	kex, err := b64.Decode(data)
	if err != nil {
		m.logf(2, Warning, "unreadable start of a session from %s", p.name)
		return
	}
	s := &p.session
	crossing := s.mine != nil && !s.answered && m.now.Sub(s.begun) < handshakeTimeout
	if crossing && m.cfg.Name < p.name {
		m.logf(3, Debug, "%s began a session at the same time; going on with ours", p.name)
		return
	}
	if !m.startAllowed(p) {
		m.logf(2, Warning, "%s begins sessions too often", p.name)
		return
	}
	d, own, err := sptps.NewDatagram(sptps.Config{
		Key: m.cfg.Key, Peer: *p.key(),
		Label: sptps.LabelUDP(p.name, m.cfg.Name), Rand: m.in.Secrets, Window: m.cfg.ReplayWindow,
	})
	if err != nil {
		m.logf(0, Error, "could not answer %s: %v", p.name, err)
		return
	}
	out, _, err := d.Handshake(kex)
	if err != nil {
		m.logf(2, Warning, "bad start of a session from %s: %v", p.name, err)
		return
	}
	s.theirs = d
	if !crossing {
		s.mine, s.begun = nil, m.now
	}
	m.answer(p, own)
	m.answer(p, out...)
	m.mtuInfoTo(p)
	m.udpInfoTo(p)
}

// answer sends handshake records (ANS_KEY).
func (m *Mesh) answer(p *peer, records ...[]byte) {
	for _, r := range records {
		m.route(p, wire.AnsKey{
			From: m.cfg.Name, To: p.name, Key: b64.Encode(r),
			Cipher: noLegacyPart, Digest: noLegacyPart, MACLen: noLegacyPart,
		}.Append(nil))
	}
}

func (m *Mesh) ansKey(c *conn, text string) error {
	r, err := wire.ParseAnsKey(text)
	if err != nil {
		return err
	}
	from, to, ok := m.both(r.From, r.To)
	if !ok {
		return nil
	}
	if to != m.self && m.cfg.TunnelServer {
		return nil
	}
	if to != m.self {
		if !r.HasAddr && from.road.addr.IsValid() && to.road.pmtu.min > 0 {
			r.Addr, r.HasAddr = wire.AddressOf(from.road.addr), true
			text = string(r.Append(nil))
		}
		m.pass(c, to, []byte(text))
		return nil
	}
	switch {
	case r.Compression < 0 || r.Compression > maxCompression:
		m.logf(2, Warning, "%s wants the unknown compression level %d", from.name, r.Compression)
		return nil
	case r.Compression != 0:
		// We announce no compression and do not compress; a node that wants to
		// receive compressed packets gets plain ones, which it accepts.
		m.logf(4, Debug, "%s would like compression level %d", from.name, r.Compression)
	}
	record, err := b64.Decode(r.Key)
	if err != nil || len(record) < 5 {
		m.logf(2, Warning, "unreadable handshake record from %s", from.name)
		return nil
	}
	m.handshake(from, record)
	if addr, ok := r.Addr.Addr(); r.HasAddr && ok && from.session.active != nil {
		m.newAddress(from, addr)
	}
	m.mtuInfoTo(from)
	return nil
}

// handshake feeds a record to the handshake that it belongs to.
func (m *Mesh) handshake(p *peer, record []byte) {
	s := &p.session
	d := s.active
	if n := binary.BigEndian.Uint32(record); n < 2 { // the first two records of a session are clear
		d = s.mine
		// When both have begun, record 0 says that the peer has yielded and
		// answers our start, record 1 that it goes on with its own.
		if d == nil || s.theirs != nil && n == 1 {
			d = s.theirs
		}
	}
	if d == nil {
		m.logf(3, Debug, "handshake record from %s without a session", p.name)
		return
	}
	out, done, err := d.Handshake(record)
	if err != nil {
		m.logf(2, Info, "handshake with %s: %v", p.name, err)
		return
	}
	if d == s.mine {
		s.answered, s.theirs = true, nil
	}
	m.answer(p, out...)
	if !done {
		return
	}
	first := d != s.active
	if first {
		s.elder = d == s.mine
		s.active, s.mine, s.theirs = d, nil, nil
		m.logf(2, Info, "session with %s established", p.name)
	} else {
		m.logf(3, Debug, "keys of the session with %s renewed", p.name)
	}
	s.born, s.rekeying = m.now, time.Time{}
	m.touch(p)
	if first {
		m.publishPeers() // the probes that follow need the new keys
		p.road.hurry()
		m.try(p, true)
	}
}

// checkSession renews the keys of a session when they are due.
func (m *Mesh) checkSession(p *peer) {
	s := &p.session
	if s.active == nil {
		return
	}
	if m.now.Sub(s.begun) <= handshakeTimeout && (s.mine != nil || s.theirs != nil) {
		return // a new session is being made
	}
	if s.active.Tunnel().SealedCount() > maxRecords {
		m.startSession(p)
		return
	}
	if !s.rekeying.IsZero() {
		if m.now.Sub(s.rekeying) > handshakeTimeout {
			m.logf(2, Warning, "%s did not answer the renewal of keys; beginning a new session", p.name)
			s.born, s.rekeying = m.now, time.Time{}
			m.startSession(p)
		}
		return
	}
	due := m.cfg.KeyExpire
	if !s.elder { // the other side is first; do it if it does not
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
	m.answer(p, out...)
}

func (m *Mesh) undecodable(e Undecodable) {
	p := m.nodes[e.Node]
	if p == nil || !p.reachable {
		return
	}
	if p.session.active == nil {
		m.ensureSession(p)
		return
	}
	if e.Count < undecodableLimit || m.now.Sub(p.session.begun) < handshakeTimeout {
		return
	}
	m.logf(2, Info, "%d records of %s in a row could not be opened; beginning a new session", e.Count, p.name)
	m.startSession(p)
}

// String describes a session for the log and for tests.
func (s *session) String() string {
	return fmt.Sprintf("active %t mine %t theirs %t", s.active != nil, s.mine != nil, s.theirs != nil)
}

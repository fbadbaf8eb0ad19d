package mesh

import (
	"maps"
	"net/netip"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
)

// Whose key is believed, and for what (decision 027).
//
// A key in hosts/ is the word of this machine's owner, and nothing outranks it. Of a node without
// one we may learn a key through the mesh. What somebody says is a claim, which serves for one
// attempt at a session and nothing else. A session that comes about proves that whoever answers
// has that key and sits on the path to the node: our part of the handshake is seen nowhere else. The key
// is then learned.
//
// A learned key is good for sessions. For a login somebody has to vouch: a neighbour that tells
// us, over its own connection, that the node is a neighbour of its; it has let it in. Who vouches has
// a host file here, or is vouched for in turn; when that is gone, so is what it vouched for.

const (
	// claimFor is how long a claim may take to be proven.
	claimFor = handshakeTimeout
	// maxAsks are the questions for a key after which an answer counts that comes over another
	// connection than the one that leads to the node. Two nodes need not choose the same path.
	maxAsks = 2
	// lapse is how long a learned key that is not proven again stands against another one.
	lapse = 24 * time.Hour
	// maxRecent addresses are kept in a node's address cache.
	maxRecent = 8
	// maxVouchers bounds a chain of vouching nodes.
	maxVouchers = 16
)

// Learned is a key that was learned through the mesh.
type Learned struct {
	Key    keys.PublicKey
	By     node.Name        // who vouches for it, "" nobody
	Cached []netip.AddrPort // where the node was reached, most recent first
}

// trust is what is known of a node's key beside its host file.
type trust struct {
	learned  *keys.PublicKey // proven; nil: none
	by       node.Name       // who vouches for it
	proven   time.Time       // last; zero: before the start
	saved    bool            // SaveLearned has been emitted since something changed
	claim    *keys.PublicKey // what is being tried
	claimed  time.Time
	rival    *keys.PublicKey // another key that somebody claims
	rivalBy  node.Name       // the neighbour that it came from
	asks     int             // questions without a usable answer
	removed  bool            // its owner has deleted its host file
	conflict time.Time       // when rival was last logged
}

// key is the public key that p is known by, nil if there is none: that of its host file, or else one that was learned.
func (p *peer) key() *keys.PublicKey {
	if p.host.Key != nil {
		return p.host.Key
	}
	return p.trust.learned
}

// sessionKey is the key to try a session with: the one that is known, or else a claim.
func (m *Mesh) sessionKey(p *peer) *keys.PublicKey {
	if t := &p.trust; t.claim != nil {
		if m.now.Sub(t.claimed) < claimFor && m.mayLearn(p) {
			return t.claim
		}
		t.claim = nil
	}
	return p.key()
}

// loginKey is the key with which p may log in, nil: none.
func (m *Mesh) loginKey(p *peer) *keys.PublicKey {
	if p.host.Key == nil && !m.vouchedFor(p) {
		return nil
	}
	return p.key()
}

// mayKnock tells whether p may log in at all.
func (m *Mesh) mayKnock(p *peer) bool { return p != nil && (p.known || m.vouchedFor(p)) }

// vouchedFor tells whether the learned key of p has a voucher who counts.
func (m *Mesh) vouchedFor(p *peer) bool {
	for range maxVouchers {
		if p.trust.learned == nil || p.trust.by == "" {
			return false
		}
		by := m.nodes[p.trust.by]
		if by == nil || by == p {
			return false
		}
		if by.known {
			return true
		}
		p = by
	}
	return false
}

// mayLearn tells whether a key of p may come from the mesh.
func (m *Mesh) mayLearn(p *peer) bool {
	return p != m.self && p.host.Key == nil && !p.trust.removed
}

// leadsTo tells whether c is the connection over which p is reached.
func (m *Mesh) leadsTo(c *conn, p *peer) bool { return c != nil && m.nextHopConn(p) == c }

// speaksFor tells whether what comes over c may be p's own word: what a neighbour says comes over
// its own connection.
func (m *Mesh) speaksFor(c *conn, p *peer) bool { return p.conn == nil || c.peer == p }

// voucher is the neighbour that has let p in, "" if no neighbour says so.
func (m *Mesh) voucher(p *peer) node.Name {
	c := m.nextHopConn(p)
	if c == nil || p.path.Distance != 2 || !c.claims(p.name) {
		return ""
	}
	return c.peer.name
}

// mightVouch tells whether p could log in once its key has been learned.
func (m *Mesh) mightVouch(p *peer) bool {
	return m.mayLearn(p) && p.trust.learned == nil && m.voucher(p) != ""
}

// askKey asks p for its public key, because we want a session with it, or it wants one with us.
func (m *Mesh) askKey(p *peer) {
	if p.trust.removed || !p.askedKey.IsZero() && m.now.Sub(p.askedKey) < repeatAfter {
		return
	}
	p.askedKey = m.now
	p.trust.asks++
	m.askForKey(p)
}

// claimed takes note of a key that p is said to have, which came over c.
func (m *Mesh) claimed(c *conn, p *peer, k keys.PublicKey) {
	t := &p.trust
	switch known := p.key(); {
	case known != nil && *known == k:
		t.claim, t.asks = nil, 0
		return
	case p.askedKey.IsZero() || !m.mayLearn(p) && known == nil: // not asked for, or not wanted
		return
	case !m.leadsTo(c, p) && (known != nil || t.asks <= maxAsks):
		return
	case known != nil:
		m.contest(c, p, k)
		if !m.mayReplace(p) {
			return
		}
	}
	p.askedKey, t.asks = time.Time{}, 0
	t.claim, t.claimed = &k, m.now
	m.tryKey(p)
}

// mayReplace tells whether the learned key of p gives way to another one that proves itself.
func (m *Mesh) mayReplace(p *peer) bool {
	t := &p.trust
	if p.host.Key != nil {
		return false
	}
	if t.learned == nil || t.by == "" && m.voucher(p) != "" {
		return true
	}
	return m.now.Sub(later(t.proven, p.born)) >= lapse
}

// contest takes note that somebody says of p that it has another key than the one that is known.
func (m *Mesh) contest(c *conn, p *peer, k keys.PublicKey) {
	t := &p.trust
	t.rival, t.rivalBy = &k, c.peer.name
	if t.conflict.IsZero() || m.now.Sub(t.conflict) > time.Hour {
		t.conflict = m.now
		m.emit(KeyContested{Node: p.name, Key: k, From: c.peer.name})
		m.logf(1, Warning, "another key than the one that is known is claimed for %s, over the connection with %s", p.name, c.peer.name)
	}
}

// proven: a session with p has come about by its key k.
func (m *Mesh) proven(p *peer, k keys.PublicKey) {
	t := &p.trust
	t.claim, t.asks = nil, 0
	if t.rival != nil && *t.rival == k {
		t.rival = nil
	}
	if p.host.Key != nil {
		return
	}
	if t.learned != nil && *t.learned != k {
		m.logf(0, Warning, "the key of %s that was learned from the mesh was replaced by another one", p.name)
		m.dropLearnedLogins(p, "another key of it has been proven")
		t.by, t.saved = "", false
	}
	if t.learned == nil {
		m.logf(1, Info, "learned the public key of %s", p.name)
		t.saved = false
	}
	t.learned, t.proven = &k, m.now
	if by := m.voucher(p); by != "" && !m.vouchedFor(p) {
		t.by, t.saved = by, false
	}
	m.keepLearned(p)
	m.autoConnectSoon()
}

// keepLearned has a learned key written down if we talk to the node on our own account.
func (m *Mesh) keepLearned(p *peer) {
	t := &p.trust
	if p.host.Key != nil || t.learned == nil || t.saved || p.lastSent().IsZero() && p.conn == nil {
		return
	}
	t.saved = true
	m.emit(SaveLearned{Node: p.name, Key: *t.learned, By: t.by})
}

// forgetLearned: the owner of this machine has removed p.
func (m *Mesh) forgetLearned(p *peer) {
	gone := p.trust.learned != nil
	p.trust = trust{removed: p.trust.removed}
	p.askedKey = time.Time{}
	if _, ok := m.cfg.Learned[p.name]; ok {
		m.cfg.Learned = maps.Clone(m.cfg.Learned)
		delete(m.cfg.Learned, p.name)
	}
	if gone {
		m.emit(SaveLearned{Node: p.name, Gone: true})
	}
}

// settleLearned: p has a host file with a key now, which outranks what was learned. was is the key
// before.
func (m *Mesh) settleLearned(p *peer, was *keys.PublicKey) {
	t := &p.trust
	if t.learned == nil {
		t.claim = nil
		return
	}
	if !sameKey(was, p.host.Key) {
		m.logf(0, Warning, "the key of %s that was learned from the mesh is not that of its host file, which counts from now on", p.name)
		m.dropLearnedLogins(p, "its host file has another key")
	}
	m.forgetLearned(p)
}

// setRemoved takes over which nodes the owner of this machine has removed.
func (m *Mesh) setRemoved(names map[node.Name]bool) {
	for _, p := range m.order {
		was := p.trust.removed
		p.trust.removed = names[p.name] && !p.known
		if p.trust.removed && !was {
			m.forgetLearned(p)
			m.endSession(p)
		}
	}
}

// vouched: a node whose key counts has let another one in.
func (m *Mesh) vouched(e Vouched) {
	if !m.admitLearned(e.Node) || !m.admitLearned(e.By) {
		return
	}
	p := m.nodes[e.Node]
	if !m.mayLearn(p) || m.vouchedFor(p) {
		return
	}
	if t := &p.trust; t.learned != nil && *t.learned != e.Key {
		m.logf(0, Warning, "the key of %s that was learned from the mesh was replaced by the one that %s vouches for", p.name, e.By)
		m.endSession(p)
	}
	p.trust.learned = &e.Key
	p.trust.by = e.By
	p.trust.saved = true
	p.trust.claim = nil
}

// admitLearned creates the node called name if it is new, of which a key has been kept. It reports false if it
// may not be, see register.
func (m *Mesh) admitLearned(name node.Name) bool {
	if m.nodes[name] != nil {
		return true
	}
	if m.byID[name.ID()] != nil || len(m.nodes) >= maxUnknown+len(m.cfg.Hosts) {
		return false
	}
	m.peer(name)
	return true
}

// mayBeFoundAgain tells whether the node has a learned key here, and an address that AutoConnect may try after a restart.
func (p *peer) mayBeFoundAgain() bool { return p.trust.saved && len(p.host.Cached) > 0 }

// isRemoved tells whether its host file was deleted here.
func (p *peer) isRemoved() bool { return p.trust.removed }

// keyIsLearned tells whether the key of p comes from the mesh, and no other one is being tried.
func (p *peer) keyIsLearned() bool {
	return p.host.Key == nil && p.trust.claim == nil && p.trust.learned != nil
}

// keyAsked tells whether p was asked for its key, and has not answered.
func (p *peer) keyAsked() bool { return !p.askedKey.IsZero() }

// rival tells whether another key than the known one is claimed for p, and by way of which neighbour.
func (p *peer) rival() (by node.Name, ok bool) { return p.trust.rivalBy, p.trust.rival != nil }

// loggedIn: p has logged in, with a key that was learned or not.
func (m *Mesh) loggedIn(p *peer, byLearned bool) {
	if byLearned {
		p.trust.proven = m.now
	}
	m.keepLearned(p)
}

// newTrust is what is known of the key of a new node.
func (m *Mesh) beginTrust(p *peer) {
	p.trust.removed = m.cfg.Removed[p.name]
	if l, ok := m.cfg.Learned[p.name]; ok && !p.trust.removed {
		p.trust.learned, p.trust.by, p.trust.saved = &l.Key, l.By, true
		p.host.Cached = l.Cached
	}
}

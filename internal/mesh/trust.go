package mesh

import (
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

// trust is the host file of a node, and what is known of its key beside that.
type trust struct {
	known    bool // has a host file here
	host     Host
	upgraded time.Time // when its key came by an RSA login, zero: it did not
	askedKey time.Time // last request for its public key, zero: it was answered

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
	if p.trust.host.Key != nil {
		return p.trust.host.Key
	}
	return p.trust.learned
}

// sessionKey is the key to try a session with: the one that is known, or else a claim.
func (kr *keyring) sessionKey(p *peer) *keys.PublicKey {
	if t := &p.trust; t.claim != nil {
		if kr.now.Sub(t.claimed) < claimFor && kr.mayLearn(p) {
			return t.claim
		}
		t.claim = nil
	}
	return p.key()
}

// loginKey is the key with which p may log in, nil: none.
func (kr *keyring) loginKey(p *peer) *keys.PublicKey {
	if p.trust.host.Key == nil && !kr.vouchedFor(p) {
		return nil
	}
	return p.key()
}

// mayBeLetIn tells whether p may log in at all.
func (kr *keyring) mayBeLetIn(p *peer) bool { return p != nil && (p.trust.known || kr.vouchedFor(p)) }

// vouchedFor tells whether the learned key of p has a voucher who counts. In a signed network nobody vouches but the roster.
func (kr *keyring) vouchedFor(p *peer) bool {
	if kr.roll.enforced() {
		return false
	}
	for range maxVouchers {
		if p.trust.learned == nil || p.trust.by == "" {
			return false
		}
		by := kr.nodes[p.trust.by]
		if by == nil || by == p {
			return false
		}
		if by.trust.known {
			return true
		}
		p = by
	}
	return false
}

// mayLearn tells whether a key of p may come from the mesh.
func (kr *keyring) mayLearn(p *peer) bool {
	return p != kr.self && p.trust.host.Key == nil && !p.trust.removed && !kr.roll.enforced()
}

// leadsTo tells whether c is the connection over which p is reached.
func (kr *keyring) leadsTo(c *conn, p *peer) bool { return c != nil && kr.reach.nextHopConn(p) == c }

// speaksFor tells whether what comes over c may be p's own word: what a neighbour says comes over
// its own connection.
func (kr *keyring) speaksFor(c *conn, p *peer) bool { return p.conn() == nil || c.peer == p }

// voucher is the neighbour that has let p in, "" if no neighbour says so.
func (kr *keyring) voucher(p *peer) node.Name {
	c := kr.reach.nextHopConn(p)
	if c == nil || p.path().Distance != 2 || !c.claims(p.name) {
		return ""
	}
	return c.peer.name
}

// mightVouch tells whether p could log in once its key has been learned.
func (kr *keyring) mightVouch(p *peer) bool {
	return kr.mayLearn(p) && p.trust.learned == nil && kr.voucher(p) != ""
}

// askKey asks p for its public key, because we want a session with it, or it wants one with us.
func (kr *keyring) askKey(p *peer) {
	if p.trust.removed || !p.trust.askedKey.IsZero() && kr.now.Sub(p.trust.askedKey) < repeatAfter {
		return
	}
	p.trust.askedKey = kr.now
	p.trust.asks++
	kr.sessions.askForKey(p)
}

// claimed takes note of a key that p is said to have, which came over c.
func (kr *keyring) claimed(c *conn, p *peer, k keys.PublicKey) {
	t := &p.trust
	switch known := p.key(); {
	case known != nil && *known == k:
		t.claim, t.asks = nil, 0
		return
	case p.trust.askedKey.IsZero() || !kr.mayLearn(p) && known == nil: // not asked for, or not wanted
		return
	case !kr.leadsTo(c, p) && (known != nil || t.asks <= maxAsks):
		return
	case known != nil:
		kr.contest(c, p, k)
		if !kr.mayReplace(p) {
			return
		}
	}
	p.trust.askedKey, t.asks = time.Time{}, 0
	t.claim, t.claimed = &k, kr.now
	kr.sessions.tryKey(p)
}

// mayReplace tells whether the learned key of p gives way to another one that proves itself.
func (kr *keyring) mayReplace(p *peer) bool {
	t := &p.trust
	if p.trust.host.Key != nil {
		return false
	}
	if t.learned == nil || t.by == "" && kr.voucher(p) != "" {
		return true
	}
	return kr.now.Sub(later(t.proven, p.born)) >= lapse
}

// contest takes note that somebody says of p that it has another key than the one that is known.
func (kr *keyring) contest(c *conn, p *peer, k keys.PublicKey) {
	t := &p.trust
	t.rival, t.rivalBy = &k, c.peer.name
	if t.conflict.IsZero() || kr.now.Sub(t.conflict) > time.Hour {
		t.conflict = kr.now
		kr.emit(KeyContested{Node: p.name, Key: k, From: c.peer.name})
		kr.logf(1, Warning, "another key than the one that is known is claimed for %s, over the connection with %s", p.name, c.peer.name)
	}
}

// proven: a session with p has come about by its key k.
func (kr *keyring) proven(p *peer, k keys.PublicKey) {
	t := &p.trust
	t.claim, t.asks = nil, 0
	if t.rival != nil && *t.rival == k {
		t.rival = nil
	}
	if p.trust.host.Key != nil {
		return
	}
	if t.learned != nil && *t.learned != k {
		kr.logf(0, Warning, "the key of %s that was learned from the mesh was replaced by another one", p.name)
		kr.links.dropLearnedLogins(p, "another key of it has been proven")
		t.by, t.saved = "", false
	}
	if t.learned == nil {
		kr.logf(1, Info, "learned the public key of %s", p.name)
		t.saved = false
	}
	t.learned, t.proven = &k, kr.now
	if by := kr.voucher(p); by != "" && !kr.vouchedFor(p) {
		t.by, t.saved = by, false
	}
	kr.keepLearned(p)
	kr.dialer.autoConnectSoon()
}

// keepLearned has a learned key written down if we talk to the node on our own account.
func (kr *keyring) keepLearned(p *peer) {
	t := &p.trust
	if p.trust.host.Key != nil || t.learned == nil || t.saved || p.lastSent().IsZero() && p.conn() == nil {
		return
	}
	t.saved = true
	kr.emit(SaveLearned{Node: p.name, Key: *t.learned, By: t.by})
}

// forgetLearned forgets all that was learned of p beside its host file.
func (kr *keyring) forgetLearned(p *peer) {
	t := &p.trust
	gone := t.learned != nil
	*t = trust{known: t.known, host: t.host, upgraded: t.upgraded, removed: t.removed}
	kr.dropLearned(p.name)
	if gone {
		kr.emit(SaveLearned{Node: p.name, Gone: true})
	}
}

// replaceLearned: p has a host file with a key now, which outranks what was learned. was is the key
// before.
func (kr *keyring) replaceLearned(p *peer, was *keys.PublicKey) {
	t := &p.trust
	if t.learned == nil {
		t.claim = nil
		return
	}
	if !sameKey(was, p.trust.host.Key) {
		kr.logf(0, Warning, "the key of %s that was learned from the mesh is not that of its host file, which counts from now on", p.name)
		kr.links.dropLearnedLogins(p, "its host file has another key")
	}
	kr.forgetLearned(p)
}

// setRemoved takes over which nodes the owner of this machine has removed.
func (kr *keyring) setRemoved(names map[node.Name]bool) {
	for _, p := range kr.order {
		was := p.trust.removed
		p.trust.removed = names[p.name] && !p.trust.known
		if p.trust.removed && !was {
			kr.forgetLearned(p)
			kr.sessions.endSession(p)
		}
	}
}

// vouched: a node whose key counts has let another one in.
func (kr *keyring) vouched(e Vouched) {
	if !kr.admitLearned(e.Node) || !kr.admitLearned(e.By) {
		return
	}
	p := kr.nodes[e.Node]
	if !kr.mayLearn(p) || kr.vouchedFor(p) {
		return
	}
	if t := &p.trust; t.learned != nil && *t.learned != e.Key {
		kr.logf(0, Warning, "the key of %s that was learned from the mesh was replaced by the one that %s vouches for", p.name, e.By)
		kr.sessions.endSession(p)
	}
	p.trust.learned = &e.Key
	p.trust.by = e.By
	p.trust.saved = true
	p.trust.claim = nil
}

// admitLearned creates the node called name if it is new, of which a key has been kept. It reports false if it
// may not be, see register.
func (kr *keyring) admitLearned(name node.Name) bool {
	if kr.nodes[name] != nil {
		return true
	}
	if kr.byID[name.ID()] != nil || len(kr.nodes) >= maxUnknown+len(kr.cfg.Hosts) {
		return false
	}
	kr.peer(name)
	return true
}

// mayBeFoundAgain tells whether the node has a learned key here, and an address that AutoConnect may try after a restart.
func (p *peer) mayBeFoundAgain() bool { return p.trust.saved && len(p.trust.host.Cached) > 0 }

// isRemoved tells whether its host file was deleted here.
func (p *peer) isRemoved() bool { return p.trust.removed }

// keyIsLearned tells whether the key of p comes from the mesh, and no other one is being tried.
func (p *peer) keyIsLearned() bool {
	return p.trust.host.Key == nil && p.trust.claim == nil && p.trust.learned != nil
}

// keyAsked tells whether p was asked for its key, and has not answered.
func (p *peer) keyAsked() bool { return !p.trust.askedKey.IsZero() }

// rival tells whether another key than the known one is claimed for p, and by way of which neighbour.
func (p *peer) rival() (by node.Name, ok bool) { return p.trust.rivalBy, p.trust.rival != nil }

// loggedIn: p has logged in, with a key that was learned or not.
func (kr *keyring) loggedIn(p *peer, byLearned bool) {
	if byLearned {
		p.trust.proven = kr.now
	}
	kr.keepLearned(p)
}

// beginTrust takes in what is known of the key of a new node.
func (kr *keyring) beginTrust(p *peer) {
	p.trust.removed = kr.cfg.Removed[p.name]
	if l, ok := kr.cfg.Learned[p.name]; ok && !p.trust.removed {
		p.trust.learned, p.trust.by, p.trust.saved = &l.Key, l.By, true
		p.trust.host.Cached = l.Cached
	}
	if known, h := kr.roll.hostOf(p.name); known {
		h.Cached = p.trust.host.Cached
		p.trust.known, p.trust.host = true, h
	}
}

// admitMember tells whether name is a member of a signed network, and makes room for it if it is.
func (kr *keyring) admitMember(name node.Name) bool {
	if !kr.roll.enforced() || !kr.roll.isMember(name) {
		return false
	}
	kr.peer(name)
	return true
}

// disown forgets the keys of p, which is no member.
func (kr *keyring) disown(p *peer) {
	if p.trust.known || p.trust.learned != nil || p.trust.claim != nil {
		kr.hostGone(p)
	}
}

// known tells whether p has a host file here.
func (p *peer) known() bool { return p.trust.known }

// host is what the host file of p says. It is not to be changed.
func (p *peer) host() *Host { return &p.trust.host }

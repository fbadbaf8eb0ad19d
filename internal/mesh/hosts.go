package mesh

import (
	"net/netip"
	"slices"

	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
)

func (m *Mesh) setHost(name node.Name, known bool, h Host) {
	if !known {
		if p := m.nodes[name]; p != nil && p.known && p != m.self && !m.justLearned(p) {
			m.hostGone(p)
		}
		return
	}
	p := m.peer(name)
	if h.Key == nil && m.justLearned(p) {
		h.Key = p.host.Key
	}
	if len(h.Cached) == 0 {
		h.Cached = p.host.Cached
	}
	was := p.key()
	p.known, p.host = true, h
	p.trust.removed = false
	if p.session.hopByHop() {
		m.touch(p) // with an RSA key packets of our own may go there
	}
	changed := was != nil && !sameKey(p.key(), was)
	if h.Key != nil {
		m.settleLearned(p, was)
	}
	if changed {
		m.endLogins(p, "its key in the host file has changed")
	}
	if changed || !m.sessionFits(p) {
		m.endSession(p)
	}
	m.setWritten(p, h.Subnets)
	if m.cfg.StrictSubnets && p != m.self {
		m.replaceSubnets(p, h.Subnets)
	}
}

func sameKey(a, b *keys.PublicKey) bool { return a == b || a != nil && b != nil && *a == *b }

// hostGone: p has no host file any more. A login that is under way ends; what stands,
// stands until a reload.
func (m *Mesh) hostGone(p *peer) {
	p.known, p.host = false, Host{}
	m.setWritten(p, nil)
	p.trust = trust{removed: true} // it comes back only if its owner wants it
	m.endSession(p)
	m.linksChanged()
	if m.cfg.StrictSubnets {
		m.replaceSubnets(p, nil)
	}
	m.endLogins(p, "its host file is gone")
}

// justLearned tells whether p's key is so new that it may not be in the host file yet.
func (m *Mesh) justLearned(p *peer) bool {
	return !p.upgraded.IsZero() && m.now.Sub(p.upgraded) < writeGrace
}

// hasAddress tells whether it could be dialled without the mesh's help.
func (p *peer) hasAddress() bool { return len(p.host.Addresses) > 0 }

// reloadHosts takes over the host files, which have been read again.
func (m *Mesh) reloadHosts(hosts map[node.Name]Host) {
	for _, p := range m.order {
		m.touch(p)
		if _, ok := hosts[p.name]; !ok && p.known && p != m.self && !m.justLearned(p) {
			m.hostGone(p)
		}
	}
	for name, h := range hosts {
		if p := m.nodes[name]; p != nil && len(p.host.Cached) > 0 { // newer than what is on disk
			h.Cached = p.host.Cached
		}
		m.setHost(name, true, h)
	}
}

// remember puts a to the front of p's address cache.
func (m *Mesh) remember(p *peer, a netip.AddrPort) {
	list := p.host.Cached
	if len(list) > 0 && list[0] == a {
		return
	}
	list = slices.DeleteFunc(slices.Clone(list), func(x netip.AddrPort) bool { return x == a })
	list = slices.Insert(list, 0, a)
	p.host.Cached = list[:min(len(list), maxRecent)]
	m.emit(SaveAddresses{Node: p.name, Addrs: slices.Clone(p.host.Cached)})
}

// learn takes k, which p has told over a connection that its RSA key protects, as its Ed25519 key.
func (m *Mesh) learn(p *peer, k keys.PublicKey) {
	p.known, p.upgraded, p.host.Key = true, m.now, &k
	m.logf(1, Info, "learned the public key of %s", p.name)
	m.emit(SaveKey{Node: p.name, Key: k})
	if !m.sessionFits(p) {
		m.endSession(p)
	}
}

// minor is the protocol minor that we speak: none without an Ed25519 key.
func (m *Mesh) minor() int {
	if m.cfg.Key == nil {
		return 0
	}
	return ProtocolMinor
}

// rsaLogin tells whether there are the keys for a login as in tinc 1.0 with p.
func (m *Mesh) rsaLogin(p *peer) bool { return m.cfg.RSAKey != nil && p.host.RSAKey != nil }

// mayLogIn tells whether a login with p could succeed, as far as keys go.
func (m *Mesh) mayLogIn(p *peer) bool {
	return m.loginKey(p) != nil && m.cfg.Key != nil || m.rsaLogin(p)
}

// speaksLegacy tells whether p is to be spoken to in the protocol of tinc 1.0, in which the relays
// on the way read the packets. A node whose Ed25519 key is known never is: anybody in the mesh
// could say that it does not speak SPTPS, to read what is for it.
func (m *Mesh) speaksLegacy(p *peer) bool {
	return p != m.self && p.reachable && (p.minor() < 2 && p.key() == nil || m.cfg.Key == nil)
}

// passOnly tells whether p, to which we speak the protocol of tinc 1.0, is sent nothing of our own:
// there is no RSA key of it here (or of our own), so perhaps somebody has made it up to read what is sent to it.
// What others send to it in that protocol we pass on, as tinc does.
func (m *Mesh) passOnly(p *peer) bool { return p.session.hopByHop() && !m.rsaLogin(p) }

// policy says which weak choices are allowed with p.
func (m *Mesh) policy(p *peer) legacy.Policy { return m.cfg.Policy.With(p.host.Policy) }

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

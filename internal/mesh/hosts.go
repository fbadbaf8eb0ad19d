package mesh

import (
	"net/netip"
	"slices"

	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
)

// setHost takes over the host file of a node, or that there is none, as far as the roster lets it count.
func (kr *keyring) setHost(name node.Name, known bool, h Host) {
	known, h = kr.roll.hostFile(name, known, h)
	kr.applyHost(name, known, h)
}

// applyHost takes over what counts as the host file of a node.
func (kr *keyring) applyHost(name node.Name, known bool, h Host) {
	if !known {
		if p := kr.nodes[name]; p != nil && p.trust.known && p != kr.self && !kr.justLearned(p) {
			kr.hostGone(p)
		}
		return
	}
	p := kr.peer(name)
	if h.Key == nil && kr.justLearned(p) {
		h.Key = p.trust.host.Key
	}
	if len(h.Cached) == 0 {
		h.Cached = p.trust.host.Cached
	}
	was := p.key()
	p.trust.known, p.trust.host = true, h
	p.trust.removed = false
	if p.session().hopByHop() {
		kr.touch(p) // with an RSA key packets of our own may go there
	}
	changed := was != nil && !sameKey(p.key(), was)
	if h.Key != nil {
		kr.replaceLearned(p, was)
	}
	if changed {
		kr.links.endLogins(p, "its key in the host file has changed")
	}
	if changed || !kr.sessions.sessionFits(p) {
		kr.sessions.endSession(p)
	}
	kr.subnets.setWritten(p, h.Subnets)
	if kr.cfg.StrictSubnets && p != kr.self {
		kr.subnets.replaceSubnets(p, h.Subnets)
	}
}

func sameKey(a, b *keys.PublicKey) bool { return a == b || a != nil && b != nil && *a == *b }

// hostGone: p has no host file any more. A login that is under way ends; what stands,
// stands until a reload.
func (kr *keyring) hostGone(p *peer) {
	p.trust.known, p.trust.host = false, Host{}
	kr.subnets.setWritten(p, nil)
	p.trust = trust{upgraded: p.trust.upgraded, askedKey: p.trust.askedKey, removed: true} // it comes back only if its owner wants it
	kr.sessions.endSession(p)
	kr.reach.linksChanged()
	if kr.cfg.StrictSubnets {
		kr.subnets.replaceSubnets(p, nil)
	}
	kr.links.endLogins(p, "its host file is gone")
}

// justLearned tells whether p's key is so new that it may not be in the host file yet.
func (kr *keyring) justLearned(p *peer) bool {
	return !p.trust.upgraded.IsZero() && kr.now.Sub(p.trust.upgraded) < writeGrace
}

// hasAddress tells whether it could be dialled without the mesh's help.
func (p *peer) hasAddress() bool { return len(p.trust.host.Addresses)+len(p.trust.host.Carriers) > 0 }

// reloadHosts takes over what counts as the host files, which have been read again.
func (kr *keyring) reloadHosts(hosts map[node.Name]Host) {
	for _, p := range kr.order {
		kr.touch(p)
		if _, ok := hosts[p.name]; !ok && p.trust.known && p != kr.self && !kr.justLearned(p) {
			kr.hostGone(p)
		}
	}
	for name, h := range hosts {
		if p := kr.nodes[name]; p != nil && len(p.trust.host.Cached) > 0 { // newer than what is on disk
			h.Cached = p.trust.host.Cached
		}
		kr.applyHost(name, true, h)
	}
}

// remember puts a to the front of p's address cache.
func (kr *keyring) remember(p *peer, a netip.AddrPort) {
	list := p.trust.host.Cached
	if len(list) > 0 && list[0] == a {
		return
	}
	list = slices.DeleteFunc(slices.Clone(list), func(x netip.AddrPort) bool { return x == a })
	list = slices.Insert(list, 0, a)
	p.trust.host.Cached = list[:min(len(list), maxRecent)]
	kr.emit(SaveAddresses{Node: p.name, Addrs: slices.Clone(p.trust.host.Cached)})
}

// learn takes k, which p has told over a connection that its RSA key protects, as its Ed25519 key.
func (kr *keyring) learn(p *peer, k keys.PublicKey) {
	if kr.roll.enforced() { // the roster says which key it has
		return
	}
	p.trust.known, p.trust.upgraded, p.trust.host.Key = true, kr.now, &k
	kr.logf(1, Info, "learned the public key of %s", p.name)
	kr.emit(SaveKey{Node: p.name, Key: k})
	if !kr.sessions.sessionFits(p) {
		kr.sessions.endSession(p)
	}
}

// minor is the protocol minor that we speak: none without an Ed25519 key.
func (kr *keyring) minor() int {
	if kr.cfg.Key == nil {
		return 0
	}
	return ProtocolMinor
}

// rsaLogin tells whether there are the keys for a login as in tinc 1.0 with p.
func (kr *keyring) rsaLogin(p *peer) bool { return kr.cfg.RSAKey != nil && p.trust.host.RSAKey != nil }

// mayLogIn tells whether a login with p could succeed, as far as keys go.
func (kr *keyring) mayLogIn(p *peer) bool {
	return kr.loginKey(p) != nil && kr.cfg.Key != nil || kr.rsaLogin(p)
}

// speaksLegacy tells whether p is to be spoken to in the protocol of tinc 1.0, in which the relays
// on the way read the packets. A node whose Ed25519 key is known never is: anybody in the mesh
// could say that it does not speak SPTPS, to read what is for it.
func (kr *keyring) speaksLegacy(p *peer) bool {
	return p != kr.self && p.reachable() && (p.minor() < 2 && p.key() == nil || kr.cfg.Key == nil)
}

// passOnly tells whether p, to which we speak the protocol of tinc 1.0, is sent nothing of our own:
// there is no RSA key of it here (or of our own), so perhaps somebody has made it up to read what is sent to it. Or
// post-quantum keys are required. What others send to it in that protocol we pass on, as tinc does.
func (kr *keyring) passOnly(p *peer) bool {
	return p.session().hopByHop() && (!kr.rsaLogin(p) || kr.postQuantum(p.host()) == hybrid.Require)
}

// policy says which weak choices are allowed with p.
func (kr *keyring) policy(p *peer) legacy.Policy { return kr.cfg.Policy.With(p.trust.host.Policy) }

// whyNotLegacy tells why nothing is sent to p, which is said to speak only the protocol of tinc 1.0,
// or as which we speak only that. "": it is said to speak SPTPS, and so do we.
func (kr *keyring) whyNotLegacy(p *peer) string {
	switch {
	case kr.cfg.Key != nil && p.minor() >= 2, p.session().hopByHop() && kr.rsaLogin(p):
		return ""
	case kr.cfg.RSAKey == nil:
		return "only the protocol of tinc 1.0 is possible with it, for which this node has no RSA key"
	case kr.cfg.Key != nil && p.key() != nil:
		return "it is said to speak only the protocol of tinc 1.0, but it has an Ed25519 key"
	}
	return "it is said to speak only the protocol of tinc 1.0, for which its host file with its RSA key has to be here"
}

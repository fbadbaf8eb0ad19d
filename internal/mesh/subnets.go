package mesh

import (
	"maps"
	"slices"

	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// subnetRequest is an ADD_SUBNET or DEL_SUBNET of ours.
type subnetRequest interface {
	Append(dst []byte) []byte
	AppendLong(dst []byte) []byte
}

func (m *Mesh) addSubnet(c *conn, text string) error {
	r, err := wire.ParseAddSubnet(text)
	if err != nil {
		return err
	}
	m.stillThere(r.Owner, r.Subnet)
	if !m.isNew(text) || !m.concerns(c, r.Owner) {
		return nil
	}
	if !m.register(c, r.Owner) {
		return nil
	}
	p := m.nodes[r.Owner]
	if _, ok := p.subnets[r.Subnet]; ok {
		return nil
	}
	if p == m.self {
		m.logf(2, Warning, "%s claims that %s is ours, which it is not", c, r.Subnet)
		m.sendSubnet(c, m.deletedSubnet(r.Owner, r.Subnet))
		return nil
	}
	if m.cfg.TunnelServer {
		return nil
	}
	if !m.cfg.StrictSubnets {
		if len(p.subnets) >= maxSubnetsOf {
			m.limitExceeded(c, "subnet %s of %s: it has more than %d", r.Subnet, r.Owner, maxSubnetsOf)
			return nil
		}
		if !m.roomFor(c, share{subnets: 1}, r.Owner) {
			return nil
		}
		m.putSubnet(p, r.Subnet, c.peer.name)
		m.cede(r.Subnet)
	}
	m.flood(c, []byte(text))
	return nil
}

func (m *Mesh) delSubnet(c *conn, text string) error {
	r, err := wire.ParseDelSubnet(text)
	if err != nil {
		return err
	}
	if !m.concerns(c, r.Owner) {
		return nil
	}
	p := m.nodes[r.Owner]
	if p == nil {
		m.isNew(text)
		return nil
	}
	_, has := p.subnets[r.Subnet]
	if !m.cfg.TunnelServer && !m.cfg.StrictSubnets && m.hearsay(c, r.Owner, ofSubnet(r.Subnet), text, !has) {
		return nil
	}
	first := m.isNew(text)
	switch {
	case p == m.self: // answered even if it is not new: c may have been told by others, and asks us, see hearsay
		if has && (first || m.answersTo(c, text) <= 1) {
			m.sendSubnet(c, m.addedSubnet(r.Owner, r.Subnet))
		}
	case !first, m.cfg.TunnelServer:
	case m.cfg.StrictSubnets:
		m.flood(c, []byte(text))
	case has:
		m.flood(c, []byte(text))
		m.dropSubnet(p, r.Subnet)
	}
	return nil
}

// putSubnet gives p a subnet that the neighbour called by has told of, "" for none.
func (m *Mesh) putSubnet(p *peer, s subnet.Subnet, by node.Name) {
	if p.subnets == nil {
		p.subnets = map[subnet.Subnet]node.Name{}
	}
	p.subnets[s] = by
	m.chargeTo(by, share{subnets: 1})
	m.subnets++
	p.sorted = nil
	m.countSubnet(p, s, true)
	m.touchRoute(p, s)
	if p.reachable {
		m.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

func (m *Mesh) dropSubnet(p *peer, s subnet.Subnet) {
	m.chargeTo(p.subnets[s], share{subnets: -1})
	delete(p.subnets, s)
	m.subnets--
	p.sorted = nil
	m.countSubnet(p, s, false)
	m.touchRoute(p, s)
	if p.reachable {
		m.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

// replaceSubnets gives p exactly the subnets of list, without telling anybody.
func (m *Mesh) replaceSubnets(p *peer, list []subnet.Subnet) {
	for _, s := range sortedSubnets(p) {
		if !slices.Contains(list, s) {
			m.dropSubnet(p, s)
		}
	}
	for _, s := range list {
		if _, ok := p.subnets[s]; !ok {
			m.putSubnet(p, s, "")
		}
	}
}

// sendSubnet writes a request as the protocol of the neighbour has it.
func (m *Mesh) sendSubnet(c *conn, r subnetRequest) {
	if c.isLegacy() {
		m.send(c, r.AppendLong(nil))
		return
	}
	m.send(c, r.Append(nil))
}

// floodSubnet sends a request to all activated connections.
func (m *Mesh) floodSubnet(r subnetRequest) {
	for _, c := range m.activeConns() {
		m.sendSubnet(c, r)
	}
}

func (m *Mesh) addedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.AddSubnet{Nonce: m.nonce(), Owner: owner, Subnet: s}
}

func (m *Mesh) deletedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.DelSubnet{Nonce: m.nonce(), Owner: owner, Subnet: s}
}

// replaceOwnSubnets announces and withdraws our own subnets.
func (m *Mesh) replaceOwnSubnets(list []subnet.Subnet) {
	for _, s := range sortedSubnets(m.self) {
		if !slices.Contains(list, s) && !m.learned.has(s) {
			m.dropSubnet(m.self, s)
			m.floodSubnet(m.deletedSubnet(m.cfg.Name, s))
		}
	}
	for _, s := range list {
		delete(m.learned.until, s) // it is ours for good now
		if _, ok := m.self.subnets[s]; !ok {
			m.putSubnet(m.self, s, "")
			m.floodSubnet(m.addedSubnet(m.cfg.Name, s))
		}
	}
}

// warnOfOwnSubnets says that others do not listen to all that we announce.
func (m *Mesh) warnOfOwnSubnets() {
	if n := len(m.self.subnets); n > maxSubnetsOf {
		m.logf(0, Warning, "this node has %d subnets, of which others believe %d: join neighbouring ones into larger ones, or spread them over several nodes", n, maxSubnetsOf)
	}
}

// sortedSubnets returns the subnets of p in tinc's order. The slice does not change
// when subnets come and go.
func sortedSubnets(p *peer) []subnet.Subnet {
	if p.sorted == nil && len(p.subnets) > 0 {
		p.sorted = slices.SortedFunc(maps.Keys(p.subnets), subnet.Compare)
	}
	return p.sorted
}

// beginSubnets takes in our own subnets.
func (m *Mesh) beginSubnets() {
	for _, s := range m.cfg.Subnets {
		if _, ok := m.self.subnets[s]; !ok {
			m.putSubnet(m.self, s, "")
		}
	}
	m.warnOfOwnSubnets()
}

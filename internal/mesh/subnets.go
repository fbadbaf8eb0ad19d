package mesh

import (
	"maps"
	"slices"

	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// subnets is who owns which addresses inside the VPN, and what the data plane is told of that.
type subnets struct {
	*env
	*directory

	total    int             // subnets of all nodes
	routes   routesToPublish // what has changed of subnets and the tree
	learned  learned         // MAC addresses on our side
	attached deviceAddrs     // addresses of devices at our door

	roll interface { // who belongs to the network
		granted(owner node.Name, s subnet.Subnet) bool
		grants(c *conn, text string, owner node.Name, s subnet.Subnet) bool
		withdrawn(s subnet.Subnet, names ...node.Name)
	}
	topology interface { // what is announced
		answersTo(c *conn, text string) int
		chargeTo(by node.Name, more share)
		concernsOwner(c *conn, owner node.Name) bool
		countSubnet(p *peer, s subnet.Subnet, add bool)
		hearsay(c *conn, from node.Name, to node.Name, text string, known bool) bool
		isNew(text string) bool
		registerOwner(c *conn, owner node.Name) bool
		roomForSubnet(c *conn, owner node.Name) bool
		stillThere(c *conn, owner node.Name, s subnet.Subnet) bool
		withhold(c *conn, w withdrawn) bool
	}
	reach interface { // who is reached
		broadcastTree() []node.Name
		onlyClaimed(p *peer) bool
		silent(p *peer) bool
	}
	links interface { // connections
		activeConns() []*conn
		flood(from *conn, text string)
		send(c *conn, text []byte)
	}
}

// subnetRequest is an ADD_SUBNET or DEL_SUBNET of ours.
type subnetRequest interface {
	Append(dst []byte) []byte
	AppendLong(dst []byte) []byte
}

func (sn *subnets) addSubnet(c *conn, text string) error {
	r, err := wire.ParseAddSubnet(text)
	if err != nil {
		return err
	}
	if !sn.roll.grants(c, text, r.Owner, r.Subnet) {
		return nil
	}
	disputed := sn.topology.stillThere(c, r.Owner, r.Subnet)
	if !sn.topology.isNew(text) || !sn.topology.concernsOwner(c, r.Owner) {
		return nil
	}
	if !sn.topology.registerOwner(c, r.Owner) {
		return nil
	}
	p := sn.nodes[r.Owner]
	if _, ok := p.owns.subnets[r.Subnet]; ok {
		if disputed && !sn.cfg.TunnelServer {
			sn.links.flood(c, text)
			sn.deviceMoved(r.Subnet) // it was there before, and is back before we have believed that it had left
		}
		return nil
	}
	if p == sn.self {
		sn.logf(2, Warning, "%s claims that %s is ours, which it is not", c, r.Subnet)
		sn.sendSubnet(c, sn.deletedSubnet(r.Owner, r.Subnet))
		return nil
	}
	if sn.cfg.TunnelServer {
		return nil
	}
	if !sn.cfg.StrictSubnets {
		if len(p.owns.subnets) >= maxSubnetsOf {
			sn.limitExceeded(c, "subnet %s of %s: it has more than %d", r.Subnet, r.Owner, maxSubnetsOf)
			return nil
		}
		if !sn.topology.roomForSubnet(c, r.Owner) {
			return nil
		}
		sn.putSubnet(p, r.Subnet, c.peer.name)
		sn.cede(r.Subnet)
		sn.deviceMoved(r.Subnet)
	}
	sn.links.flood(c, text)
	return nil
}

func (sn *subnets) delSubnet(c *conn, text string) error {
	r, err := wire.ParseDelSubnet(text)
	if err != nil {
		return err
	}
	if !sn.topology.concernsOwner(c, r.Owner) {
		return nil
	}
	sn.roll.withdrawn(r.Subnet, r.Owner)
	p := sn.nodes[r.Owner]
	if p == nil {
		sn.topology.isNew(text)
		return nil
	}
	_, has := p.owns.subnets[r.Subnet]
	if !sn.cfg.TunnelServer && !sn.cfg.StrictSubnets && sn.topology.hearsay(c, r.Owner, ofSubnet(r.Subnet), text, !has) {
		return nil
	}
	first := sn.topology.isNew(text)
	switch {
	case p == sn.self: // answered even if it is not new: c may have been told by others, and asks us, see hearsay
		if has && (first || sn.topology.answersTo(c, text) <= 1) {
			sn.sendSubnet(c, sn.addedSubnet(r.Owner, r.Subnet))
		}
	case !first, sn.cfg.TunnelServer:
	case sn.cfg.StrictSubnets:
		sn.links.flood(c, text)
	case !has, sn.topology.withhold(c, withdrawn{what: [2]node.Name{r.Owner, ofSubnet(r.Subnet)}, subnet: r.Subnet, text: text}):
	default:
		sn.links.flood(c, text)
		sn.dropSubnet(p, r.Subnet)
	}
	return nil
}

// withdraw takes a subnet away from owner, if it has it.
func (sn *subnets) withdraw(owner node.Name, s subnet.Subnet) {
	if p := sn.nodes[owner]; p != nil {
		if _, has := p.owns.subnets[s]; has {
			sn.dropSubnet(p, s)
		}
	}
}

// dropUngranted takes away from p what the roster does not grant it any more, and returns it with the neighbours that have told
// of it.
func (sn *subnets) dropUngranted(p *peer) (dropped map[subnet.Subnet]node.Name) {
	for _, s := range sortedSubnets(p) {
		if !sn.roll.granted(p.name, s) {
			if dropped == nil {
				dropped = map[subnet.Subnet]node.Name{}
			}
			dropped[s] = p.owns.subnets[s]
			sn.dropSubnet(p, s)
		}
	}
	return dropped
}

// putSubnet gives p a subnet that the neighbour called by has told of, "" for none.
func (sn *subnets) putSubnet(p *peer, s subnet.Subnet, by node.Name) {
	if p.owns.subnets == nil {
		p.owns.subnets = map[subnet.Subnet]node.Name{}
	}
	p.owns.subnets[s] = by
	sn.topology.chargeTo(by, share{subnets: 1})
	sn.total++
	p.owns.sorted = nil
	sn.topology.countSubnet(p, s, true)
	sn.touchRoute(p, s)
	if p.isUp() {
		sn.emit(SubnetUp{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

func (sn *subnets) dropSubnet(p *peer, s subnet.Subnet) {
	sn.topology.chargeTo(p.owns.subnets[s], share{subnets: -1})
	delete(p.owns.subnets, s)
	sn.total--
	p.owns.sorted = nil
	sn.topology.countSubnet(p, s, false)
	sn.touchRoute(p, s)
	if p.isUp() {
		sn.emit(SubnetDown{Owner: p.name, Subnet: s, Addr: p.addr()})
	}
}

// replaceSubnets gives p exactly the subnets of list, without telling anybody.
func (sn *subnets) replaceSubnets(p *peer, list []subnet.Subnet) {
	for _, s := range sortedSubnets(p) {
		if !slices.Contains(list, s) {
			sn.dropSubnet(p, s)
		}
	}
	for _, s := range list {
		if _, ok := p.owns.subnets[s]; !ok {
			sn.putSubnet(p, s, "")
		}
	}
}

// sendSubnet writes a request as the protocol of the neighbour has it.
func (sn *subnets) sendSubnet(c *conn, r subnetRequest) {
	if c.isLegacy() {
		sn.links.send(c, r.AppendLong(nil))
		return
	}
	sn.links.send(c, r.Append(nil))
}

// floodSubnet sends a request to all activated connections.
func (sn *subnets) floodSubnet(r subnetRequest) {
	for _, c := range sn.links.activeConns() {
		sn.sendSubnet(c, r)
	}
}

func (sn *subnets) addedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.AddSubnet{Nonce: sn.nonce(), Owner: owner, Subnet: s}
}

func (sn *subnets) deletedSubnet(owner node.Name, s subnet.Subnet) subnetRequest {
	return wire.DelSubnet{Nonce: sn.nonce(), Owner: owner, Subnet: s}
}

// replaceOwnSubnets announces and withdraws our own subnets.
func (sn *subnets) replaceOwnSubnets(list []subnet.Subnet) {
	for _, s := range sortedSubnets(sn.self) {
		if !slices.Contains(list, s) && !sn.learned.has(s) && !sn.attached[s] {
			sn.dropSubnet(sn.self, s)
			sn.floodSubnet(sn.deletedSubnet(sn.cfg.Name, s))
		}
	}
	for _, s := range list {
		delete(sn.learned.until, s) // it is ours for good now
		delete(sn.attached, s)
		if _, ok := sn.self.owns.subnets[s]; !ok {
			sn.putSubnet(sn.self, s, "")
			sn.floodSubnet(sn.addedSubnet(sn.cfg.Name, s))
		}
	}
}

// warnOfOwnSubnets says that others do not listen to all that we announce.
func (sn *subnets) warnOfOwnSubnets() {
	if n := len(sn.self.owns.subnets); n > maxSubnetsOf {
		sn.logf(0, Warning, "this node has %d subnets, of which others believe %d: join neighbouring ones into larger ones, or spread them over several nodes", n, maxSubnetsOf)
	}
}

// sortedSubnets returns the subnets of p in tinc's order. The slice does not change
// when subnets come and go.
func sortedSubnets(p *peer) []subnet.Subnet {
	if p.owns.sorted == nil && len(p.owns.subnets) > 0 {
		p.owns.sorted = slices.SortedFunc(maps.Keys(p.owns.subnets), subnet.Compare)
	}
	return p.owns.sorted
}

// beginSubnets takes in our own subnets.
func (sn *subnets) beginSubnets() {
	for _, s := range sn.cfg.Subnets {
		if _, ok := sn.self.owns.subnets[s]; !ok {
			sn.putSubnet(sn.self, s, "")
		}
	}
	sn.warnOfOwnSubnets()
}

// subnetState is what the table of subnets keeps of a node.
type subnetState struct {
	subnets map[subnet.Subnet]node.Name // and by which neighbour we know, "": by our own files
	sorted  []subnet.Subnet             // the same in order; nil: to be worked out
	written map[subnet.Subnet]struct{}  // those of its host file, all with the default weight
}

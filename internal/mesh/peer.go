package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/rate"
	"tincan/internal/subnet"
)

// peer is what we know of one node, ourselves included.
type peer struct {
	name     node.Name
	id       node.ID
	known    bool      // has a host file here
	upgraded time.Time // when its key came by an RSA login, zero: it did not
	host     Host

	subnets    map[subnet.Subnet]node.Name // and by which neighbour we know, "": by our own files
	sorted     []subnet.Subnet             // the same in order; nil: to be worked out
	sums       sums                        // of what it has announced
	written    map[subnet.Subnet]struct{}  // those of its host file, all with the default weight
	path       graph.Path
	found      uint64 // the last search that found an edge of it
	reachable  bool
	born       time.Time      // when it was first heard of
	by         node.Name      // the neighbour by way of which that was, "" if it was not
	since      time.Time      // of the last change of reachability, zero: never
	hidden     bool           // not listed: somebody wanted it forgotten
	announced  netip.AddrPort // its address when it became reachable, for scripts
	conn       *conn          // activated meta connection
	problem    string         // why the last attempt at a connection failed, "" if it did not
	refusal    refusal        // whether that was the login
	startTimer *timer         // of onNeighbourUp
	failed     int            // attempts of AutoConnect to connect to it, in a row
	shunned    time.Time      // when AutoConnect may try it again

	session  session
	trust    trust     // what is known of its key beside its host file
	askedKey time.Time // last request for its public key, zero: it was answered

	seenAt    netip.AddrPort // where others see it by UDP
	contacted *contact       // nil: we have had nothing to do with it, see contact()

	active    time.Time // last traffic
	published PeerState
}

// peer returns the node called name, creating it (unreachable) if it is new.
func (m *Mesh) peer(name node.Name) *peer {
	p := m.nodes[name]
	if p == nil {
		p = &peer{name: name, id: name.ID(), born: m.now}
		m.beginTrust(p)
		m.beginSession(p)
		m.nodes[name] = p
		m.byID[p.id] = p
		i, _ := slices.BinarySearchFunc(m.order, p, byName)
		m.order = slices.Insert(m.order, i, p)
	}
	return p
}

// remove takes p out of the tables.
func (m *Mesh) remove(p *peer) {
	delete(m.nodes, p.name)
	delete(m.byID, p.id)
	if i, ok := slices.BinarySearchFunc(m.order, p, byName); ok {
		m.order = slices.Delete(m.order, i, i+1)
	}
	m.touch(p)
}

// touch has the state of p published, if it has changed.
func (m *Mesh) touch(p *peer) {
	if p != m.self {
		m.dirty[p] = struct{}{}
	}
}

func byName(a, b *peer) int { return cmp.Compare(a.name, b.name) }

// contact is what comes with having to do with a node: how it is reached by UDP, who relays, what was tried to
// reach it better, what it has asked for. Of most nodes of a large mesh there is none, nor of those that a
// member invents; so a node that is only heard of takes a fraction of the memory.
type contact struct {
	udp      udpPath
	relaying relaying
	onDemand onDemand
	punch    punch

	told   told        // to it, or about it
	logins logins      // of it, that were refused
	starts starts      // of sessions, by it
	echoes rate.Bucket // of its requests that are answered
}

// contact returns what there is, and begins it if there is nothing. Who only wants to know asks
// one of the methods below it.
func (p *peer) contact() *contact {
	if p.contacted == nil {
		p.contacted = &contact{udp: newUDPPath(p.seenAt), relaying: newRelaying()}
	}
	return p.contacted
}

func (p *peer) udp() *udpPath       { return &p.contact().udp }
func (p *peer) relaying() *relaying { return &p.contact().relaying }
func (p *peer) onDemand() *onDemand { return &p.contact().onDemand }
func (p *peer) punch() *punch       { return &p.contact().punch }

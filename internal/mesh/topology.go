package mesh

import (
	"time"

	"tincan/internal/mesh/seen"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// topology is what nodes have announced: which edges there are, and whom we know at all. It floods what is new,
// has neighbours agree about it, and bounds it.
type topology struct {
	*env
	*directory

	seen       seen.Texts // flooded requests
	tombstones seen.Texts // ADD_EDGEs of edges that are no more as they say
	answered   seen.Texts // old words about edges that were answered, by connection

	sums    sums                // of what reachable nodes have announced
	brought map[node.Name]share // what came by way of a neighbour
	full    time.Time           // when nothing could give way any more, for a second

	contradictions struct{ adds, dels int }
	quiet          time.Duration // for how long not to contradict the next time that it is in vain
	quietUntil     time.Time
	judging        alarm // of checkContradictions

	withheld withdrawals

	roll interface { // who belongs to the network
		admits(c *conn, text string, names ...node.Name) bool
		enforced() bool
		withdrawn(s subnet.Subnet, names ...node.Name)
	}
	reach interface { // who is reached
		graphChanged()
		graphHasChanged() bool
		orphan(name node.Name)
	}
	subnets interface { // who owns what
		addSubnet(c *conn, text string) error
		addedSubnet(owner node.Name, s subnet.Subnet) subnetRequest
		delSubnet(c *conn, text string) error
		deletedSubnet(owner node.Name, s subnet.Subnet) subnetRequest
		dropSubnet(p *peer, s subnet.Subnet)
		floodSubnet(r subnetRequest)
		sendSubnet(c *conn, r subnetRequest)
		subnetCount() int
		withdraw(owner node.Name, s subnet.Subnet)
	}
	keyring interface { // host files and keys
		speaksFor(c *conn, p *peer) bool
	}
	links interface { // connections
		activeConns() []*conn
		flood(from *conn, text string)
		send(c *conn, text []byte)
		withConn() map[*peer]bool
	}
	dialer interface { // whom we dial
		isDialTarget(name node.Name) bool
	}
}

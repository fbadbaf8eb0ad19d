package mesh

import (
	"fmt"
	"testing"
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// ranks are the last published ranks of subnets, by "owner subnet".
func (p *player) ranks() map[string]subnet.Rank {
	out := map[string]subnet.Rank{}
	for _, e := range p.m.Flush(p.now) {
		switch e.(type) {
		case PublishRoutes, ChangeRoutes:
			p.published(e)
		}
	}
	for _, o := range p.routed {
		out[fmt.Sprint(o.Owner, " ", o.Subnet)] = o.Rank
	}
	return out
}

func TestSubnetsHaveRanks(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	p.ranks()
	p.m.Handle(p.now, Request{Conn: 2, Text: "10 1 bob 10.0.2.0/24#3"})
	p.m.Handle(p.now, Request{Conn: 2, Text: "10 2 bob 10.0.9.0/24"})
	h := p.m.nodes["bob"].trust.host
	h.Subnets = []subnet.Subnet{mustSubnet(t, "10.0.2.0/24")}
	p.m.Handle(p.now, HostLoaded{Node: "bob", Known: true, Host: h})
	got := p.ranks()
	for claim, want := range map[string]subnet.Rank{
		"bob 10.0.2.0/24#3": subnet.Written, // the weight is another
		"bob 10.0.9.0/24":   subnet.Announced,
	} {
		if rank, ok := got[claim]; !ok || rank != want {
			t.Errorf("%s has rank %d (published %v), want %d", claim, rank, ok, want)
		}
	}
	h.Subnets = nil
	p.m.Handle(p.now, HostLoaded{Node: "bob", Known: true, Host: h})
	if rank := p.ranks()["bob 10.0.2.0/24#3"]; rank != subnet.Announced {
		t.Errorf("the host file says nothing of it any more, and it has rank %d", rank)
	}
}

// A change in a large table is published alone, and many changes at a time not more often than a table takes.
func TestLargeTableIsPublishedInParts(t *testing.T) {
	p := newPlayer(t)
	p.input("node alice")
	p.neighbours()
	for o := range 2 {
		owner := node.Name(fmt.Sprint("n", o))
		for i := range 8000 {
			p.m.Handle(p.now, Request{Conn: ConnID(2 + 2*o), Text: fmt.Sprintf("10 %x %s 10.%d.%d.%d", o<<16+i+16, owner, o, i>>8, i&255)})
		}
	}
	p.now = p.now.Add(time.Second)
	p.m.Tick(p.now)
	p.m.Flush(p.now)
	published, entries := 0, 0
	for i := range 2000 { // in a second
		p.now = p.now.Add(500 * time.Microsecond)
		p.m.Handle(p.now, Request{Conn: 2, Text: fmt.Sprintf("%d %x n0 10.9.9.9", 10+i%2, i+1<<20)})
		p.m.Tick(p.now)
		for _, e := range p.m.Flush(p.now) {
			switch e := e.(type) {
			case PublishRoutes:
				t.Fatal("all of it was published")
			case ChangeRoutes:
				published++
				entries += len(e.Set) + len(e.Gone)
			}
		}
	}
	if published < 2 || published > 6 || entries != published {
		t.Errorf("published %d times, %d entries", published, entries)
	}
}

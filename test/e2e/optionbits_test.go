//go:build linux

package e2e

import (
	"testing"

	"tincan/internal/lab"
	nodename "tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/wire"
	"tincan/test/attack"
)

// TestTincPassesOnOurOptionBits: tinc gives no heed to the option bits of tincan, and passes them on, those of an ACK and those of
// an ADD_EDGE. Nodes of tincan with only tinc between them find each other by these.
func TestTincPassesOnOurOptionBits(t *testing.T) {
	t.Parallel()
	const ours = wire.Echoes | wire.NoRelay | wire.Punch | wire.RosterExchange
	for _, through := range []kind{tinc10, tinc11} {
		t.Run(through.String(), func(t *testing.T) {
			a := &arena{world: newWorld(t, "ip4")}
			sites := []site{{name: "stock", kind: through, patient: true}, {name: "mallory", patient: true}, {name: "eve", patient: true}}
			var n []*node
			if through == tinc10 {
				n = a.legacy(sites...)
			} else {
				needTinc(t)
				n = a.static(sites...)
			}
			a.entry, a.mallory = n[0], n[1]
			a.entry.up()
			a.must(a.entry.daemon.WaitLog("Ready", patience)) // tinc listens only after its tinc-up
			login := func(n *node) *attack.Conn {
				m := a.member(n)
				m.Options = ours
				c, err := a.logsIn(m, a.entry)
				a.must(err)
				return c
			}
			mallory, eve := login(n[1]), login(n[2])
			a.must(mallory.Send(attack.Edge("mallory", "far", a.at(), ours.WithMinor(7)), attack.Edge("far", "mallory", a.at(), ours.WithMinor(7))))
			for _, e := range [][2]nodename.Name{{"stock", "mallory"}, {"mallory", "far"}, {"far", "mallory"}} {
				line, ok := eve.Await(patience, func(line string) bool {
					edge, err := wire.ParseAddEdge(line)
					return err == nil && edge.From == e[0] && edge.To == e[1]
				})
				if edge, err := wire.ParseAddEdge(line); !ok || err != nil || !edge.Options.Has(ours) {
					t.Errorf("the edge from %s to %s comes as %q", e[0], e[1], line)
				}
			}
			for _, c := range []*attack.Conn{mallory, eve} {
				if err := c.Err(); err != nil {
					t.Errorf("a connection has ended: %v", err)
				}
			}
		})
	}
}

// Nodes of tincan that have only nodes of tinc between them exchange the roster inside their session.
func TestARosterPassesThroughTinc(t *testing.T) {
	t.Parallel()
	for _, through := range []kind{tinc10, tinc11} {
		t.Run(through.String(), func(t *testing.T) {
			if through == tinc11 {
				needTinc(t)
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			make := w.static
			if through == tinc10 {
				make = w.legacy
			}
			n := make(site{name: "alice", connect: []string{"stock"}}, site{name: "stock", kind: through}, site{name: "carol", connect: []string{"stock"}})
			alice, carol := n[0], n[2]
			w.block(lab.All, alice, carol)
			upAll(n...)
			w.allReach("ip4", n...)
			a := asJSON[report.Adopted](alice, "roster", "adopt", "--signed")
			carol.tincan("roster", "accept", "--signed", a.Network)
			w.eventually("carol has the roster", patience, func() bool {
				v := carol.view()
				return !v.Fetching && len(v.Members) == 3
			})
			alice.tincan("admit", "dave", "--key", newPublicKey(w))
			w.eventually("carol has heard of dave", patience, func() bool { return carol.hasMember("dave") })
			w.allReach("ip4", n...)
		})
	}
}

//go:build linux

package e2e

import (
	"strconv"
	"strings"
	"time"
)

// seen is a line of "dump nodes": what one node knows of another.
type seen struct {
	nexthop, via      string
	status            uint64
	pmtu, minMTU      int
	reachable, direct bool // direct: UDP works without a relay
}

// Bits of the status in "dump nodes".
const (
	reachableBit    = 1 << 4
	sptpsBit        = 1 << 6
	udpConfirmedBit = 1 << 7
)

// sees returns what the node knows of the one called name.
func (n *node) sees(name string) seen {
	n.w.Helper()
	return n.seesAll()[name]
}

// seesAll returns what the node knows of every node.
func (n *node) seesAll() map[string]seen {
	n.w.Helper()
	all := map[string]seen{}
	for line := range strings.Lines(n.dump("nodes")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		name := words[0]
		var s seen
		value := func(key string) string {
			for i, w := range words[:len(words)-1] {
				if w == key {
					return words[i+1]
				}
			}
			n.w.Fatalf("no %q in the line %q", key, line)
			return ""
		}
		s.nexthop, s.via = value("nexthop"), value("via")
		s.status, _ = strconv.ParseUint(value("status"), 16, 32)
		s.pmtu, _ = strconv.Atoi(value("pmtu"))
		s.minMTU, _ = strconv.Atoi(strings.TrimSuffix(value("(min"), ")"))
		s.reachable = s.status&reachableBit != 0
		s.direct = s.status&udpConfirmedBit != 0 && s.via == name
		all[name] = s
	}
	return all
}

// talksDirectly waits until there is confirmed UDP towards the other node.
// There must be traffic, so it pings.
func (n *node) talksDirectly(to *node) {
	n.w.Helper()
	n.w.eventually(n.Name()+" talks to "+to.Name()+" by UDP", 2*patience, func() bool {
		_, _ = n.Ping(to.vpn(to.family()), 56, 200*time.Millisecond)
		return n.sees(to.Name()).direct
	})
}

// linked says whether there is a meta connection between the two that both have activated. Of two that
// dial each other, one connection is closed again.
func (n *node) linked(to *node) bool {
	n.w.Helper()
	edges := "\n" + n.dump("edges")
	return strings.Contains(edges, "\n"+n.Name()+" to "+to.Name()+" ") && strings.Contains(edges, "\n"+to.Name()+" to "+n.Name()+" ")
}

// connected says whether the node lists a meta connection with the other one, if only one that is being made.
func (n *node) connected(to *node) bool {
	n.w.Helper()
	for line := range strings.Lines(n.dump("connections")) {
		if strings.HasPrefix(line, to.Name()+" ") {
			return true
		}
	}
	return false
}

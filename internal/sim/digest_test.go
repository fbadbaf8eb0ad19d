package sim

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"hash"
	"os"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/wire"
)

var digestsFlag = flag.String("digests", "", "write digests of all that random networks do to this file, to compare two versions of the code; -from and -seeds choose the networks")

// TestRunsAreRepeatable: the same seed gives the same run, down to the last random number. With -digests it
// writes what the runs of many seeds come to, which a change of the code that changes nothing else leaves as it is.
func TestRunsAreRepeatable(t *testing.T) {
	if *digestsFlag != "" {
		writeDigests(t)
		return
	}
	for seed := uint64(1); seed <= 2; seed++ {
		if a, b := runOf(t, seed), runOf(t, seed); a != b {
			t.Errorf("two runs of seed %d differ:\n%s\n%s", seed, a, b)
		}
	}
}

func writeDigests(t *testing.T) {
	first, last := randomSeeds()
	var out bytes.Buffer
	for seed := first; seed <= last; seed++ {
		fmt.Fprintln(&out, runOf(t, seed))
	}
	if err := os.WriteFile(*digestsFlag, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// runOf says in one line what the random network of a seed does in a few minutes with trouble, in each third of them
// with nodes of tinc 1.0: how much of what, and a digest of all effects of all nodes and of what they tell in the end.
func runOf(t *testing.T, seed uint64) string {
	sum := sha256.New()
	old := float64(seed%3) / 4
	begin := func(w *World) {
		w.OnEffect = func(h *Host, e mesh.Effect) {
			fmt.Fprintf(sum, "%d %s ", w.Now.UnixNano(), h.Name)
			digestEffect(sum, e)
		}
	}
	n := newNetworkWith(t, seed, old, begin)
	n.trouble(time.Minute)
	n.heal()
	for range 20 {
		for _, a := range n.hosts {
			n.w.Send(a, n.any(), 64+n.w.Rand.IntN(1300), func(Trace) {})
		}
		n.w.Run(time.Second)
	}
	requests := 0
	for _, count := range n.w.Sent {
		requests += count
	}
	for _, h := range n.hosts {
		digestState(sum, h, n.hosts)
	}
	fmt.Fprintln(sum, n.w.Rand.Uint64())
	return fmt.Sprintf("seed %d nodes %d requests %d datagrams %d dials %d digest %x", seed, len(n.hosts), requests, n.w.Datagrams, n.w.Dials, sum.Sum(nil)[:16])
}

// digestEffect writes what can be told of an effect without pointers.
func digestEffect(sum hash.Hash, e mesh.Effect) {
	switch e := e.(type) {
	case mesh.SecureLegacy:
		fmt.Fprintln(sum, "secure legacy", e.Conn, e.Initiator, e.Node, e.Policy)
	case mesh.Secure:
		second := e.Hybrid
		e.Hybrid = nil
		fmt.Fprintf(sum, "%T %+v %+v\n", e, e, second)
	case mesh.Send: // what ML-KEM encapsulates is random, and so are the messages that follow from it
		if r, err := wire.ParseAnsKey(e.Text); err == nil && recordOf(e.Text, r.From, r.To) >= 2 {
			r.Key = strings.Repeat("x", len(r.Key))
			e.Text = string(r.Append(nil))
		}
		fmt.Fprintf(sum, "%T %+v\n", e, e)
	case mesh.PublishPeers:
		for _, p := range e.Peers {
			tunnel, legacy := p.Tunnel != nil, p.Legacy != nil
			p.Tunnel, p.Legacy = nil, nil
			fmt.Fprintf(sum, "publish %v %v %+v\n", tunnel, legacy, p)
		}
	default:
		fmt.Fprintf(sum, "%T %+v\n", e, e)
	}
}

// digestState writes what the core of h tells.
func digestState(sum hash.Hash, h *Host, others []*Host) {
	c := h.Core
	fmt.Fprintf(sum, "%s %d %+v %+v %+v %+v %+v %+v %+v\n", h.Name, c.Deadline().UnixNano(), c.Size(), c.Nodes(), c.Edges(), c.Subnets(), c.Conns(), c.Underlay(), c.Links())
	for _, o := range others {
		key, good := c.KeyOf(o.Name)
		fmt.Fprintf(sum, "%+v %+v %v %v %v %v\n", c.Why(o.Name, mesh.Found{}), c.FirstHop(o.Name), c.Hop(o.Name, 1000), key, good, c.Proved(o.Name))
	}
}

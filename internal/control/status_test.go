package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

var statusNow = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// sampleMesh is the mesh of testdata/sample-mesh.txt.
func sampleMesh(t *testing.T) *backend {
	t.Helper()
	text, err := os.ReadFile("testdata/sample-mesh.txt")
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend()
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := b.take(strings.TrimSpace(line)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *backend) status() Status {
	self := SelfInfo{Name: "alice", NetName: "home", Interface: "tun0", PID: 7, Version: "0.1", Started: statusNow.Add(-25 * time.Hour)}
	return Compose(self, b.nodes, b.edges, b.subnets, b.conns)
}

func TestStatusOfPacketsInTheMetaConnection(t *testing.T) {
	b := sampleMesh(t)
	bob := &b.nodes[1]
	bob.MinMTU, bob.NextHop = 0, "bob"
	b.conns[0].Address = Address{"192.0.2.9", "443"}
	if v := b.status().Nodes[0]; v.Name != "bob" || v.Path != PathTCP || v.Address != "192.0.2.9:443" {
		t.Errorf("%+v", v)
	}
}

func TestStatusForMachinesSurvivesTheJourney(t *testing.T) {
	b := sampleMesh(t)
	text, err := json.Marshal(b.status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"path":"direct-udp"`, `"path_mtu":1451`, `"rtt_ms":1.234`, `"via":"bob"`, `"connected":true`, `"since":"2026-01-02T14:58:30Z"`, `"subnets":[]`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}

	pidFile, _ := startServer(t, b)
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Status()
	if err != nil {
		t.Fatal(err)
	}
	if want := Compose(b.Self(), b.nodes, b.edges, b.subnets, b.conns); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// byNode is a backend that tells of nodes one by one.
type byNode struct{ *backend }

func (b byNode) EachNode(f func(*NodeInfo, []string)) {
	for i := range b.nodes {
		var subnets []string
		for _, s := range b.subnets {
			if s.Owner == b.nodes[i].Name {
				subnets = append(subnets, s.Subnet.String())
			}
		}
		f(&b.nodes[i], subnets)
	}
}

func (b byNode) Links() (n int) {
	for _, e := range b.edges {
		if e.From < e.To {
			n++
		}
	}
	return n
}

func TestNodesOneByOneMakeTheSameStatus(t *testing.T) {
	b := sampleMesh(t)
	want := Compose(b.Self(), b.nodes, b.edges, b.subnets, b.conns)
	got := nodesOf(byNode{b})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for _, nodes := range [][]NodeView{want.Nodes, want.Nodes[:1], {}} {
		got.Nodes = nodes
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := got.write(w); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		if want := fmt.Sprintf("18 100 %d\n%s", len(text), text); out.String() != want {
			t.Errorf("%q\nwant %q", out.String(), want)
		}
	}
}

// It costs something, and every command connects.
func TestTheMachineIsLookedAtForAStatusOnly(t *testing.T) {
	b := sampleMesh(t)
	b.wrong = []Problem{{"interface-down", "the interface home is down", "ip link set home up"}}
	pidFile, _ := startServer(t, b)
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Nodes(""); err != nil || slices.Contains(b.calls, "problems") {
		t.Errorf("%v, %q", err, b.calls)
	}
	if s, err := c.Status(); err != nil || !slices.Equal(s.Problems, b.wrong) {
		t.Errorf("%v, %+v", err, s.Problems)
	}
}

func TestPathOfANode(t *testing.T) {
	for name, x := range map[string]struct {
		status       NodeStatus
		nextHop, via node.Name
		minMTU       int
		hop          *FirstHop
		path         Path
		relay        node.Name
		by           Transport
	}{
		// What a tincan daemon knows of the first hop decides.
		"direct":                 {Reachable | ValidKey, "m", "k", 0, &FirstHop{Node: "n", UDP: true}, PathUDP, "", TransportUDP},
		"the meta connection":    {Reachable | ValidKey, "m", "k", 1400, &FirstHop{Node: "n"}, PathTCP, "", TransportTCP},
		"a relay by UDP":         {Reachable | ValidKey, "n", "n", 1400, &FirstHop{Node: "m", UDP: true}, PathRelayed, "m", TransportUDP},
		"a relay by TCP":         {Reachable | ValidKey, "n", "n", 1400, &FirstHop{Node: "m"}, PathRelayed, "m", TransportTCP},
		"it would be looked for": {Reachable | ValidKey, "n", "n", 1400, &FirstHop{}, PathIdle, "", ""},
		"no key":                 {Reachable, "n", "n", 0, &FirstHop{NoKey: true}, PathNoKey, "", ""},
		"gone":                   {0, "", "", 0, &FirstHop{}, PathUnreachable, "", ""},
		// Of a tinc daemon there are its lines.
		"session and UDP":                     {Reachable | ValidKey, "n", "n", 1400, nil, PathUDP, "", TransportUDP},
		"UDP to a node that is not adjacent":  {Reachable | ValidKey, "m", "n", 1400, nil, PathUDP, "", TransportUDP},
		"adjacent without UDP":                {Reachable | ValidKey, "n", "n", 0, nil, PathTCP, "", TransportTCP},
		"session, no UDP, not adjacent":       {Reachable | ValidKey, "m", "n", 0, nil, PathRelayed, "m", ""},
		"indirect node":                       {Reachable | ValidKey | Indirect, "m", "k", 1400, nil, PathRelayed, "k", ""},
		"no session, not adjacent":            {Reachable | SPTPS, "m", "n", 0, nil, PathIdle, "", ""},
		"tinc 1.0 has no session":             {Reachable, "m", "n", 0, nil, PathRelayed, "m", ""},
		"unreachable though the key was kept": {ValidKey, "", "", 1400, nil, PathUnreachable, "", ""},
	} {
		n := NodeInfo{Name: "n", Status: x.status, NextHop: x.nextHop, Via: x.via, MinMTU: x.minMTU, FirstHop: x.hop}
		if p, relay, by := path(&n); p != x.path || relay != x.relay || by != x.by {
			t.Errorf("%s: %s %s %s, want %s %s %s", name, p, relay, by, x.path, x.relay, x.by)
		}
	}
}

// What the daemon knows of the first hop comes to whoever asks for lists of nodes.
func TestExactListsKnowTheFirstHop(t *testing.T) {
	b := sampleMesh(t)
	b.nodes[1].FirstHop = &FirstHop{Node: "bob"}
	b.nodes[2].FirstHop = &FirstHop{Node: "bob", UDP: true}
	b.nodes[4].FirstHop = &FirstHop{NoKey: true}
	pidFile, _ := startServer(t, b)
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nodes, err := Exact{c}.Nodes("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		if !reflect.DeepEqual(nodes[i].FirstHop, b.nodes[i].FirstHop) {
			t.Errorf("%s: %+v, want %+v", nodes[i].Name, nodes[i].FirstHop, b.nodes[i].FirstHop)
		}
	}
}

func TestOpaqueAddressesStayOneShortWord(t *testing.T) {
	e := EdgeInfo{From: "a", To: "b", Address: Address{strings.Repeat("x", 5000), "a b\n18 4"}}
	line := string(e.AppendLine(nil))
	if len(line) >= maxLine || strings.Count(line, "\n") != 1 {
		t.Errorf("line of %d bytes", len(line))
	}
	if _, err := ParseEdge(line); err != nil {
		t.Error(err)
	}
}

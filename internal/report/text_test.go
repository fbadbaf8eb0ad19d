package report

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

var statusNow = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// lists are what a daemon tells.
type lists struct {
	nodes   []control.NodeInfo
	edges   []control.EdgeInfo
	subnets []control.SubnetInfo
	conns   []control.ConnInfo
}

// sampleMesh is a mesh seen by alice, which the tests of control also have.
func sampleMesh(t *testing.T) *lists {
	t.Helper()
	text, err := os.ReadFile("../control/testdata/sample-mesh.txt")
	if err != nil {
		t.Fatal(err)
	}
	b := &lists{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "18 3 "):
			b.nodes = parsed(t, b.nodes, line, control.ParseNode)
		case strings.HasPrefix(line, "18 4 "):
			b.edges = parsed(t, b.edges, line, control.ParseEdge)
		case strings.HasPrefix(line, "18 5 "):
			b.subnets = parsed(t, b.subnets, line, control.ParseSubnet)
		case strings.HasPrefix(line, "18 6 "):
			b.conns = parsed(t, b.conns, line, control.ParseConn)
		}
	}
	return b
}

func parsed[T any](t *testing.T, list []T, line string, parse func(string) (T, error)) []T {
	t.Helper()
	v, err := parse(line)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, v)
}

func (b *lists) status() control.Status {
	self := control.SelfInfo{Name: "alice", NetName: "home", Interface: "tun0", PID: 7, Version: "0.1", Started: statusNow.Add(-25 * time.Hour)}
	return control.Compose(self, b.nodes, b.edges, b.subnets, b.conns)
}

// text is the status as people get it on so many columns.
func text(t *testing.T, s control.Status, width int) string {
	t.Helper()
	var out strings.Builder
	if err := WriteStatus(&out, s, Form{Now: statusNow, Width: width}); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 0 && n > width {
			t.Errorf("a line of %d columns, with %d allowed: %s", n, width, line)
		}
	}
	return out.String()
}

func sameText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func TestStatusForPeople(t *testing.T) {
	s := sampleMesh(t).status()
	sameText(t, text(t, s, 0), `node alice, network home, interface tun0, pid 7, up 1d01h, version 0.1
subnets: 10.1.0.1
mesh: 3 of 4 other nodes reachable, 1 meta connection

NODE   SUBNETS             PATH             ADDRESS        RTT      MTU   RX          TX          SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms  1451  2.0 KiB     5.0 MiB     1m30s
carol  -                   relayed via bob  192.0.2.1:655  -        -     0 B         0 B         1m30s
dave   -                   connecting       -              -        -     0 B         0 B         never seen
erin   -                   idle             192.0.2.1:655  -        -     0 B         0 B         1m30s
`)
	_, table, _ := strings.Cut(text(t, s, 80), "\n\n")
	sameText(t, table, `NODE   SUBNETS             PATH             ADDRESS        RTT      SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms  1m30s
carol  -                   relayed via bob  192.0.2.1:655  -        1m30s
dave   -                   connecting       -              -        never seen
erin   -                   idle             192.0.2.1:655  -        1m30s
`)
	_, table, _ = strings.Cut(text(t, s, 64), "\n\n")
	sameText(t, table, `NODE   SUBNETS           PATH             RTT      SINCE
bob    10.1.0.2 +1 more  direct (UDP)     1.23 ms  1m30s
carol  -                 relayed via bob  -        1m30s
dave   -                 connecting       -        never seen
erin   -                 idle             -        1m30s
`)
	_, table, _ = strings.Cut(text(t, s, 20), "\n\n")
	sameText(t, table, `NODE   PATH
bob    direct (UDP)
carol  relayed via…
dave   connecting
erin   idle
`)
}

func TestStatusFitsWhateverIsLong(t *testing.T) {
	b := sampleMesh(t)
	long := node.Name(strings.Repeat("long_name_", 20))
	b.nodes[2].Name, b.nodes[2].Via, b.nodes[1].NextHop = long, long, "bob"
	for i := range 300 {
		for _, owner := range []node.Name{"alice", "bob", long} {
			s, err := subnet.Parse(fmt.Sprintf("fd00:1234:5678:9abc:%x::/80", i))
			if err != nil {
				t.Fatal(err)
			}
			b.subnets = append(b.subnets, control.SubnetInfo{Subnet: s, Owner: owner})
		}
	}
	s := b.status()
	s.Nodes[0].WrongKey = true
	s.Problems = []control.Problem{{Code: "code", Text: strings.Repeat("many words ", 30), Change: strings.Repeat("more words ", 30)}}
	s.Contested = []control.Contest{{Subnet: "10.1.0.2", ClaimedBy: "carol", Owner: "bob", Because: "10.1.0.0/16"}}
	for width := 40; width < 200; width++ { // no word is cut
		s.Self.Name = "alice"
		got := text(t, s, width)
		if rows := strings.Count(got[strings.Index(got, "NODE"):], "\n"); rows != 1+len(s.Nodes) {
			t.Errorf("%d rows with %d columns:\n%s", rows, width, got)
		}
		if width >= 180 && !strings.Contains(got, "fd00:1234:5678:9abc::/80 fd00:1234:5678:9abc:1::/80 +298 more") {
			t.Errorf("the subnets are not cut short:\n%s", got)
		}
	}
	if got := text(t, s, 80); !strings.Contains(got, "+293 more") {
		t.Errorf("the own subnets are not cut short:\n%s", got)
	}
}

func TestStatusHasColoursOnlyOnATerminal(t *testing.T) {
	var with strings.Builder
	s := sampleMesh(t).status()
	if err := WriteStatus(&with, s, Form{Now: statusNow, Width: 80, Color: true}); err != nil {
		t.Fatal(err)
	}
	plainText := text(t, s, 80)
	if strings.Contains(plainText, "\x1b") || !strings.Contains(with.String(), green+"direct (UDP)"+reset) {
		t.Errorf("%q", with.String())
	}
	sameText(t, regexp.MustCompile("\x1b\\[[0-9]*m").ReplaceAllString(with.String(), ""), plainText)
}

func TestStatusOfOneNode(t *testing.T) {
	b := sampleMesh(t)
	bob := &b.nodes[1]
	bob.Problem, bob.WrongKey = "the signature does not fit", true
	bob.Program = "tincan/0.9"
	s := b.status()
	var out strings.Builder
	if err := WriteNode(&out, s, s.Node("bob"), Form{Now: statusNow, Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node     bob (id ", "\nsubnets  10.1.0.2 fd00::/64\n", "\npath     direct (UDP)\n", "\naddress  192.0.2.1:655\n", "\nrtt      1.23 ms\n",
		"\nmtu      1451 bytes\n", "\nrx       10 packets, 2.0 KiB\n", "\nmeta     a connection with this node\n", "\nprotocol 17.7 (tinc 1.1, tincan)\n", "\nprogram  tincan 0.9\n",
		"\nproblem  the last attempt to connect failed: the signature does not fit\n", "\nwrong key: bob was refused"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if s.Node("zoe") != nil || s.Node("alice") == nil {
		t.Error("nodes are not found by their names")
	}
}

// The status says by what each node is reached.
func TestStatusNamesCarriers(t *testing.T) {
	for _, c := range []struct{ carrier, meta, path, row, head string }{
		{"masked", "tcp", "direct (UDP)", "\nmeta     a connection with this node, by TCP\n", "\ncarriers: masked UDP to 1 node\n"},
		{"tls", "tls", "direct (HTTPS)", "\nmeta     a connection with this node, by HTTPS\n", "\ncarriers: HTTPS to bob\n"},
		{"tcp", "tcp", "direct (TCP)", "\nmeta     a connection with this node, by TCP\n", "\ncarriers: TCP to bob\n"},
	} {
		b := sampleMesh(t)
		bob := &b.nodes[1]
		bob.Carrier, bob.ConnectionBy = c.carrier, c.meta
		bob.FirstHop = &control.FirstHop{Node: "bob", UDP: c.carrier == "masked"}
		s := b.status()
		all := text(t, s, 80)
		var one strings.Builder
		if err := WriteNode(&one, s, s.Node("bob"), Form{Now: statusNow, Width: 80}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(all, c.head) || !strings.Contains(all, c.path) || !strings.Contains(one.String(), c.row) {
			t.Errorf("%s:\n%s\n%s", c.carrier, all, &one)
		}
	}
}

func TestWhatHasBecomeOfCarriers(t *testing.T) {
	var out strings.Builder
	if err := WriteWhy(&out, control.WhyReport{Node: "bob", Good: true, Carriers: []control.CarrierState{
		{Carrier: "masked", State: "failed", Text: "no answer"}, {Carrier: "tls", State: "in-use", Text: "packets and requests"},
	}}); err != nil {
		t.Fatal(err)
	}
	sameText(t, out.String(), "carriers:\n  masked UDP  failed: no answer\n  HTTPS       in use: packets and requests\nno problem found\n")
	for want, c := range map[string]control.NetCarrier{
		"off":        {Carrier: "tcp", Off: true},
		"not in use": {Carrier: "tcp"},
		"in use with 2 nodes; failed with bob (no answer), carol (was cut off) and 3 more": {Carrier: "tcp", InUse: 2, Failed: 5,
			Failures: []control.NetFailure{{Node: "bob", Problem: "no answer"}, {Node: "carol", Problem: "was cut off"}}},
	} {
		if got := netCarrierText(c); got != want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Numbers that grow change nothing else in the table.
func TestColumnsOfTheStatusStayWhileTrafficChanges(t *testing.T) {
	for width := 60; width < 130; width++ {
		titles := ""
		for _, bytes := range []uint64{0, 5, 1023, 1024, 1023 << 10, 1<<20 - 1, 1 << 40} {
			b := sampleMesh(t)
			b.nodes[1].InBytes, b.nodes[1].OutBytes = bytes, bytes
			_, table, _ := strings.Cut(text(t, b.status(), width), "\n\n")
			head, _, _ := strings.Cut(table, "\n")
			if titles == "" {
				titles = head
			}
			if head != titles {
				t.Fatalf("at %d columns:\n%s\nand with %d bytes\n%s", width, titles, bytes, head)
			}
		}
	}
}

func TestStatusMarksWhoWasRemovedHere(t *testing.T) {
	b := sampleMesh(t)
	b.nodes[1].Removed = true
	if got := text(t, b.status(), 80); !regexp.MustCompile("(?m)^bob .* removed here ").MatchString(got) {
		t.Error(got)
	}
	if s := b.status(); !s.Node("bob").Removed {
		t.Error("programs are not told")
	}
}

// A node with another key than is known here is to be seen without a look into the log.
func TestStatusTellsOfAKeyThatDoesNotFit(t *testing.T) {
	b := sampleMesh(t)
	b.nodes[3].WrongKey = true // dave
	if got := text(t, b.status(), 0); !strings.Contains(got, "\nwrong key: dave was refused, since it does not have the key in hosts/dave here (in a signed network: in the roster), or has another key of this node; more: tincan why dave\n") {
		t.Error(got)
	}
}

func TestStatusOfSomeNodes(t *testing.T) {
	s := sampleMesh(t).status()
	Only(&s, func(n *control.NodeView) bool { return Matches(n, "*r*") })
	var names []string
	for _, n := range s.Nodes {
		names = append(names, string(n.Name))
	}
	if got := strings.Join(names, " "); got != "carol erin" || s.Summary.Nodes != 5 {
		t.Errorf("%s of %d", got, s.Summary.Nodes)
	}
}

func TestStatusOfAPathThatLosesPackets(t *testing.T) {
	b := sampleMesh(t)
	carol := &b.nodes[2]
	carol.RTT, carol.Loss = 40*time.Millisecond, 0.12 // through bob
	s := b.status()
	s.Nodes = s.Nodes[:2]
	_, table, _ := strings.Cut(text(t, s, 0), "\n\n")
	sameText(t, table, `NODE   SUBNETS             PATH             ADDRESS        RTT       LOSS  MTU   RX          TX          SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms   -     1451  2.0 KiB     5.0 MiB     1m30s
carol  -                   relayed via bob  192.0.2.1:655  40.00 ms  12 %  -     0 B         0 B         1m30s
`)
}

func TestGraphWeightOfZeroIsANumber(t *testing.T) {
	var out strings.Builder
	DumpGraph(&out, nil, []control.EdgeInfo{{From: "b", To: "a"}}, false)
	if want := ` "b" -- "a" [w = 65537.000000, weight = 65537.000000];`; !strings.Contains(out.String(), want) {
		t.Errorf("%s does not have %s", &out, want)
	}
}

func TestStatusNamesWhoWasRefused(t *testing.T) {
	s := sampleMesh(t).status()
	s.Limits = &control.Limits{}
	if got := text(t, s, 0); strings.Contains(got, "refused") {
		t.Errorf("nothing was refused, but: %s", got)
	}
	s.Limits.Connections = control.RefusedConns{Count: 7, From: []control.RefusedFrom{{Address: "192.0.2.7", Count: 5, Last: statusNow.Add(-3 * time.Second)}, {Address: "192.0.2.8", Count: 2, Last: statusNow}}}
	const want = "refused connections: 7, too many at once; most of them, 5, from 192.0.2.7, the last one 3s ago\n"
	var drops strings.Builder
	if err := WriteDrops(&drops, s, statusNow); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{text(t, s, 0), drops.String()} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	text(t, s, 40) // which fits
}

func TestWordsForTheFirstHop(t *testing.T) {
	b := sampleMesh(t)
	b.nodes[1].FirstHop = &control.FirstHop{Node: "bob"}
	b.nodes[2].FirstHop = &control.FirstHop{Node: "bob", UDP: true}
	b.nodes[4].FirstHop = &control.FirstHop{NoKey: true}
	for i, want := range []string{"can reach itself", "directly with TCP", "indirectly via bob", "unreachable", "none, its key is not known"} {
		if got := reachability(&b.nodes[i]); got != want {
			t.Errorf("%s: %s, want %s", b.nodes[i].Name, got, want)
		}
	}
	if got := color(&b.nodes[1]) + color(&b.nodes[2]) + color(&b.nodes[4]); got != "blackorangeblack" {
		t.Errorf("the colours of the graph are %s", got)
	}
}

// What the roster says of a node counts more than what was deleted here, and comes with the right words.
func TestPathTextOfNodesOfASignedNetwork(t *testing.T) {
	for _, c := range []struct {
		node control.NodeView
		text string
	}{
		{control.NodeView{Path: control.PathUnreachable, Removed: true}, "removed here"},
		{control.NodeView{Path: control.PathUnreachable, Removed: true, Outside: "removed-member"}, "removed"},
		{control.NodeView{Path: control.PathUnreachable, Outside: "waits-for-approval"}, "to be approved"},
		{control.NodeView{Path: control.PathUnreachable, Outside: "membership-ended"}, "membership ended"},
		{control.NodeView{Path: control.PathUnreachable, Outside: "not-a-member"}, "no member"},
		{control.NodeView{Path: control.PathIdle, Silent: true}, "no answer"},
		{control.NodeView{Path: control.PathIdle}, "idle"},
	} {
		if got := PathText(&c.node); got != c.text {
			t.Errorf("%+v: %q, want %q", c.node, got, c.text)
		}
	}
}

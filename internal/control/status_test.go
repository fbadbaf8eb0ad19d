package control

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

var statusNow = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// sampleMesh is a mesh seen by alice: bob is reached directly, carol through bob,
// dave is gone, erin has never had a packet.
func sampleMesh(t *testing.T) *backend {
	up := wire.Options(0x700000c)
	n := func(name node.Name, status NodeStatus, nextHop, via node.Name) NodeInfo {
		return NodeInfo{Name: name, ID: name.ID(), Address: Address{"192.0.2.1", "655"}, Options: up, Status: status,
			NextHop: nextHop, Via: via, Distance: 1, MTU: 1518, MaxMTU: 1518, RTT: -1, Changed: statusNow.Add(-90 * time.Second)}
	}
	bob := n("bob", Reachable|ValidKey|UDPConfirmed|SPTPS, "bob", "bob")
	bob.MTU, bob.MinMTU, bob.RTT = 1465, 1465, 1234*time.Microsecond
	bob.Counters = Counters{10, 2048, 5, 5 << 20}
	dave := n("dave", 0, "", "")
	dave.Address, dave.Changed = Address{}, time.Time{}
	alice := n("alice", Reachable, "alice", "alice")
	alice.Address.Host = Myself
	sub := func(text string, owner node.Name) SubnetInfo {
		s, err := subnet.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return SubnetInfo{s, owner}
	}
	b := newBackend()
	b.nodes = []NodeInfo{alice, bob, n("carol", Reachable|ValidKey|SPTPS, "bob", "bob"), dave, n("erin", Reachable|SPTPS, "bob", "erin")}
	b.edges = []EdgeInfo{{From: "alice", To: "bob"}, {From: "bob", To: "alice"}, {From: "bob", To: "carol"}, {From: "carol", To: "bob"}}
	b.subnets = []SubnetInfo{sub("10.1.0.1", "alice"), sub("10.1.0.2", "bob"), sub("fd00::/64", "bob"), sub("224.0.0.0/4", "")}
	b.conns = []ConnInfo{{Name: "bob", Options: up, Status: ConnTree}, {Name: "dave", Status: ConnConnecting}, {Name: ""}}
	return b
}

func (b *backend) status() Status {
	self := SelfInfo{Name: "alice", NetName: "home", Interface: "tun0", PID: 7, Version: "0.1", Started: statusNow.Add(-25 * time.Hour)}
	return Compose(self, b.nodes, b.edges, b.subnets, b.conns)
}

// text is the status as people get it on so many columns.
func text(t *testing.T, s Status, width int) string {
	t.Helper()
	var out strings.Builder
	if err := s.WriteText(&out, TextForm{Now: statusNow, Width: width}); err != nil {
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
mesh: 3 other nodes reachable of 4, 1 meta connection of our own

NODE   SUBNETS             PATH             ADDRESS        RTT      MTU   RX       TX       SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms  1451  2.0 KiB  5.0 MiB  1m30s
carol  -                   relayed via bob  192.0.2.1:655  -        -     0 B      0 B      1m30s
dave   -                   connecting       -              -        -     0 B      0 B      never seen
erin   -                   idle             192.0.2.1:655  -        -     0 B      0 B      1m30s
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
			b.subnets = append(b.subnets, SubnetInfo{s, owner})
		}
	}
	s := b.status()
	s.Nodes[0].WrongKey = true
	s.Problems = []Problem{{"code", strings.Repeat("many words ", 30), strings.Repeat("more words ", 30)}}
	s.Contested = []Contest{{"10.1.0.2", "carol", "bob", "10.1.0.0/16"}}
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
	if err := s.WriteText(&with, TextForm{Now: statusNow, Width: 80, Color: true}); err != nil {
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
	s := b.status()
	var out strings.Builder
	if err := s.WriteNode(&out, s.Node("bob"), TextForm{Now: statusNow, Width: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node     bob (id ", "\nsubnets  10.1.0.2 fd00::/64\n", "\npath     direct (UDP)\n", "\naddress  192.0.2.1:655\n", "\nrtt      1.23 ms\n",
		"\nmtu      1451 bytes\n", "\nrx       10 packets, 2.0 KiB\n", "\nmeta     a connection with this node\n", "\nprotocol 17.7\n",
		"\nproblem  the last attempt to connect failed: the signature does not fit\n", "\nwrong key: bob was refused"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if s.Node("zoe") != nil || s.Node("alice") == nil {
		t.Error("nodes are not found by their names")
	}
}

// A node with another key than is known here is to be seen without a look into the log.
func TestStatusTellsOfAKeyThatDoesNotFit(t *testing.T) {
	b := sampleMesh(t)
	b.nodes[3].WrongKey = true // dave
	if got := text(t, b.status(), 0); !strings.Contains(got, "\nwrong key: dave was refused, since it does not have the key in hosts/dave here, or not ours; more: tincan why dave\n") {
		t.Error(got)
	}
}

func TestStatusOfSomeNodes(t *testing.T) {
	s := sampleMesh(t).status()
	s.Only(func(n *NodeView) bool { return n.Matches("*r*") })
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
	sameText(t, table, `NODE   SUBNETS             PATH             ADDRESS        RTT       LOSS  MTU   RX       TX       SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms   -     1451  2.0 KiB  5.0 MiB  1m30s
carol  -                   relayed via bob  192.0.2.1:655  40.00 ms  12 %  -     0 B      0 B      1m30s
`)
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
	for i, want := range []string{"can reach itself", "directly with TCP", "indirectly via bob", "unreachable", "none, its key is not known"} {
		if got := reachability(&nodes[i]); got != want {
			t.Errorf("%s: %s, want %s", nodes[i].Name, got, want)
		}
	}
	if got := color(&nodes[1]) + color(&nodes[2]) + color(&nodes[4]); got != "blackorangeblack" {
		t.Errorf("the colours of the graph are %s", got)
	}
}

func TestGraphWeightOfZeroIsANumber(t *testing.T) {
	var out strings.Builder
	DumpGraph(&out, nil, []EdgeInfo{{From: "b", To: "a"}}, false)
	if want := ` "b" -- "a" [w = 65537.000000, weight = 65537.000000];`; !strings.Contains(out.String(), want) {
		t.Errorf("%s does not have %s", &out, want)
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

func TestStatusNamesWhoWasRefused(t *testing.T) {
	s := sampleMesh(t).status()
	s.Limits = &Limits{}
	if got := text(t, s, 0); strings.Contains(got, "refused") {
		t.Errorf("nothing was refused, but: %s", got)
	}
	s.Limits.Connections = RefusedConns{Count: 7, From: []RefusedFrom{{"192.0.2.7", 5, statusNow.Add(-3 * time.Second)}, {"192.0.2.8", 2, statusNow}}}
	const want = "refused connections: 7, too many at once; most of them, 5, from 192.0.2.7, the last one 3s ago\n"
	var drops strings.Builder
	if err := s.WriteDrops(&drops, statusNow); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{text(t, s, 0), drops.String()} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	text(t, s, 40) // which fits
}

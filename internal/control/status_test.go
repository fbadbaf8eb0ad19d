package control

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

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
	b.nodes = []NodeInfo{alice, bob, n("carol", Reachable|ValidKey|SPTPS, "bob", "bob"), dave, n("erin", Reachable, "bob", "erin")}
	b.edges = []EdgeInfo{{From: "alice", To: "bob"}, {From: "bob", To: "alice"}, {From: "bob", To: "carol"}, {From: "carol", To: "bob"}}
	b.subnets = []SubnetInfo{sub("10.1.0.1", "alice"), sub("10.1.0.2", "bob"), sub("fd00::/64", "bob"), sub("224.0.0.0/4", "")}
	b.conns = []ConnInfo{{Name: "bob", Options: up, Status: ConnTree}, {Name: "dave", Status: ConnConnecting}, {Name: ""}}
	return b
}

func (b *backend) status() Status {
	self := SelfInfo{Name: "alice", NetName: "home", Interface: "tun0", PID: 7, Version: "0.1", Started: statusNow.Add(-25 * time.Hour)}
	return Compose(self, b.nodes, b.edges, b.subnets, b.conns)
}

func TestStatusForPeople(t *testing.T) {
	var out strings.Builder
	if err := sampleMesh(t).status().WriteText(&out, statusNow); err != nil {
		t.Fatal(err)
	}
	want := `node alice, network home, interface tun0, pid 7, up 1d01h, version 0.1
subnets: 10.1.0.1
mesh: 3 other nodes reachable of 4, 1 meta connection of our own

NODE   SUBNETS             PATH             ADDRESS        RTT      MTU   RX       TX       SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms  1451  2.0 KiB  5.0 MiB  1m30s
carol  -                   relayed via bob  192.0.2.1:655  -        -     0 B      0 B      1m30s
dave   -                   connecting       -              -        -     0 B      0 B      never seen
erin   -                   no traffic yet   192.0.2.1:655  -        -     0 B      0 B      1m30s
`
	if out.String() != want {
		t.Errorf("\n%s\nwant\n%s", &out, want)
	}
}

func TestStatusOfAWayThatLosesPackets(t *testing.T) {
	b := sampleMesh(t)
	carol := &b.nodes[2]
	carol.RTT, carol.Loss = 40*time.Millisecond, 0.12 // through bob
	s := b.status()
	s.Nodes = s.Nodes[:2]
	var out strings.Builder
	if err := s.WriteText(&out, statusNow); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(out.String(), "\n\n")
	want := `NODE   SUBNETS             PATH             ADDRESS        RTT       LOSS  MTU   RX       TX       SINCE
bob    10.1.0.2 fd00::/64  direct (UDP)     192.0.2.1:655  1.23 ms   -     1451  2.0 KiB  5.0 MiB  1m30s
carol  -                   relayed via bob  192.0.2.1:655  40.00 ms  12 %  -     0 B      0 B      1m30s
`
	if table != want {
		t.Errorf("\n%s\nwant\n%s", table, want)
	}
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

func TestPathOfANode(t *testing.T) {
	for name, x := range map[string]struct {
		status       NodeStatus
		nextHop, via node.Name
		minMTU       int
		path         Path
		relay        node.Name
	}{
		"session and UDP":                     {Reachable | ValidKey, "n", "n", 1400, PathUDP, ""},
		"UDP to a node that is not adjacent":  {Reachable | ValidKey, "m", "n", 1400, PathUDP, ""},
		"adjacent without UDP":                {Reachable | ValidKey, "n", "n", 0, PathTCP, ""},
		"session, no UDP, not adjacent":       {Reachable | ValidKey, "m", "n", 0, PathRelayed, "m"},
		"indirect node":                       {Reachable | ValidKey | Indirect, "m", "k", 1400, PathRelayed, "k"},
		"no session, not adjacent":            {Reachable, "m", "n", 0, PathIdle, ""},
		"unreachable though the key was kept": {ValidKey, "", "", 1400, PathUnreachable, ""},
	} {
		n := NodeInfo{Name: "n", Status: x.status, NextHop: x.nextHop, Via: x.via, MinMTU: x.minMTU}
		if p, relay := path(&n); p != x.path || relay != x.relay {
			t.Errorf("%s: %s %s, want %s %s", name, p, relay, x.path, x.relay)
		}
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

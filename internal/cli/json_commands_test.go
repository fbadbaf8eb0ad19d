//go:build linux

package cli_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tincan/internal/control"
	"tincan/internal/fixture"
	"tincan/internal/report"
)

// into reads what a command has printed as exactly one object of that form.
func into[T any](t *testing.T, o outcome) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(o.out))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil || d.More() {
		t.Fatalf("%v in %q, said %q", err, o.out, o.err)
	}
	return v
}

func check[T any](t *testing.T, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// All that is made of files alone.
func TestJSONOfFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	tincan := func(args ...string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...).must(t)
	}
	made := into[report.Made](t, tincan("init", "alice", "--open", "--json", "--range", "10.7.0.0/16", "--port", "4655", "--public", "192.0.2.1"))
	check(t, made, report.Made{Name: "alice", Directory: dir, Address: "10.7.0.1/16", Port: 4655})

	check(t, into[report.Values](t, tincan("get", "--json", "Name")), report.Values{Name: "Name", Values: []string{"alice"}})
	check(t, into[report.Values](t, tincan("get", "--json", "alice.address")), report.Values{Name: "alice.Address", Values: []string{"192.0.2.1"}})

	v := into[report.Version](t, tincan("version", "--json"))
	if v.JSONFormat != report.Format || v.Protocol != "17.7" || !strings.Contains(tincan("version").out, v.Version) {
		t.Errorf("%+v", v)
	}

	inv := into[report.Invitation](t, tincan("invite", "bob", "--json"))
	if inv.Node != "bob" || !strings.HasPrefix(inv.URL, "192.0.2.1:4655/") || inv.Again {
		t.Errorf("%+v", inv)
	}
	if again := into[report.Invitation](t, tincan("invite", "bob", "--json")); !again.Again {
		t.Errorf("%+v", again)
	}
	// The URL is drawn beside it, not in what programs read.
	drawn := tincan("invite", "bob", "--qr")
	if strings.Count(drawn.out, "\n") != 1 || strings.Contains(drawn.out, "█") || strings.Count(drawn.err, "█") < 50 {
		t.Errorf("with a QR code: %s\n%s", drawn.out, drawn.err)
	}
	open := into[report.Invitations](t, tincan("dump", "invitations", "--json")).Invitations
	if len(open) != 3 || open[0].Node != "bob" || open[0].Expired || open[0].Expires.IsZero() {
		t.Errorf("%+v", open)
	}

	check(t, into[report.Tokens](t, tincan("token", "list", "--json")), report.Tokens{Tokens: []report.Token{}})
	token := into[report.NewToken](t, tincan("token", "new", "--json", "--label", "office", "--for", "carol", "--uses", "3", "--expires", "1h"))
	if token.Secret == "" || token.Label != "office" || token.Node != "carol" || *token.Left != 3 || token.Expires == nil || token.Old {
		t.Errorf("%+v", token)
	}
	if list := into[report.Tokens](t, tincan("token", "list", "--json")).Tokens; len(list) != 1 || list[0].ID != token.ID || *list[0].Left != 3 {
		t.Errorf("%+v", list)
	}
	check(t, into[report.Revoked](t, tincan("token", "revoke", "office", "--json")), report.Revoked{Revoked: 1})

	check(t, into[report.Waiting](t, tincan("accept", "--json")), report.Waiting{Changed: []control.KeyChange{}, Removed: []report.RemovedNode{}})

	service := run(t, "", "tincan", "-n", "no_such_network_here", "service", "status", "--json")
	if s := into[report.Service](t, service); service.status != 4 || s.Installed || s.Running || !strings.Contains(s.Name, "no_such_network_here") {
		t.Errorf("%+v, exit status %d, %s", s, service.status, service.err)
	}
}

// All that a node is asked for its lists: here one of tinc, which has no other answers.
func TestJSONOfLists(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = hub\n")
	stubDaemon(t, dir, strings.Repeat("0", 64), map[string][]string{
		"3": {"18 3 bob 0416a26ba554 192.0.2.2 port 655 0 0 0 0 700000c 52 bob bob 1 1465 1465 1518 1767366000 1500 1 2 3 4",
			"18 3 eve 0516a26ba554 unknown port unknown 0 0 0 0 0 0 - - -1 1518 0 1518 0 -1 0 0 0 0", "18 3"},
		"4":   {"18 4 bob hub 192.0.2.1 port 655 unspec port unspec 700000c 3", "18 4"},
		"5":   {"18 5 10.0.0.0/24 bob", "18 5 10.0.0.7#5 eve", "18 5 224.0.0.0/4 (broadcast)", "18 5"},
		"6":   {"18 6 bob 192.0.2.2 port 655 700000c 7 100", "18 6"},
		"100": {"18 -1"},
	})
	tincan := func(args ...string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...)
	}
	nodes := into[report.Nodes](t, tincan("dump", "nodes", "--json").must(t)).Nodes
	if len(nodes) != 2 || nodes[0].Path != control.PathUDP || nodes[0].Transport != control.TransportUDP || nodes[0].MTU != 1465 || nodes[0].RTT == 0 ||
		nodes[0].Address != "192.0.2.2:655" || nodes[0].Tx.Bytes != 4 || nodes[1].Reachable || nodes[1].Address != "" || nodes[1].Distance != -1 {
		t.Errorf("%+v", nodes)
	}
	if nodes := into[report.Nodes](t, tincan("dump", "reachable", "nodes", "--json").must(t)).Nodes; len(nodes) != 1 {
		t.Errorf("%+v", nodes)
	}
	check(t, into[report.Edges](t, tincan("dump", "edges", "--json").must(t)),
		report.Edges{Edges: []report.Edge{{From: "bob", To: "hub", Address: "192.0.2.1:655", Options: 0x700000c, Weight: 3}}})
	check(t, into[report.Subnets](t, tincan("dump", "subnets", "--json").must(t)),
		report.Subnets{Subnets: []report.Subnet{{Subnet: "10.0.0.0/24", Owner: "bob"}, {Subnet: "10.0.0.7#5", Owner: "eve"}, {Subnet: "224.0.0.0/4"}}})
	check(t, into[report.Connections](t, tincan("dump", "connections", "--json").must(t)),
		report.Connections{Connections: []report.Connection{{Node: "bob", Address: "192.0.2.2:655", Options: 0x700000c, Socket: 7, Status: 0x100}}})

	info := into[report.Info](t, tincan("info", "bob", "--json").must(t))
	if info.Node.Name != "bob" || fmt.Sprint(info.Edges, info.Subnets) != "[hub] [10.0.0.0/24]" {
		t.Errorf("%+v", info)
	}
	check(t, into[report.Subnets](t, tincan("info", "10.0.0.9", "--json").must(t)), report.Subnets{Subnets: []report.Subnet{{Subnet: "10.0.0.0/24", Owner: "bob"}}})
	tincan("info", "bab", "--json").refused(t, "Unknown node bab.", `did you mean "bob"?`)
	tincan("dump", "graph", "--json").refused(t, "a graph is text for GraphViz")
}

func TestJSONOfJoin(t *testing.T) {
	dir, _ := network(t)
	up(t, dir)
	inv := into[report.Invitation](t, run(t, "", "tincan", "-c", dir, "invite", "bob", "--address", "127.0.0.1", "--json").must(t))
	to := filepath.Join(t.TempDir(), "net")
	j := into[report.Joined](t, run(t, "", "tincan", "-c", to, "join", inv.URL, "--json").must(t))
	if j.Name != "bob" || j.Directory != to || len(j.Hosts) == 0 || len(j.Settings) == 0 || j.Service {
		t.Errorf("%+v", j)
	}
}

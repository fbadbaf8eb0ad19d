//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tincan/internal/fixture"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/report"
)

// someKey is a public key that nobody has used before.
func someKey(n byte) string { return keys.FromSeed([32]byte{n, 7}).Public().String() }

// signedNetwork makes a directory with the node alice, and host files of bob and carol, and adopts a roster.
func signedNetwork(t *testing.T, options ...string) (dir string, tincan func(...string) outcome, adopted report.Adopted) {
	t.Helper()
	dir, _ = network(t)
	fixture.Put(t, filepath.Join(dir, "hosts", "bob"), "Ed25519PublicKey = "+someKey(1)+"\nSubnet = 10.9.0.2\n")
	fixture.Put(t, filepath.Join(dir, "hosts", "carol"), "Ed25519PublicKey = "+someKey(2)+"\n")
	fixture.Put(t, filepath.Join(dir, "hosts", "nobody"), "Address = 192.0.2.1\n")
	tincan = func(args ...string) outcome { return run(t, "", "tincan", append([]string{"-c", dir}, args...)...) }
	adopted = into[report.Adopted](t, tincan(append([]string{"roster", "adopt", "--json"}, options...)...).must(t))
	return dir, tincan, adopted
}

func memberNamed(t *testing.T, v members.View, name string) members.Member {
	t.Helper()
	for _, m := range v.Members {
		if string(m.Name) == name {
			return m
		}
	}
	t.Fatalf("%s is no member: %+v", name, v.Members)
	return members.Member{}
}

func TestARosterIsMadeOfTheHostFiles(t *testing.T) {
	dir, tincan, a := signedNetwork(t)
	if len(a.Members) != 3 || len(a.LeftOut) != 1 || !strings.Contains(a.LeftOut[0], "nobody") || a.Mode != "warn" {
		t.Errorf("%+v", a)
	}
	if ok, _ := regexp.MatchString(`^([0-9A-Z]{4}-){8}[0-9A-Z]{4}$`, a.Recovery); !ok {
		t.Errorf("recovery key %q", a.Recovery)
	}
	for _, file := range []string{"owner_key.priv", "roster"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if conf := read(t, dir, "tinc.conf"); !strings.Contains(conf, "NetworkID = "+a.Network+"\n") || !strings.Contains(conf, "Roster = warn\n") {
		t.Errorf("tinc.conf:\n%s", conf)
	}
	v := into[members.View](t, tincan("members", "--json").must(t))
	if bob := memberNamed(t, v, "bob"); len(bob.Subnets) != 1 || bob.Subnets[0] != "10.9.0.2" || bob.By != "alice" {
		t.Errorf("%+v", bob)
	}
	if table := tincan("members").must(t).out; !strings.Contains(table, "\nbob ") || !regexp.MustCompile(`\nalice .* this node\n`).MatchString(table) {
		t.Error(table)
	}
	tincan("roster", "adopt").refused(t, "has a roster already")
	if show := into[report.Roster](t, tincan("roster", "show", "--json").must(t)); show.Network != a.Network || !show.Recovery || show.Members != 3 || show.OwnerKey == "" {
		t.Errorf("%+v", show)
	}
	if show := tincan("roster", "show").must(t).out; !strings.Contains(show, "its key is on this machine") {
		t.Error(show)
	}
	if log := tincan("roster", "log").must(t).out; !strings.Contains(log, "bob is a member") || !strings.Contains(log, "the network begins; owners: alice") {
		t.Error(log)
	}
	exported := filepath.Join(t.TempDir(), "roster")
	fixture.Put(t, exported, tincan("roster", "export").must(t).out)
	if v := into[report.Verified](t, tincan("roster", "verify", "--json", exported).must(t)); v.Statements != 4 || v.Bad != 0 {
		t.Errorf("%+v", v)
	}
	tincan("roster", "diff", exported).must(t)
	tincan("remove", "carol").must(t)
	if d := tincan("roster", "diff", exported); d.status != 1 || !strings.Contains(d.out, "carol") || !strings.HasPrefix(d.out, "- ") {
		t.Errorf("%+v", d)
	}
	text := read(t, filepath.Dir(exported), "roster")
	fixture.Put(t, exported, strings.Replace(text, "\n", "\nrubbish\n", 1))
	if v := tincan("roster", "verify", exported); v.status != 1 || !strings.Contains(v.err, "1 lines are no valid statements") {
		t.Errorf("%+v", v)
	}
}

func TestMembersAreAdmittedAndRemoved(t *testing.T) {
	dir, tincan, _ := signedNetwork(t, "--signed", "--no-recovery", "--name", "olga")
	look := func() members.View { return into[members.View](t, tincan("members", "--json").must(t)) }
	if v := look(); v.Recovery || v.Owners[0].Name != "olga" || v.Mode != "signed" {
		t.Errorf("%+v", v)
	}
	tincan("admit", "dave").refused(t, "its key is not known here", "hint: import its host file")
	tincan("admit", "dave", "--key", someKey(3)[1:]).refused(t, "--key")
	tincan("admit", "dave", "--key", someKey(1)).refused(t, "its key is that of member bob")
	tincan("admit", "dave", "--key", someKey(3), "--group", "web", "--group", "db", "--subnet", "10.9.0.4").must(t)
	if dave := memberNamed(t, look(), "dave"); strings.Join(dave.Groups, " ") != "db web" || dave.Subnets[0] != "10.9.0.4" {
		t.Errorf("%+v", dave)
	}
	tincan("admit", "dave", "--relay", "--group", "").must(t)
	if dave := memberNamed(t, look(), "dave"); dave.Groups != nil || dave.Subnets[0] != "10.9.0.4" || dave.Capabilities[0] != "relay" {
		t.Errorf("%+v", dave)
	}
	tincan("remove", "dvae").refused(t, `"dvae"`, `did you mean "dave"`)
	if said := tincan("remove", "dave", "--reason", "sold").must(t).err; !strings.Contains(said, "dave (") || !strings.Contains(said, "this node does not run") {
		t.Error(said)
	}
	v := look()
	if len(v.Removed) != 1 || v.Removed[0].Name != "dave" || v.Removed[0].Reason != "sold" || v.Removed[0].By != "olga" {
		t.Errorf("%+v", v.Removed)
	}
	if table := tincan("members", "--all").must(t).out; !strings.Contains(table, `by olga ("sold")`) {
		t.Error(table)
	}
	tincan("admit", "dave", "--key", someKey(3)).refused(t, "removed", "hint: ")
	tincan("remove", memberNamed(t, v, "bob").Fingerprint).must(t)
	if v := look(); len(v.Members) != 2 {
		t.Errorf("%+v", v.Members)
	}
	// It would take those with it whom this node has let in: it ends before the others have what is signed anew of them.
	alice := memberNamed(t, v, "alice")
	for _, name := range []string{"alice", alice.Fingerprint} {
		tincan("remove", name).refused(t, "it is this node", "hint: to leave the network: ", "owner_key.priv to the directory of another member")
	}
	tincan("approve", "eve").refused(t, "nobody of this name")
	tincan("deny", "eve").refused(t, "nobody of this name")

	// Without the owner's key the error says who has it.
	if err := os.Rename(filepath.Join(dir, "owner_key.priv"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	tincan("remove", "carol").refused(t, "no owner's key is on this machine", "hint: who has it: olga (")
	tincan("remove", "alice").refused(t, "it is this node", "hint: to leave the network: ")
	tincan("leave").refused(t, "cannot be undone", "leave --yes")
	tincan("leave", "--yes").must(t)
	if v := look(); !v.Removed[0].Left && !v.Removed[1].Left && !v.Removed[2].Left {
		t.Errorf("%+v", v.Removed)
	}

	// Service managers know by the exit status that such a node stays off.
	for _, command := range [][]string{{"tincan", "-c", dir, "up"}, {"tincan", "-c", dir, "up", "--detach"}, {"tincd", "-c", dir, "-D"}} {
		if o := run(t, "", command[0], command[1:]...); o.status != 3 || !strings.Contains(o.err, "this node has left the network") || !strings.Contains(o.err, "a new invitation") {
			t.Errorf("%q: %+v", command, o)
		}
	}
}

func TestAnOpenNetworkHasNoMembers(t *testing.T) {
	dir, _ := network(t)
	tincan := func(args ...string) outcome { return run(t, "", "tincan", append([]string{"-c", dir}, args...)...) }
	for _, args := range [][]string{{"members"}, {"admit", "bob"}, {"leave", "--yes"}, {"roster", "show"}, {"roster", "log"}} {
		tincan(args...).refused(t, "this network is an open one", "hint: to make one: tincan -c "+dir+" roster adopt")
	}
	tincan("remove", "bob", "--reason", "sold").refused(t, "--reason is for signed networks")
	tincan("roster", "accept", "12").refused(t, "64")
	id := strings.Repeat("ab", 32)
	if said := tincan("roster", "accept", id).must(t).err; !strings.Contains(said, "fetch the roster") {
		t.Error(said)
	}
	tincan("members").refused(t, "does not have the roster yet")
	tincan("roster", "adopt").refused(t, "has accepted the roster of a network already")
	tincan("roster", "accept", strings.Repeat("cd", 32)).refused(t, "has accepted another network")
}

// A running node takes what commands sign, and is told of a roster that is made.
func TestTheRunningNodeTakesStatements(t *testing.T) {
	dir, tincan, _ := signedNetworkThatRuns(t)
	tincan("set", "Roster", "signed").must(t)
	tincan("admit", "dave", "--key", someKey(3)).must(t)
	v := into[members.View](t, tincan("members", "--json").must(t))
	memberNamed(t, v, "dave")
	if v.Mode != "signed" || v.Fetching {
		t.Errorf("%+v", v)
	}
	if said := tincan("remove", "dave").must(t).err; !strings.Contains(said, "this node has no connection") {
		t.Error(said)
	}
	if !strings.Contains(tincan("roster", "log").must(t).out, "removed: dave") {
		t.Error("the removal is not on disk")
	}
	tincan("leave", "--yes").must(t)
	for range 100 {
		if _, err := os.Stat(filepath.Join(dir, "pid")); err != nil {
			return
		}
		run(t, "", "tincan", "-c", dir, "status")
	}
	t.Error("the node still runs after it has left")
}

// signedNetworkThatRuns is signedNetwork with a node that runs when the roster is made.
func signedNetworkThatRuns(t *testing.T) (dir string, tincan func(...string) outcome, a report.Adopted) {
	t.Helper()
	dir, _ = network(t)
	up(t, dir)
	tincan = func(args ...string) outcome { return run(t, "", "tincan", append([]string{"-c", dir}, args...)...) }
	a = into[report.Adopted](t, tincan("roster", "adopt", "--json").must(t))
	return dir, tincan, a
}

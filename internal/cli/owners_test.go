//go:build linux

package cli_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/fixture"
	"tincan/internal/members"
	"tincan/internal/report"
)

// machine is the directory of one of several people in the same signed network. Their nodes do not run: what one
// signs is carried to the others by hand.
type machine struct {
	t   *testing.T
	dir string
}

func (m machine) tincan(args ...string) outcome {
	m.t.Helper()
	return run(m.t, "", "tincan", append([]string{"-c", m.dir}, args...)...)
}

// typed is tincan with a recovery key on standard input.
func (m machine) typed(paper string, args ...string) outcome {
	m.t.Helper()
	return run(m.t, paper+"\n", "tincan", append([]string{"-c", m.dir}, args...)...)
}

func (m machine) hear(o machine) {
	fixture.Put(m.t, filepath.Join(m.dir, "roster"), read(m.t, o.dir, "roster"))
}

func (m machine) members() string {
	m.t.Helper()
	var names []string
	for _, v := range into[members.View](m.t, m.tincan("members", "--json").must(m.t)).Members {
		names = append(names, string(v.Name))
	}
	return strings.Join(names, " ")
}

func (m machine) owners() report.Owners {
	m.t.Helper()
	return into[report.Owners](m.t, m.tincan("owners", "show", "--json").must(m.t))
}

// who are the names of the owners.
func (m machine) who() string {
	m.t.Helper()
	var names []string
	for _, o := range m.owners().Owners {
		names = append(names, string(o.Name))
	}
	return strings.Join(names, " ")
}

func (m machine) want(owners, members string) {
	m.t.Helper()
	if got := m.who(); got != owners {
		m.t.Errorf("owners %q, want %q", got, owners)
	}
	if got := m.members(); got != members {
		m.t.Errorf("members %q, want %q", got, members)
	}
}

// copied is another machine in the same network, without an owner's key.
func (m machine) copied() machine {
	m.t.Helper()
	o := machine{m.t, filepath.Join(m.t.TempDir(), "net")}
	for _, file := range []string{"tinc.conf", "roster", "ed25519_key.priv", "hosts/alice"} {
		fixture.Put(m.t, filepath.Join(o.dir, file), read(m.t, m.dir, file))
		if err := os.Chmod(filepath.Join(o.dir, file), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	return o
}

// stolen is the machine of somebody who has got hold of the owner's key of m.
func (m machine) stolen() machine {
	m.t.Helper()
	o := m.copied()
	fixture.Put(m.t, filepath.Join(o.dir, "owner_key.priv"), read(m.t, m.dir, "owner_key.priv"))
	return o
}

// key is the public owner's key of a machine.
func (m machine) key() string {
	m.t.Helper()
	return strings.TrimSpace(m.tincan("owners", "key").must(m.t).out)
}

// alone is a network with one owner, alice, and the members alice, bob and carol.
func alone(t *testing.T) (alice machine, paper string) {
	dir, _, a := signedNetwork(t, "--signed")
	return machine{t, dir}, a.Recovery
}

// couple is a network with the owners alice and bob.
func couple(t *testing.T) (alice, bob machine, paper string) {
	alice, paper = alone(t)
	bob = alice.copied()
	alice.tincan("owners", "add", "bob", bob.key()).must(t)
	bob.hear(alice)
	return alice, bob, paper
}

func TestASecondOwner(t *testing.T) {
	alice, _ := alone(t)
	bob := alice.copied()
	made := bob.tincan("owners", "key").must(t)
	key := strings.TrimSpace(made.out)
	if info, err := os.Stat(filepath.Join(bob.dir, "owner_key.priv")); err != nil || info.Mode().Perm() != 0o600 || len(key) != 43 || !strings.Contains(made.err, "owners add alice "+key) {
		t.Errorf("%+v, %v, %v", made, info, err)
	}
	if again := into[report.OwnersKey](t, bob.tincan("owners", "key", "--json").must(t)); again.Key != key || again.Made || again.Owner {
		t.Errorf("%+v", again)
	}
	bob.tincan("admit", "dave", "--key", someKey(3)).refused(t, "this key has no right to", "hint: who has it: alice (")
	bob.tincan("owners", "add", "bob", key).refused(t, "this key has no right to")
	for want, args := range map[string][]string{
		"this key is that of the owner alice already": {"bob", alice.key()},
		"an owner is called alice already":            {"alice", key},
		"the key of the node bob":                     {"bob", someKey(1)},
		"the KEY":                                     {"bob", key[1:]},
		`no owner is called "bob"`:                    {"bob"},
		"alice is an owner already":                   {"alice"},
		`"admin" is none of admit, remove`:            {"bob", key, "--rights", "admin"},
		"3 owners would have to sign":                 {"bob", key, "--threshold", "3"},
		"nobody would be left who may change":         {"alice", "--rights", "admit"},
		`node name "b/b"`:                             {"b/b", key},
	} {
		alice.tincan(append([]string{"owners", "add"}, args...)...).refused(t, want)
	}
	if said := alice.tincan("owners", "add", "bob", key, "--rights", "admit").must(t).err; !strings.Contains(said, "bob (") || !strings.Contains(said, "becomes an owner: admit") {
		t.Error(said)
	}
	bob.hear(alice)
	bob.tincan("admit", "dave", "--key", someKey(3)).must(t)
	bob.tincan("remove", "dave").refused(t, "this key has no right to")
	alice.hear(bob)
	if said := alice.tincan("owners", "add", "bob", "--rights", "admit,owners").must(t).err; !strings.Contains(said, "bob may admit, owners, and not admit") {
		t.Error(said)
	}
	bob.hear(alice)
	if v := bob.owners(); v.OwnerKey != v.Owners[1].Fingerprint || strings.Join(v.Owners[1].Rights, " ") != "admit owners" || v.Threshold != 1 || !v.Recovery || len(v.Proposals)+len(v.Former) != 0 {
		t.Errorf("%+v", v)
	}
	if table := bob.tincan("owners", "show").must(t).out; !strings.Contains(table, "bob    ") || !strings.Contains(table, "its key is on this machine") || !strings.Contains(table, "one signature") {
		t.Error(table)
	}
	alice.want("alice bob", "alice bob carol dave")
}

func TestAnOwnerRetires(t *testing.T) {
	alice, bob, _ := couple(t)
	bob.tincan("admit", "dave", "--key", someKey(3)).must(t)
	bob.tincan("remove", "carol", "--reason", "sold").must(t)
	run(t, "Alias = web dave\n", "tincan", "-c", bob.dir, "names", "set", "-").must(t)
	alice.hear(bob)
	bob.tincan("owners", "retire", "bob").refused(t, "another owner has to sign again", "on the machine of alice")
	alice.tincan("owners", "retire", "bbo").refused(t, `did you mean "bob"?`)
	if said := alice.tincan("owners", "retire", "bob").must(t).err; !strings.Contains(said, "signed again with the owner's key of this machine: 1 member, 1 removal, 1 list of further names") || strings.Contains(said, "note: bob was a more senior") {
		t.Error(said)
	}
	alice.want("alice", "alice bob dave")
	v := into[members.View](t, alice.tincan("members", "--json").must(t))
	if memberNamed(t, v, "dave").By != "alice" || v.Removed[0].Name != "carol" || v.Removed[0].Reason != "sold" || v.Removed[0].By != "alice" {
		t.Errorf("%+v", v)
	}
	bob.hear(alice)
	bob.tincan("remove", "dave").refused(t, "this key has no right to")
	alice.tincan("owners", "retire", "alice").refused(t, "add another owner first")
	alice.tincan("owners", "retire", "bob").refused(t, `no owner is called "bob"`)
	if f := alice.owners().Former; len(f) != 1 || f[0].Name != "bob" || f[0].CanUndo {
		t.Errorf("%+v", f)
	}

	// The more senior one goes: nothing but a recovery takes all power from that key.
	_, bob, paper := couple(t)
	if said := bob.tincan("owners", "retire", "alice").must(t).err; !strings.Contains(said, "alice was a more senior owner") {
		t.Error(said)
	}
	bob.want("bob", "alice bob carol")
	if f := bob.owners().Former; len(f) != 1 || !f[0].CanUndo {
		t.Errorf("%+v", f)
	}
	bob.typed(paper, "owners", "recover", "--keep", "bob").must(t)
	bob.want("bob", "alice bob carol")
	if f := bob.owners().Former; len(f) != 1 || f[0].CanUndo {
		t.Errorf("%+v", f)
	}
}

func TestTheKeyOfAJuniorOwnerIsStolen(t *testing.T) {
	alice, bob, _ := couple(t)
	bob.tincan("admit", "dave", "--key", someKey(3)).must(t)
	thief := bob.stolen()
	thief.tincan("admit", "mallory", "--key", someKey(4)).must(t)
	thief.tincan("remove", "carol", "--reason", "ha").must(t)
	alice.hear(thief)

	refused := alice.tincan("owners", "compromised", "bob")
	refused.refused(t, "member dave", "member mallory", "removal of carol", `"ha"`, "nothing was changed", "--drop-all")
	alice.tincan("owners", "compromised", "bob", "--drop", "nobody").refused(t, `is called "nobody"`)
	alice.tincan("owners", "compromised", "bob", "--drop", "dave", "--keep-all").refused(t, "drop")
	gone := into[members.View](t, alice.tincan("members", "--json").must(t)).Removed[0].Fingerprint
	alice.tincan("owners", "compromised", "bob", "--drop", "mallory", "--drop", gone).must(t)
	alice.want("alice", "alice bob carol dave")

	// The thief goes on with what he has.
	thief.tincan("owners", "compromised", "alice", "--keep-all").must(t)
	thief.tincan("admit", "eve", "--key", someKey(5)).must(t)
	fixture.Put(t, filepath.Join(alice.dir, "roster"), read(t, alice.dir, "roster")+read(t, thief.dir, "roster"))
	alice.want("alice", "alice bob carol dave")
	alice.tincan("owners", "compromised", "bob").refused(t, "bob (", "is no owner any more")
}

// The thief was faster: he has named himself, and removed the owner who is senior to the stolen key.
func TestASeniorOwnerTakesTheNetworkBack(t *testing.T) {
	alice, bob, _ := couple(t)
	bob.tincan("admit", "dave", "--key", someKey(3)).must(t)
	thief, his := bob.stolen(), bob.copied()
	thief.tincan("owners", "add", "thief", his.key()).must(t)
	his.hear(thief)
	his.tincan("owners", "compromised", "alice", "--drop-all").must(t)
	his.tincan("admit", "eve", "--key", someKey(5)).must(t)
	alice.hear(his)
	alice.want("thief", "eve")
	alice.tincan("remove", "eve").refused(t, "this key has no right to")
	alice.tincan("owners", "compromised", "bob", "--keep", "eve").refused(t, `no owner is called "eve" among those whom bob has made owners`)
	alice.tincan("owners", "compromised", "bob").refused(t, "note: thief (", "is removed as well", "member dave", "member eve")
	if said := alice.tincan("owners", "compromised", "bob", "--drop", "eve").must(t).err; strings.Contains(said, "warning") {
		t.Error(said)
	}
	alice.want("alice", "alice bob carol dave")
	// bob himself has no such means against alice's key.
	alice, bob, _ = couple(t)
	alice.stolen().tincan("owners", "compromised", "bob", "--keep-all").must(t)
	if said := bob.tincan("owners", "compromised", "alice", "--keep-all").must(t).err; !strings.Contains(said, "warning: alice was a more senior owner") || !strings.Contains(said, "owners recover") {
		t.Error(said)
	}
}

func TestSeveralSignatures(t *testing.T) {
	alice, bob, paper := couple(t)
	if said := alice.tincan("owners", "threshold", "2").must(t).err; !strings.Contains(said, "a change of the owners needs 2 signatures, and not one signature") || !strings.Contains(said, "note: alice was able to change the owners alone") {
		t.Error(said)
	}
	alice.tincan("owners", "threshold", "2").refused(t, "it is so already")
	alice.tincan("owners", "threshold", "zero").refused(t, "write a number from 1 to")
	alice.tincan("owners", "sign").refused(t, "no change of the owners waits for signatures")
	alice.typed(paper, "owners", "recover", "--keep", "alice", "--keep", "bob").must(t)
	if v := alice.owners(); v.Threshold != 2 || v.Alone != nil || len(v.Former) != 0 {
		t.Errorf("%+v", v)
	}
	bob.hear(alice)
	carol := alice.copied()
	said := alice.tincan("owners", "add", "carol", carol.key()).must(t).err
	if !strings.Contains(said, "proposed: carol") || !strings.Contains(said, "it waits for 1 more of bob") {
		t.Error(said)
	}
	alice.want("alice bob", "alice bob carol")
	v := alice.owners()
	if len(v.Proposals) != 1 || v.Proposals[0].Missing != 1 || v.Proposals[0].Signed[0] != "alice" || v.Proposals[0].Unsigned[0] != "bob" || !strings.Contains(v.Proposals[0].Changes[0], "carol") {
		t.Fatalf("%+v", v)
	}
	id := v.Proposals[0].ID[:8]
	if table := alice.tincan("owners", "show").must(t).out; !strings.Contains(table, "proposal "+id+", signed by alice; 1 more of bob") || !strings.Contains(table, "owners sign "+id) {
		t.Error(table)
	}
	alice.tincan("owners", "sign").refused(t, "has signed it already")
	bob.hear(alice)
	bob.tincan("owners", "sign").refused(t, "carol (", "becomes an owner", "hint: to do it without being asked: --yes")
	bob.tincan("owners", "sign", "ffffffff").refused(t, "no change with the id")
	carol.hear(alice)
	carol.tincan("owners", "sign", "--yes").refused(t, "this key has no right to")
	bob.tincan("owners", "sign", id, "--yes").must(t)
	bob.want("alice bob carol", "alice bob carol")

	// alice goes. She may sign first, but if she signs last nothing is lost either.
	alice.hear(bob)
	for _, first := range []bool{true, false} {
		alice, bob := alice.stolen(), bob.stolen()
		alice.tincan("admit", "dave", "--key", someKey(3)).must(t)
		bob.hear(alice)
		one, other := alice, bob
		if !first {
			one, other = bob, alice
		}
		one.tincan("owners", "retire", "alice").must(t)
		other.hear(one)
		if said := other.tincan("owners", "sign", "--yes").must(t).err; !strings.Contains(said, "alice (") {
			t.Error(said)
		}
		other.want("bob carol", "alice bob carol dave")
	}
	// A stolen one is not enough, and whoever signs last decides what stays.
	thief := alice.stolen()
	thief.tincan("admit", "mallory", "--key", someKey(4)).must(t)
	thief.tincan("owners", "compromised", "bob", "--drop-all").refused(t, "whoever signs last decides")
	bob.hear(thief)
	bob.tincan("owners", "compromised", "alice").must(t)
	carol.hear(bob)
	carol.tincan("owners", "sign", "--yes", "--drop", "mallory").must(t)
	carol.want("bob carol", "alice bob carol")
}

// The only owner's key is lost, with the machine that it was on.
func TestRecoveryOfALostKey(t *testing.T) {
	alice, paper := alone(t)
	bob := alice.copied()
	bob.tincan("owners", "recover").refused(t, "say what has become of these owners: alice")
	bob.tincan("owners", "recover", "--lost", "alcie").refused(t, `did you mean "alice"?`)
	bob.tincan("owners", "recover", "--lost", "alice", "--stolen", "alice").refused(t, "cannot be two of")
	bob.tincan("owners", "recover", "--lost", "alice").refused(t, "there is no recovery key in the input")
	for typed, want := range map[string]string{
		paper[:20]:                          "has 9 groups of 4",
		"ZZZZ-" + paper[5:]:                 "",
		flip(paper, 11):                     "group 3 of the recovery key has a wrong character",
		strings.Replace(paper, "-", ".", 1): "group 1 of the recovery key has",
		strings.Repeat("0000-", 8) + "9HWT": "",
	} {
		refused := bob.typed(typed, "owners", "recover", "--lost", "alice")
		refused.refused(t, want)
		if strings.Contains(refused.err, paper[5:14]) {
			t.Errorf("the recovery key is shown: %s", refused.err)
		}
	}
	file := filepath.Join(t.TempDir(), "paper")
	fixture.Put(t, file, strings.ToLower(strings.ReplaceAll(paper, "-", " "))+"\n")
	said := bob.tincan("owners", "recover", "--lost", "alice", "--recovery-file", file, "--name", "bob").must(t)
	if !strings.Contains(said.err, "signed again with the owner's key of this machine: 3 members") || said.out != "" {
		t.Errorf("%+v", said)
	}
	bob.want("bob", "alice bob carol")
	alice.hear(bob)
	alice.tincan("remove", "carol").refused(t, "this key has no right to", "bob (")
	bob.tincan("remove", "carol").must(t)

	// Without a recovery key there is no recovery.
	dir, _, _ := signedNetwork(t, "--no-recovery")
	machine{t, dir}.typed(paper, "owners", "recover", "--lost", "alice").refused(t, "without a recovery key")
	// Another network's does not help.
	alice, _ = alone(t)
	alice.typed(paper, "owners", "recover", "--lost", "alice").refused(t, "not that of this network", "its fingerprint is")
}

// flip changes one character of a recovery key.
func flip(paper string, at int) string {
	other := byte('7')
	if paper[at] == '7' {
		other = '8'
	}
	return paper[:at] + string(other) + paper[at+1:]
}

// The only owner's key was stolen, and the thief is the only owner now.
func TestRecoveryOfAStolenNetwork(t *testing.T) {
	alice, paper := alone(t)
	thief, his := alice.stolen(), alice.copied()
	thief.tincan("remove", "carol").must(t)
	thief.tincan("owners", "add", "thief", his.key()).must(t)
	his.hear(thief)
	his.tincan("owners", "compromised", "alice", "--drop-all").must(t)
	his.tincan("admit", "eve", "--key", someKey(5)).must(t)
	alice.hear(his)
	alice.want("thief", "eve")

	said := alice.typed(paper, "owners", "recover", "--stolen", "thief")
	said.refused(t, "alice (", "is a former owner, and 2 members, 1 removal of this one do not count now", "--stolen ", "member eve")
	alice.typed(paper, "owners", "recover", "--stolen", "thief", "--stolen", "alice").refused(t, "member eve", "member bob", "removal of carol", "by thief", "by alice")
	old := read(t, alice.dir, "owner_key.priv")
	gone := carolsFingerprint(t, thief)
	recovered := alice.typed(paper, "owners", "recover", "--stolen", "thief", "--stolen", "alice", "--drop", "eve", "--drop", gone, "--new-recovery-key").must(t)
	if recoveryText.MatchString(recovered.out + recovered.err) {
		t.Errorf("the new recovery key is in the log: %+v", recovered)
	}
	alice.want("alice", "alice bob carol")
	if kept, _ := filepath.Glob(filepath.Join(alice.dir, "owner_key.priv.old-*")); len(kept) != 1 || read(t, kept[0]) != old || read(t, alice.dir, "owner_key.priv") == old {
		t.Errorf("old keys: %v", kept)
	}
	alice.tincan("remove", "bob").must(t)

	// What the thief signs now is worth nothing, here or there, and the old paper neither.
	his.tincan("admit", "dave", "--key", someKey(3)).must(t)
	his.tincan("owners", "add", "alice", alice.key()).must(t)
	thief.hear(alice)
	thief.tincan("remove", "carol").refused(t, "this key has no right to")
	fixture.Put(t, filepath.Join(alice.dir, "roster"), read(t, alice.dir, "roster")+read(t, his.dir, "roster"))
	alice.want("alice", "alice carol")
	thief.typed(paper, "owners", "recover", "--lost", "alice").refused(t, "not that of this network")
	alice.typed(read(t, alice.dir, "recovery_key"), "owners", "recover", "--keep", "alice").must(t)
	alice.want("alice", "alice carol")
}

func carolsFingerprint(t *testing.T, m machine) string {
	t.Helper()
	for _, r := range into[members.View](t, m.tincan("members", "--json").must(t)).Removed {
		if r.Name == "carol" {
			return r.Fingerprint
		}
	}
	t.Fatal("carol is not removed")
	return ""
}

func TestRemovingAMemberWhoIsAnOwner(t *testing.T) {
	alice, _, _ := couple(t)
	if said := alice.tincan("remove", "bob").must(t).err; !strings.Contains(said, "note: the owner of the same name (") || !strings.Contains(said, "owners compromised bob") || !strings.Contains(said, "owners retire bob") {
		t.Error(said)
	}
	alice.want("alice bob", "alice carol")

	// A person is asked.
	alice, bob, _ := couple(t)
	bob.tincan("admit", "dave", "--key", someKey(3)).must(t)
	alice.hear(bob)
	shown := alice.dialogue([]string{"remove", "bob"}, "[keep/lost/stolen]", "stolen", "does not stay?", "7", "does not stay?", "1")
	if !strings.Contains(shown, "member dave") || !strings.Contains(shown, "bob (") {
		t.Error(shown)
	}
	alice.want("alice", "alice carol")
}

// A person recovers the network: the key is not shown, and each question has to be answered.
func TestRecoveryOnATerminal(t *testing.T) {
	alice, paper := alone(t)
	thief, his := alice.stolen(), alice.copied()
	thief.tincan("owners", "add", "thief", his.key()).must(t)
	his.hear(thief)
	his.tincan("owners", "compromised", "alice", "--drop-all").must(t)
	his.tincan("admit", "eve", "--key", someKey(5)).must(t)
	alice.hear(his)
	shown := alice.dialogue([]string{"owners", "recover"}, "recovery key (it is not shown): ", paper,
		"thief", "", "[keep/lost/stolen]", "stolen", "alice (", "s", "does not stay?", "what?", "does not stay?", "4", "replace the owners? [y/N]", "n")
	if strings.Contains(shown, paper) || !strings.Contains(shown, "nothing was changed") {
		t.Error(shown)
	}
	alice.want("thief", "eve")
	shown = alice.dialogue([]string{"owners", "recover", "--new-recovery-key"}, "recovery key (it is not shown): ", paper,
		"[keep/lost/stolen]", "stolen", "alice (", "lost", "does not stay?", "1", "replace the owners? [y/N]", "y")
	if !recoveryText.MatchString(shown) || strings.Contains(shown, paper) || strings.Contains(shown, "member bob") || !strings.Contains(shown, "member eve") {
		t.Error(shown)
	}
	alice.want("alice", "alice bob carol")
}

// dialogue runs tincan on a terminal. Of each two words the first is waited for, and the second typed.
func (m machine) dialogue(args []string, words ...string) (shown string) {
	m.t.Helper()
	master, slave := openTerminal(m.t)
	cmd := exec.Command(filepath.Join(bin, "tincan"), append([]string{"-c", m.dir}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	slave.Close()
	timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	read, b := 0, make([]byte, 4096)
	for len(words) > 0 {
		if i := strings.Index(shown[read:], words[0]); i >= 0 {
			read += i + len(words[0])
			if words[1] != "" {
				fmt.Fprintf(master, "%s\n", words[1])
			}
			words = words[2:]
			continue
		}
		k, err := master.Read(b)
		if err != nil {
			m.t.Fatalf("waiting for %q: %v\n%s", words[0], err, shown)
		}
		shown += string(b[:k])
	}
	rest, _ := io.ReadAll(master) // EIO at the end
	_ = cmd.Wait()
	return shown + string(rest)
}

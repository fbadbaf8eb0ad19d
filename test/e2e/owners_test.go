//go:build linux

package e2e

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/report"
)

// ownedBy tells whether the owners are called so, in this order, as far as the node knows, and the members so.
func (n *node) ownedBy(owners, list string) bool {
	o, err := tryJSON[report.Owners](n, "owners", "show")
	if err != nil {
		return false
	}
	m, err := tryJSON[members.View](n, "members")
	if err != nil {
		return false
	}
	var names, in []string
	for _, v := range o.Owners {
		names = append(names, string(v.Name))
	}
	for _, v := range m.Members {
		in = append(in, string(v.Name))
	}
	return strings.Join(names, " ") == owners && strings.Join(in, " ") == list
}

// The only owner's key is stolen, by somebody who has a member's machine. He makes himself the only owner and everybody
// else a stranger. One command on one node, with the key on paper, takes the network back, and all follow.
func TestAStolenNetworkIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.tincan("init", "alice")
	alice.up()
	bob.joins(alice.invite("bob"))
	w.eventually("bob has the roster", patience, func() bool { return bob.ownedBy("alice", "alice bob") })
	carol.joins(alice.invite("carol"))
	for _, n := range []*node{alice, bob, carol} {
		w.eventually(n.Name()+" has the roster", patience, func() bool { return n.ownedBy("alice", "alice bob carol") })
	}
	paper, stolen := alice.file("recovery_key"), alice.file("owner_key.priv")

	his, err := keys.Generate(rand.Reader)
	w.must(err)
	w.must(carol.WriteFile(confBase+"/owner_key.priv", []byte(stolen)))
	carol.tincan("owners", "add", "thief", his.Public().String())
	w.must(carol.WriteFile(confBase+"/owner_key.priv", keys.MarshalPrivatePEM(his)))
	carol.tincan("owners", "compromised", "alice", "--drop", "alice", "--drop", "bob")
	for _, n := range []*node{alice, bob} {
		w.eventually(n.Name()+" belongs to the thief", patience, func() bool { return n.ownedBy("thief", "carol") })
	}

	w.must(bob.WriteFile(confBase+"/paper", []byte(paper)))
	var o report.Owners
	bob.ask(&o, "owners", "show")
	bob.tincan("owners", "recover", "--recovery-file", confBase+"/paper", "--stolen", "thief", "--stolen", o.Former[0].Fingerprint, "--drop", "carol")
	for _, n := range []*node{bob, alice} {
		w.eventually(n.Name()+" is back", patience, func() bool { return n.ownedBy("bob", "alice bob") })
	}
	alice.reaches(bob)
	w.eventually("carol is out", patience, func() bool {
		_, err := carol.Ping(bob.vpn("ip4"), 56, 300*time.Millisecond)
		return err != nil
	})

	// Neither key is worth anything, wherever it is.
	for _, key := range []string{stolen, string(keys.MarshalPrivatePEM(his))} {
		w.must(alice.WriteFile(confBase+"/owner_key.priv", []byte(key)))
		if _, err := alice.try("remove", "bob"); err == nil || !strings.Contains(err.Error(), "no right") {
			t.Errorf("a stolen key removes a member: %v", err)
		}
		w.must(carol.WriteFile(confBase+"/owner_key.priv", []byte(key)))
		_, _ = carol.try("remove", "bob")
	}
	bob.reaches(alice)
	if !bob.ownedBy("bob", "alice bob") || !alice.ownedBy("bob", "alice bob") {
		t.Errorf("bob: %s\nalice: %s", bob.tincan("members"), alice.tincan("members"))
	}
}

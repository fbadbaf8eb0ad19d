//go:build linux

package e2e

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/report"
)

// policyIs signs a policy and waits until all nodes enforce it.
func (n *node) policyIs(text string, everywhere ...*node) {
	n.w.Helper()
	const path = confBase + "/rules"
	n.w.must(n.WriteFile(path, []byte(text)))
	n.tincan("policy", "set", path)
	for _, o := range everywhere {
		n.w.eventually(o.Name()+" enforces the policy", patience, func() bool {
			p, err := tryJSON[report.Policy](o, "policy", "show") // refused until the roster has arrived
			return err == nil && p.Text == text && p.Node != nil && p.Node.Enforced
		})
	}
}

// policy is what a node says about the policy.
func (n *node) policy() (p report.Policy) {
	n.w.Helper()
	n.ask(&p, "policy", "show")
	return p
}

// refused are the packets that a node says it has refused from or to another one.
func (n *node) refused(peer string, incoming bool, service string) (packets uint64) {
	n.w.Helper()
	for _, r := range n.policy().Node.Refused {
		if string(r.Node) == peer && r.Incoming == incoming && r.Service == service {
			packets += r.Count
		}
	}
	return packets
}

// dials opens a connection through the network, and closes it.
func (n *node) dials(to net.Addr, within time.Duration) error {
	ctx, stop := context.WithTimeout(context.Background(), within)
	defer stop()
	c, err := n.Dial(ctx, "tcp", to.String())
	if err == nil {
		c.Close()
	}
	return err
}

func TestAPolicyRefusesConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	alice.tincan("init", "alice")
	alice.up()
	bob.joins(alice.invite("bob"))
	w.allReach("ip4", alice, bob)
	in, err := bob.Listen("tcp", netip.AddrPortFrom(bob.vpn("ip4"), 8080).String())
	w.must(err)
	defer in.Close()
	go func() {
		for c, err := in.Accept(); err == nil; c, err = in.Accept() {
			c.Close()
		}
	}()
	w.must(alice.dials(in.Addr(), patience))

	const base = "allow * -> * icmp tcp:1655\nallow bob -> alice tcp:8080\n"
	alice.policyIs(base, alice, bob)
	// The sender is told, and need not wait.
	if err := alice.dials(in.Addr(), patience); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("what the policy refuses: %v", err)
	}
	alice.reaches(bob)
	if n := alice.refused("bob", false, "tcp:8080"); n == 0 {
		t.Errorf("alice has counted nothing: %+v", alice.policy().Node)
	}
	if n := bob.refused("alice", true, "tcp:8080"); n != 0 {
		t.Errorf("%d packets have arrived that alice has refused", n)
	}
	out := alice.tincan("why", "bob:8080")
	for _, text := range []string{"alice -> bob tcp:8080: refused, no line allows it", "packets to bob here, tcp:8080", "suggestion: ", "policy edit"} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is missing in:\n%s", text, out)
		}
	}

	// Who does not enforce the policy is refused at the destination.
	alice.tincan("set", "Roster", "warn")
	w.eventually("bob refuses what alice sends", patience, func() bool {
		if err := alice.dials(in.Addr(), 300*time.Millisecond); err == nil {
			t.Fatal("a packet that the policy refuses has arrived")
		}
		return bob.refused("alice", true, "tcp:8080") > 0
	})
	if codes, _ := bob.why("alice"); !slices.Contains(codes, "policy-has-refused") {
		t.Error(codes)
	}
	if drops := bob.tincan("status", "--drops"); !strings.Contains(drops, "refused by the policy, incoming") {
		t.Error(drops)
	}
	alice.tincan("set", "Roster", "signed")

	alice.policyIs(base+"allow alice -> bob tcp:8080\ntest alice -> bob:8080 allow\n", alice, bob)
	w.must(alice.dials(in.Addr(), patience))
	for _, n := range []*node{alice, bob} {
		if uses := n.policy().Node.Rules; uses[2].Line != 3 || uses[2].Flows == 0 {
			t.Errorf("%s has not counted the connection: %+v", n.Name(), uses)
		}
	}

	alice.policyIs("allow * -> * icmp\n", alice, bob)
	if err := alice.dials(in.Addr(), patience); !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("what the policy refuses again: %v", err)
	}
	bob.mayNotSign(t)
	alice.tincan("policy", "clear", "--yes")
	w.eventually("nothing is refused any more", patience, func() bool { return alice.dials(in.Addr(), time.Second) == nil })
}

// mayNotSign checks that only the owner's machine can change the policy.
func (n *node) mayNotSign(t *testing.T) {
	t.Helper()
	if out, err := n.try("policy", "clear", "--yes"); err == nil || !strings.Contains(err.Error(), "who has it: alice") {
		t.Errorf("%v, %s", err, out)
	}
}

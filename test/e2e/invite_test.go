//go:build linux

package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFromJoinToTheFirstAnswerInTwoSeconds(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	alice.up()
	url := alice.invite("bob")
	began := time.Now()
	bob.joins(url)
	bob.reaches(alice)
	took := time.Since(began)
	t.Logf("from join to the first answer: %v", took)
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAnInvitationToANodeThatDoesNotRun(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	url := alice.invite("bob")
	refuses(bob, "join", url).says("refused")
	alice.up()
	bob.joins(url)
	bob.reaches(alice)
}

func TestTwoInvitersAtTheSameMoment(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	alice.up()
	bob.joins(alice.invite("bob"))
	w.allReach("ip4", alice, bob)

	carol, dave := w.node("carol"), w.node("dave")
	var wg sync.WaitGroup
	join := func(inviter, newcomer *node) {
		wg.Go(func() {
			url, err := inviter.try("invite", newcomer.Name())
			if err == nil {
				_, err = newcomer.try("join", strings.TrimSpace(url))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	join(alice, carol)
	join(bob, dave)
	wg.Wait()
	if t.Failed() {
		return
	}
	upAll(carol, dave)
	all := map[string]string{}
	for _, n := range w.nodes {
		a := n.vpn("ip4").String()
		if other := all[a]; other != "" {
			t.Errorf("%s and %s both have %s", other, n.Name(), a)
		}
		all[a] = n.Name()
	}
	w.allReach("ip4", alice, bob, carol, dave)
}

func TestBadInvitations(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.node("alice"), w.node("bob"), w.node("carol")
	alice.found()
	alice.up()
	url := alice.invite("bob")

	t.Run("no URL at all", func(t *testing.T) { refuses(carol, "join", "hello") })
	t.Run("a mistyped letter", func(t *testing.T) {
		last := map[bool]string{true: "A", false: "B"}[!strings.HasSuffix(url, "A")]
		refuses(carol, "join", url[:len(url)-1]+last)
	})
	t.Run("a piece is missing", func(t *testing.T) { refuses(carol, "join", url[:len(url)-5]) })
	t.Run("nobody there", func(t *testing.T) {
		_, secret, _ := strings.Cut(url, "/")
		refuses(carol, "join", carol.Addr("ip4").String()+":655/"+secret)
	})
	if left := carol.files(confBase); len(left) != 0 {
		t.Errorf("the failures left %v behind", left)
	}
	t.Run("blanks around it do no harm", func(t *testing.T) { bob.joins("  " + url + "\n") })
	t.Run("used a second time", func(t *testing.T) { refuses(carol, "join", url) })
	t.Run("over a network that is there", func(t *testing.T) { refuses(bob, "join", alice.invite("bobby")) })
	t.Run("for a name that is taken", func(t *testing.T) { refuses(alice, "invite", "bob") })
	t.Run("for a name that is none", func(t *testing.T) { refuses(alice, "invite", "b-o-b") })
	bob.reaches(alice)
}

//go:build linux

package e2e

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/keys"
	"tincan/internal/lab"
)

func TestFromJoinToTheFirstAnswerInTwoSeconds(t *testing.T) {
	w := newWorld(t)
	alice := w.node("alice")
	alice.found()
	alice.up()
	took := bestOf(3, func(i int) time.Duration {
		bob := w.node(fmt.Sprintf("bob%d", i))
		url := alice.invite(bob.Name())
		began := time.Now()
		bob.joins(url)
		bob.reaches(alice)
		return time.Since(began)
	}, 2*time.Second)
	t.Logf("from join to the first answer: %v", took)
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAnInvitationToANodeThatDoesNotRun(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
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

// An invitation may name other nodes with an address of the newcomer's own machine.
func TestAnInvitationDoesNotMakeUsDialOurselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	at := netip.AddrPortFrom(bob.Addr("ip4"), 2222)
	key, err := keys.Generate(rand.Reader)
	w.must(err)
	w.must(alice.WriteFile(confBase+"/hosts/carol", fmt.Appendf(nil, "Address = %s %d\nEd25519PublicKey = %s\n", at.Addr(), at.Port(), key.Public())))
	alice.up()
	bob.tincan("join", alice.invite("bob"))
	if conf := bob.file("tinc.conf") + bob.file("hosts/carol"); !strings.Contains(conf, "ConnectTo = carol") || !strings.Contains(conf, at.Addr().String()) {
		t.Fatalf("the invitation does not name carol:\n%s", conf)
	}
	l, err := bob.Listen("tcp", at.String())
	w.must(err)
	defer l.Close()
	called := make(chan bool, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
			if strings.HasPrefix(c.RemoteAddr().String(), at.Addr().String()+":") { // alice believes herself
				called <- true
				return
			}
		}
	}()
	bob.up()
	bob.reaches(alice)
	select {
	case <-called:
		t.Errorf("bob calls himself:\n%s", bob.daemon.Tail(20))
	case <-time.After(3 * time.Second):
	}
}

// Fifty newcomers behind one NAT use their invitations at the same moment.
func TestAClassRoomBehindOneNATJoinsByInvitation(t *testing.T) {
	w := newWorld(t, "ip4")
	alice, room := w.node("alice"), w.gated("room", w.internet.Attach)
	w.must(room.gate.NAT(lab.Symmetric))
	alice.found()
	alice.up()
	const pupils = 50
	var urls []string
	for i := range pupils {
		urls = append(urls, alice.invite(fmt.Sprintf("pupil%d", i)))
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i, url := range urls {
		wg.Go(func() {
			if out, err := room.Run(os.Getenv(binaryVar), "-c", fmt.Sprintf("%s/%d", confBase, i), "join", url); err != nil {
				t.Errorf("pupil %d: %v %s", i, err, out)
			}
		})
	}
	wg.Wait()
	t.Logf("%d joins in %v", pupils, time.Since(began))
	if n := len(alice.files(confBase + "/hosts")); n != pupils+1 {
		t.Errorf("alice has %d host files", n)
	}
}

// The same with a token.
func TestAClassRoomBehindOneNATJoinsWithAToken(t *testing.T) {
	w := newWorld(t, "ip4")
	boot, room := w.node("boot"), w.gated("room", w.internet.Attach)
	w.must(room.gate.NAT(lab.Symmetric))
	url, token := boot.boots()
	const pupils = 50
	began := time.Now()
	var wg sync.WaitGroup
	for i := range pupils {
		wg.Go(func() {
			name := fmt.Sprintf("pupil%d", i)
			if out, err := room.Run(os.Getenv(binaryVar), "-c", confBase+"/"+name, "gen", "--name", name, "--port", fmt.Sprint(20000+i), "--token", token, url); err != nil {
				t.Errorf("%s: %v %s", name, err, out)
			}
		})
	}
	wg.Wait()
	t.Logf("%d joins in %v", pupils, time.Since(began))
	if n := len(boot.files(confBase + "/hosts")); n != pupils+1 {
		t.Errorf("the boot node has %d host files", n)
	}
}

// Behind a NAT the own address is of no use for most newcomers.
func TestAnInviterBehindNATNamesAPublicMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice := w.nodeAt(w.internet, "alice", "198.51.100.2/24")
	bob := w.gated("bob", w.internet.Attach)
	w.must(bob.gate.NAT(lab.Symmetric))
	alice.found("--public", "198.51.100.2")
	alice.up()
	bob.joins(alice.invite("bob"))
	bob.reaches(alice)
	out, err := bob.Run("sh", "-c", os.Getenv(binaryVar)+" -n home invite carol 2>&1")
	if err != nil || !strings.Contains(out, "run on alice, which can be reached from everywhere: tincan -n home invite carol\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// However little room there is on the newcomer's disk, the invitation stays good until everything fits.
func TestAJoinOnAFullDiskDoesNotSpendTheInvitation(t *testing.T) {
	t.Parallel()
	for name, room := range map[string]func(n int) string{
		"blocks": func(n int) string { return fmt.Sprintf("size=%d", n*os.Getpagesize()) },
		"inodes": func(n int) string { return fmt.Sprintf("nr_inodes=%d", n) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice, bob := w.node("alice"), w.node("bob")
			alice.found()
			alice.up()
			url := alice.invite("bob")
			w.must(bob.InFiles(func() error { return os.MkdirAll("/etc/tinc", 0o755) }))
			for n := 1; ; n++ {
				w.must(bob.InFiles(func() error { return unix.Mount("none", "/etc/tinc", "tmpfs", 0, room(n)) }))
				_, err := bob.try("join", url)
				if err == nil {
					if n < 4 {
						t.Errorf("there was room enough with %d %s", n, name)
					}
					break
				}
				if !strings.Contains(err.Error(), "no space left") || n > 40 {
					t.Fatalf("with %d %s: %v", n, name, err)
				}
				if slices.Contains(alice.files(confBase+"/hosts"), "bob") {
					t.Fatalf("with %d %s: the inviter has stored a newcomer that could store nothing", n, name)
				}
				w.must(bob.InFiles(func() error {
					if left, err := os.ReadDir("/etc/tinc"); err != nil || len(left) > 0 {
						return fmt.Errorf("left behind with %d %s: %v, %w", n, name, left, err)
					}
					return unix.Unmount("/etc/tinc", 0)
				}))
			}
			bob.up()
			bob.reaches(alice)
		})
	}
}

// The newcomer's program ends at the moment at which its key has been sent. The same command goes on with that key.
func TestAJoinWhoseAnswerIsLostGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.node("alice"), w.node("bob")
	alice.found()
	alice.up()
	// Between the two: passes everything, until alice has stored bob. Then nothing comes back.
	relay, err := bob.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	defer relay.Close()
	var cut atomic.Bool
	cut.Store(true)
	go func() {
		for {
			in, err := relay.Accept()
			if err != nil {
				return
			}
			out, err := bob.Dial(t.Context(), "tcp", netip.AddrPortFrom(alice.Addr("ip4"), 655).String())
			if err != nil {
				in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); out.Close() }()
			go func() {
				defer in.Close()
				b := make([]byte, 4096)
				for {
					n, err := out.Read(b)
					if err != nil || cut.Load() && slices.Contains(alice.files(confBase+"/hosts"), "bob") {
						return
					}
					if _, err := in.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	_, secret, _ := strings.Cut(alice.invite("bob"), "/")
	url := relay.Addr().String() + "/" + secret
	refuses(bob, "join", url).says("no answer").says("run the same command again")
	if !slices.Contains(alice.files(confBase+"/hosts"), "bob") {
		t.Fatal("the key was not sent")
	}
	refuses(alice, "invite", "bob").says("bob")
	cut.Store(false)
	bob.joins(url)
	bob.reaches(alice)
}

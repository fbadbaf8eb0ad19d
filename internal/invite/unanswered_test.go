package invite

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// brittle is a connection that breaks at one of its reads and writes: before it, or after it, when the other side has
// got what was written and only this side does not know.
type brittle struct {
	net.Conn
	left  *atomic.Int32 // reads and writes until it breaks
	after bool
}

var errBroken = errors.New("the cable is cut")

func (b brittle) step(f func() (int, error)) (int, error) {
	left := b.left.Add(-1)
	if left < 0 || left == 0 && !b.after {
		b.Conn.Close()
		return 0, errBroken
	}
	n, err := f()
	if left == 0 {
		b.Conn.Close()
		return 0, errBroken
	}
	return n, err
}

func (b brittle) Read(p []byte) (int, error) {
	return b.step(func() (int, error) { return b.Conn.Read(p) })
}
func (b brittle) Write(p []byte) (int, error) {
	return b.step(func() (int, error) { return b.Conn.Write(p) })
}

// sameKey checks that the newcomer's key is the one that the inviter has, and that nothing else is left on either side.
func (in *inviter) sameKey(t *testing.T, dir string) {
	t.Helper()
	key, err := keys.ParsePrivatePEM([]byte(read(t, dir, "ed25519_key.priv")))
	if err != nil {
		t.Fatal(err)
	}
	if stored := read(t, in.dir, "hosts", "bob"); !strings.Contains(stored, key.Public().String()) {
		t.Errorf("bob has another key than the inviter has stored:\n%s", stored)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".join-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, open := range storeIn(in.dir).names() {
		if inv, err := storeIn(in.dir).read(open); err != nil || inv.name == "bob" {
			t.Errorf("the invitation is still there: %s, %v", open, err)
		}
	}
}

// Wherever the connection breaks, the same URL brings the newcomer in; with the same key if that has been stored.
func TestAJoinThatBreaksOffGoesOnWithTheSameURL(t *testing.T) {
	for name, again := range map[string]bool{"in the same join": false, "in another join": true} {
		t.Run(name, func(t *testing.T) {
			for step, done := int32(1), false; !done; step++ {
				for _, after := range []bool{false, true} {
					in := newInviter(t, "alice")
					accepted := new(atomic.Int32)
					in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) { accepted.Add(1) }
					inv, dir := in.issue("bob"), filepath.Join(t.TempDir(), "vpn")
					left := new(atomic.Int32)
					left.Store(step)
					cut := func(o *Options) {
						o.Place.Conf, o.once = dir, again
						o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
							conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
							if err == nil && left.Load() > 0 {
								conn = brittle{conn, left, after}
							}
							return conn, err
						}
					}
					_, err := in.join(inv.URL, cut)
					if err == nil && left.Load() > 0 {
						done = true
					}
					kept, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".join-*"))
					if unanswered := errors.As(err, new(*UnansweredError)); unanswered != (len(kept) == 1) {
						t.Errorf("step %d: error %v, kept %v", step, err, kept)
					}
					if err != nil {
						_, err = in.join(inv.URL, func(o *Options) { o.Place.Conf = dir })
					}
					if err != nil {
						t.Errorf("cut at step %d (after it: %v): %v", step, after, err)
						continue
					}
					in.sameKey(t, dir)
					if n := accepted.Load(); n != 1 {
						t.Errorf("step %d: the node was told %d times of bob", step, n)
					}
				}
			}
		})
	}
}

// mortal returns how a newcomer connects with an inviter whose program can end, and what ends it at that moment: its
// connection ends as well, as the newcomer sees. die is called by the goroutine that serves the newcomer.
func mortal() (dial func(ctx context.Context, network, address string) (net.Conn, error), die func()) {
	last := make(chan net.Conn, 1)
	dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			last <- conn
		}
		return conn, err
	}
	return dial, func() {
		(<-last).Close()
		runtime.Goexit()
	}
}

// The inviter's program ends at a moment that matters, and another one goes on with what is on its disk.
func TestAnInviterThatDiesInTheMiddle(t *testing.T) {
	for name, c := range map[string]struct {
		dies  func(in *inviter, inv Invitation, text string) // what is different on the disk
		later bool                                           // somebody else issues an invitation, a day later
	}{
		"when the key is stored and the invitation spent": {dies: func(*inviter, Invitation, string) {}},
		"when the key is stored and the invitation not yet spent": {dies: func(in *inviter, inv Invitation, text string) {
			os.Remove(storeIn(in.dir).path(spentFile))
			write(in.t, text, inv.File+usedSuffix)
		}},
		"the same, and the invitation is swept away": {later: true, dies: func(in *inviter, inv Invitation, text string) {
			os.Remove(storeIn(in.dir).path(spentFile))
			write(in.t, text, inv.File+usedSuffix)
			ago := time.Now().Add(-2 * leftover)
			_ = os.Chtimes(inv.File+usedSuffix, ago, ago)
		}},
		"when the key is not stored": {dies: func(in *inviter, inv Invitation, text string) {
			os.Remove(filepath.Join(in.dir, "hosts", "bob"))
			os.Remove(storeIn(in.dir).path(spentFile))
			write(in.t, text, inv.File+usedSuffix)
			if err := storeIn(in.dir).recover(); err != nil {
				in.t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInviter(t, "alice")
			in.conf("Name = alice\nIfconfig = 10.20.0.1/16\n")
			in.issue("dave") // keeps the key
			inv := in.issue("bob")
			text := read(t, inv.File)
			var told, lives atomic.Int32
			dial, die := mortal()
			in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) {
				if lives.Load() == 0 {
					die()
				}
				told.Add(1)
			}
			dir := filepath.Join(t.TempDir(), "vpn")
			_, err := in.join(inv.URL, func(o *Options) { o.Place.Conf, o.once, o.Dial = dir, true, dial })
			var unanswered *UnansweredError
			if !errors.As(err, &unanswered) {
				t.Fatalf("error %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("there is a configuration already")
			}
			if info, err := os.Stat(unanswered.Kept); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("kept: %v, %v", info, err)
			}
			c.dies(in, inv, text)
			lives.Store(1)
			if c.later {
				os.Remove(in.issue("carol").File)
			}
			res, err := in.join(inv.URL, func(o *Options) { o.Place.Conf = dir })
			if err != nil {
				t.Fatal(err)
			}
			in.sameKey(t, dir)
			if res.Name != "bob" || len(res.Addresses) != 1 || !strings.Contains(read(t, dir, "tinc.conf"), "ConnectTo = alice\n") {
				t.Errorf("%+v", res)
			}
			if n := told.Load(); n > 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}

// A newcomer comes again while its first conversation is about to end.
func TestAnInvitationThatIsPutBackIsFound(t *testing.T) {
	in := newInviter(t, "alice")
	file := filepath.Base(in.issue("bob").File)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 300 {
				inv, err := storeIn(in.dir).claim(file, time.Now(), time.Hour)
				switch {
				case err == nil:
					err = inv.release()
				case errors.Is(err, Busy):
					err = nil
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	both.Wait()
}

// The same, and the first conversation has been good.
func TestANewcomerThatComesAgainWhileItIsStored(t *testing.T) {
	in := newInviter(t, "alice")
	in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) {}
	key, _ := keys.Generate(rand.Reader)
	for round := range 100 {
		inv := in.issue("bob")
		file := filepath.Base(inv.File)
		first, err := storeIn(in.dir).claim(file, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		bob, err := parseText(first.data)
		if err != nil {
			t.Fatal(err)
		}
		var stored sync.WaitGroup
		stored.Go(func() {
			if err := in.server.store(bob, key.Public()); err != nil {
				t.Error(err)
			}
			in.server.spend(file, "bob", key.Public(), first.made.Add(time.Hour), netip.Addr{})
		})
		for told := false; !told; {
			name, _, err := in.server.claim(file, key.Public(), netip.Addr{})
			told = name == "bob"
			if err != nil && !errors.Is(err, Busy) {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		stored.Wait()
		if err := os.Remove(filepath.Join(in.dir, "hosts", "bob")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAUsedInvitationIsGoodForNobodyElse(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	if _, err := in.join(inv.URL, nil); err != nil {
		t.Fatal(err)
	}
	stored := read(t, in.dir, "hosts", "bob")
	// Somebody who knows the URL and the public key, and so everything but the private key, or has another one.
	dir := filepath.Join(t.TempDir(), "vpn")
	u, _ := ParseURL(inv.URL)
	left := filepath.Join(filepath.Dir(dir), u.preparedPrefix()+"x")
	own, _ := keys.Generate(zeros{})
	write(t, string(keys.MarshalPrivatePEM(own)), left, preparedConf, "ed25519_key.priv")
	write(t, "Name = bob\n", left, preparedText)
	if _, err := in.join(inv.URL, func(o *Options) { o.Place.Conf = dir }); !errors.Is(err, Used) {
		t.Errorf("error %v, want %v", err, Used)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what is good for nothing any more is kept")
	}
	if read(t, in.dir, "hosts", "bob") != stored {
		t.Error("the host file has changed")
	}
}

func TestAUsedInvitationEndsAsAnUnusedOneWould(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	dial, die := mortal()
	in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) { die() }
	dir := filepath.Join(t.TempDir(), "vpn")
	once := func(o *Options) { o.Place.Conf, o.once, o.Dial = dir, true, dial }
	if _, err := in.join(inv.URL, once); err == nil {
		t.Fatal("joined")
	}
	path := storeIn(in.dir).path(spentFile)
	n, ok := parseNote(strings.TrimSpace(read(t, path)))
	if !ok || n.by != "bob" {
		t.Fatalf("note %+v", n)
	}
	n.until = time.Now().Add(-time.Hour)
	write(t, n.String()+"\n", path)
	_, err := in.join(inv.URL, once)
	var unanswered *UnansweredError
	if !errors.Is(err, Expired) || !errors.As(err, &unanswered) {
		t.Fatalf("error %v", err)
	}
	if _, err := loadPrepared(unanswered.Kept); err != nil {
		t.Errorf("what may be the configuration of a member is gone: %v", err)
	}
}

// Two networks below one directory, whose names come from the invitations.
func TestAnUnansweredJoinWithoutANameForTheNetwork(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	root := t.TempDir()
	dial, die := mortal()
	in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) { die() }
	place := confdir.Place{Roots: confdir.Roots{Sysconf: root}}
	if _, err := in.join(inv.URL, func(o *Options) { o.Place, o.once, o.Dial = place, true, dial }); err == nil {
		t.Fatal("joined")
	}
	if nets, err := confdir.Networks(place.Roots); len(nets) > 0 {
		t.Errorf("what is kept counts as a network: %v, %v", nets, err)
	}
	if _, err := in.join(inv.URL, func(o *Options) { o.Place = place }); err != nil {
		t.Fatal(err)
	}
	in.sameKey(t, filepath.Join(root, "tinc", "home"))
}

// The second join is told that the node is in, and cannot move the files to their place.
func TestAnAnsweredJoinThatCannotFinishDoesNotSayItIsUnanswered(t *testing.T) {
	in := newInviter(t, "alice")
	inv := in.issue("bob")
	in.server.Accepted = func(node.Name, keys.PublicKey, netip.Addr) { runtime.Goexit() }
	dir := filepath.Join(t.TempDir(), "vpn")
	obstacle := filepath.Join(dir, "cache") // a directory is to be there
	write(t, "", obstacle)
	short := func(o *Options) { o.Place.Conf, o.once, o.wait = dir, true, 100*time.Millisecond }
	if _, err := in.join(inv.URL, short); !errors.As(err, new(*UnansweredError)) {
		t.Fatalf("error %v", err)
	}
	_, err := in.join(inv.URL, short)
	if err == nil || errors.As(err, new(*UnansweredError)) || !strings.Contains(err.Error(), "this machine is a node of the network now") {
		t.Errorf("error %v", err)
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, ".join-*", preparedConf, "tinc.conf")); len(kept) == 0 {
		t.Error("nothing is kept")
	}
	os.Remove(obstacle)
	if _, err := in.join(inv.URL, short); err != nil {
		t.Fatal(err)
	}
	in.sameKey(t, dir)
	if left, _ := filepath.Glob(filepath.Join(dir, ".join-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// FuzzNote reads a line of the notes about invitations that are gone.
func FuzzNote(f *testing.F) {
	f.Add("abcdefghijklmnopqrstuvwx 1700000000 used bob 1700009999")
	f.Add("abcdefghijklmnopqrstuvwx 1700000000 expired")
	f.Fuzz(func(t *testing.T, row string) {
		n, ok := parseNote(row)
		if !ok {
			return
		}
		if again, ok := parseNote(n.String()); !ok || again != n {
			t.Errorf("%q is %+v, and then %+v", row, n, again)
		}
	})
}

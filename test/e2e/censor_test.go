//go:build linux

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
)

// couple is two nodes; all that bob sends and receives passes a censor. lines are for the tinc.conf of both.
func (w *world) couple(c lab.Censor, lines, host string) (alice, bob *node) {
	w.Helper()
	w.cables = true
	n := w.static(site{name: "alice", extra: lines, host: host}, site{name: "bob", extra: lines, connect: []string{"alice"}})
	w.must(n[1].link.Watch(c))
	return n[0], n[1]
}

// carrier waits until packets from a to b and back have one of some carriers.
func (w *world) carrier(a, b *node, within time.Duration, want ...string) {
	w.Helper()
	w.eventually("packets go by "+strings.Join(want, " or "), within, func() bool {
		a.keepsTalking(b)
		return slices.Contains(want, a.statusOf(b.Name()).Carrier) && slices.Contains(want, b.statusOf(a.Name()).Carrier)
	})
}

// keepsTalking sends a packet, whether or not it is answered.
func (n *node) keepsTalking(to *node) { _, _ = n.Ping(to.vpn(n.family()), 64, 200*time.Millisecond) }

// In networks that are censored in one way or another two nodes reach each other within ten seconds, by what passes.
func TestLinksInCensoredNetworks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		censor lab.Censor
		lines  string   // of tinc.conf
		host   string   // of alice's and bob's host file
		by     []string // carriers
	}{
		"none":                      {func(*lab.Passing) bool { return true }, "", "", []string{"masked"}},
		"UDP dropped":               {lab.NoUDP, "", "", []string{"tcp"}},
		"UDP slowed to 200 kbit/s":  {lab.SlowUDP(200_000), "", "", []string{"masked", "tcp"}},
		"only TCP to port 443":      {lab.OnlyTCP(443), "", "Port = 443\n", []string{"tcp"}},
		"TCP frozen after 16 KB":    {lab.FrozenTCP(16 << 10), "", "", []string{"masked"}},
		"first packets of bytes":    {lab.EvenFirstPacket(), "", "", []string{"tcp", "udp"}},
		"constant bytes":            {lab.ConstantBytes(8, 16), "", "", []string{"masked"}},
		"constant bytes, no masks":  {lab.ConstantBytes(8, 16), "Carriers = udp, tcp\n", "", []string{"tcp"}},
		"masks only, though others": {lab.ConstantBytes(8, 16), "Carriers = masked, tcp\n", "", []string{"masked"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			alice, bob := w.couple(c.censor, c.lines, c.host)
			upAll(alice, bob)
			began := time.Now()
			if _, err := bob.Reach(alice.vpn("ip4"), 10*time.Second); err != nil {
				t.Fatal(err)
			}
			t.Logf("link up after %v", time.Since(began).Round(10*time.Millisecond))
			w.carrier(alice, bob, 10*time.Second, c.by...)
			bob.reaches(alice)
			again := bestOf(2, func(int) time.Duration {
				bob.stopped()
				began := time.Now()
				bob.up()
				_, err := bob.Reach(alice.vpn("ip4"), 10*time.Second)
				w.must(err)
				return time.Since(began)
			}, 2*time.Second)
			if t.Logf("when the place is known after %v", again.Round(10*time.Millisecond)); again > 2*time.Second {
				t.Errorf("where it has been before, the link is up after %v", again)
			}
		})
	}
}

// A passive observer finds the datagrams of two nodes without masks by constant bytes and by sizes that repeat, and has nothing to hold on
// to with masks. Their connections by TCP it finds by the greeting.
func TestAPassiveObserver(t *testing.T) {
	t.Parallel()
	for lines, masked := range map[string]bool{"Carriers = udp, tcp\n": false, "": true} {
		t.Run(map[bool]string{true: "masked", false: "plain"}[masked], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			o := lab.NewObserver()
			alice, bob := w.couple(o.See, lines, "")
			upAll(alice, bob)
			bob.reaches(alice)
			w.carrier(alice, bob, 10*time.Second, map[bool]string{true: "masked", false: "udp"}[masked])
			e, err := alice.Echo(bob.vpn("ip4"), 20*time.Millisecond)
			w.must(err)
			time.Sleep(2 * time.Second)
			e.Stop()
			w.must(bob.link.Watch(nil))
			udp, greeted := 0, false
			for _, f := range o.Flows() {
				greeted = greeted || f.Greets()
				if f.TCP || len(f.Datagrams) < 20 {
					continue
				}
				udp++
				constant := f.Constant(32)
				size, share := f.CommonSize()
				t.Logf("%d datagrams, constant at %v, %.0f %% of the small ones have %d bytes, first random: %v", len(f.Datagrams), constant, 100*share, size, f.Random())
				if found := len(constant) > 0; found == masked {
					t.Errorf("constant bytes were found: %v", found)
				}
				if repeats := share > 0.2; repeats == masked {
					t.Errorf("sizes repeat: %v", repeats)
				}
			}
			if udp != 1 || !greeted {
				t.Errorf("%d flows of UDP, and the greeting of tinc was found: %v", udp, greeted)
			}
		})
	}
}

// A censor begins to drop masked datagrams while packets flow: others take their place within three seconds.
func TestFailoverBetweenCarriers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	alice, bob := w.couple(nil, "", "")
	upAll(alice, bob)
	bob.reaches(alice)
	w.carrier(alice, bob, 10*time.Second, "masked")
	for _, step := range []struct {
		censor lab.Censor
		by     string
	}{
		{func(p *lab.Passing) bool {
			return p.TCP || len(p.Payload) >= 6 && string(p.Payload[:6]) == "\x00\x00\x00\x00\x00\x00"
		}, "udp"},
		{lab.NoUDP, "tcp"},
	} {
		e, err := alice.Echo(bob.vpn("ip4"), flowPace)
		w.must(err)
		time.Sleep(500 * time.Millisecond)
		w.must(bob.link.Watch(step.censor))
		began := time.Now()
		w.eventually("an answer by another carrier", 10*time.Second, func() bool {
			return e.Last().After(began.Add(50*time.Millisecond)) && alice.statusOf("bob").Carrier == step.by && bob.statusOf("alice").Carrier == step.by
		})
		took := time.Since(began)
		t.Logf("by %s after %v; %v", step.by, took.Round(10*time.Millisecond), e.Stop())
		if took > 3*time.Second {
			t.Errorf("packets went by %s after %v", step.by, took)
		}
	}
}

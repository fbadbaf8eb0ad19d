//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// count is how many copies of the frame come in within the given time.
func (c *card) count(frame []byte, within time.Duration) (n int) {
	for end := time.Now().Add(within); time.Now().Before(end); {
		if c.hears(frame, time.Until(end)) {
			n++
		}
	}
	return n
}

// TestBroadcastModes: who gets a broadcast, and that it comes once.
func TestBroadcastModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string][3]int{
		"no":                                    {0, 0, 0},
		"mst":                                   {0, 1, 1},
		"direct":                                {0, 1, 1},
		"direct, gamma is not":                  {0, 1, 0},
		"mst, gamma can only be had indirectly": {0, 1, 1},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			word, indirect, _ := strings.Cut(mode, ", ")
			extra, host := "Broadcast = "+word+"\n", ""
			if indirect != "" {
				host = "IndirectData = yes\n"
			}
			s := w.segments(
				site{name: "alpha", extra: extra, connect: []string{"beta"}},
				site{name: "beta", extra: extra},
				site{name: "gamma", extra: extra, host: host, connect: []string{"beta"}},
			)
			for _, n := range s.nodes {
				for _, other := range s.nodes {
					w.eventually(n.Name()+" sees "+other.Name(), patience, func() bool {
						return strings.Contains(n.control("dump", "reachable", "nodes"), other.Name()+" ")
					})
				}
			}
			var cards []*card
			for i := range s.pcs {
				cards = append(cards, s.card(i))
			}
			// Once the sessions stand nothing is lost, and until then little.
			warm := etherFrame(broadcastMAC, macOf(0), 0x88b5, []byte("warming up"))
			for i := 1; i < 3 && want[1] > 0; i++ {
				if want[i] > 0 {
					cards[i].awaits(warm, func() { cards[0].sends(warm) })
				}
			}
			frame := etherFrame(broadcastMAC, macOf(0), 0x88b5, []byte("counted"))
			cards[0].sends(frame)
			for i, c := range cards {
				if got := c.count(frame, 700*time.Millisecond); got != want[i] {
					t.Errorf("%d copies at %s, want %d", got, s.nodes[i].Name(), want[i])
				}
			}
		})
	}
}

// control asks the daemon by the command "tincan"; "" if it does not answer yet.
func (n *node) control(args ...string) string {
	out, _ := n.try(args...)
	return out
}

// macsOf counts the MAC addresses that others see behind the node called owner.
func (n *node) macsOf(owner string) (count int) {
	for line := range strings.Lines(n.control("dump", "subnets")) {
		if strings.HasSuffix(strings.TrimSpace(line), "owner "+owner) && strings.Count(line, ":") == 5 {
			count++
		}
	}
	return count
}

// cpu is the processor time that the daemon has used.
func (n *node) cpu() time.Duration {
	n.w.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.daemon.PID()))
	n.w.must(err)
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestBroadcastStorm: ten thousand broadcasts per second neither fill the memory nor bring
// the mesh down, and leave nothing behind.
func TestBroadcastStorm(t *testing.T) {
	w := newWorld(t, "ip4")
	s := w.segments(
		site{name: "alpha"},
		site{name: "beta", connect: []string{"alpha"}},
		site{name: "gamma", connect: []string{"beta"}},
	)
	s.allReach()
	before := make([]int, len(s.nodes))
	for i, n := range s.nodes {
		before[i] = n.memory()
	}
	arp := func(i int) []byte { return etherFrame(broadcastMAC, macOf(0), 0x0806, make([]byte, 46)) }
	sent := s.card(0).floods(10_000, 2*time.Second, arp)
	if sent < 5_000 {
		t.Errorf("only %d broadcasts were sent", sent)
	}
	_, err := s.pcs[0].Reach(s.pcs[2].Addr("ip4"), patience)
	w.must(err)
	for i, n := range s.nodes {
		after := n.memory()
		t.Logf("%s: %d KiB before, %d KiB after %d broadcasts", n.Name(), before[i]>>10, after>>10, sent)
		if after > before[i]+32<<20 {
			t.Errorf("%s has grown from %d to %d KiB", n.Name(), before[i]>>10, after>>10)
		}
		used := n.cpu()
		time.Sleep(500 * time.Millisecond)
		if used = n.cpu() - used; used > 250*time.Millisecond {
			t.Errorf("%s is still busy: %v in half a second", n.Name(), used)
		}
	}
}

// TestMACFlood: a host that invents source addresses makes the mesh remember a bounded
// number of them, for MACExpire.
func TestMACFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	s := w.segments(
		site{name: "alpha", extra: "MACExpire = 4\n"},
		site{name: "beta", connect: []string{"alpha"}},
	)
	s.allReach()
	invented := func(i int) []byte { return etherFrame(broadcastMAC, macOf(i), 0x88b5, make([]byte, 46)) }
	s.card(0).floods(10_000, 2*time.Second, invented)
	_, err := s.pcs[0].Reach(s.pcs[1].Addr("ip4"), patience)
	w.must(err)
	seen := s.nodes[1].macsOf("alpha")
	t.Logf("beta knows %d addresses behind alpha", seen)
	if seen < 100 || seen > 4096 {
		t.Errorf("beta knows %d addresses behind alpha", seen)
	}
	w.eventually("they are forgotten", patience, func() bool { return s.nodes[1].macsOf("alpha") <= 4 })
	s.allReach()
}

// TestMovedHost: a host that moves to another node is found there at once.
func TestMovedHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	s := w.segments(
		site{name: "alpha"},
		site{name: "beta", connect: []string{"alpha"}},
		site{name: "gamma", connect: []string{"alpha"}},
	)
	s.allReach()
	cards := []*card{s.card(0), s.card(1), s.card(2)}
	host, seeker := macOf(7), macOf(8)
	hello := etherFrame(broadcastMAC, host, 0x88b5, []byte("hello"))
	for i, at := range []int{0, 1, 0} {
		cards[2].awaits(hello, func() { cards[at].sends(hello) })
		letter := etherFrame(host, seeker, 0x88b5, fmt.Append(nil, "letter ", i))
		cards[at].awaits(letter, func() {
			cards[at].sends(hello) // a host is not silent
			cards[2].sends(letter)
		})
		w.eventually("only "+s.nodes[at].Name()+" has it", 5*time.Second, func() bool {
			return strings.Count(s.nodes[2].control("dump", "subnets"), "02:50:00:00:00:07") == 1
		})
		letter = etherFrame(host, seeker, 0x88b5, fmt.Append(nil, "second letter ", i))
		cards[2].sends(letter)
		if got := cards[1-at].count(letter, 300*time.Millisecond); got != 0 {
			t.Errorf("%d copies of a letter went to where the host is not", got)
		}
		if got := cards[at].count(letter, 300*time.Millisecond); got != 1 {
			t.Errorf("%d copies of a letter came to the host", got)
		}
	}
}

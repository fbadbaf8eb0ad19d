//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/lab"
)

// mixed makes twelve nodes of all kinds, connected as a tree with a few more
// connections, so that many a pair has nodes of other kinds between them.
func mixed(w *world, extra string) []*node {
	w.Helper()
	kinds := []kind{tinc10, tincan, tinc10, tincan, tinc11, tincan, tinc10, tinc10, tincan, tinc11, tincan, tinc10}
	var sites []site
	for i, k := range kinds {
		if k == tinc11 && tincDir == "" {
			k = tincan
		}
		s := site{name: fmt.Sprintf("n%d", i+1), kind: k, extra: extra}
		if i > 0 {
			s.connect = append(s.connect, sites[(i-1)/2].name)
		}
		if i > 3 && i%3 == 0 {
			s.connect = append(s.connect, sites[i-3].name)
		}
		sites = append(sites, s)
	}
	return w.legacy(sites...)
}

func TestAMixedMeshOfTwelve(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := mixed(w, "")
	for _, one := range n {
		one.start()
	}
	for _, one := range n {
		one.vpn("ip4")
	}
	began := time.Now()
	w.allReach("ip4", n...)
	t.Logf("every pair has pinged within %v", time.Since(began))
	w.allReach("ip6", n...)

	// All know the same nodes and, as far as they can be asked, the same edges. A
	// connection that others make unnecessary may come a little later.
	var edges []string
	w.eventually("all know the same edges", patience, func() bool {
		edges = nil
		for _, one := range n {
			if one.kind != tincan {
				continue
			}
			list := pairs(one.dump("edges"))
			if edges == nil {
				edges = list
			}
			if !slices.Equal(list, edges) {
				return false
			}
		}
		return true
	})
	for _, one := range n {
		seen := one.seesAll()
		for _, other := range n {
			if !seen[other.Name()].reachable {
				t.Errorf("%s (%s) does not know that %s (%s) is reachable", one.Name(), one.kind, other.Name(), other.kind)
			}
		}
	}
	if len(edges) < 2*11 {
		t.Errorf("only the edges %v", edges)
	}
	n[11].sends(1<<20, n[8], n[8].vpn("ip4"))
	n[8].sends(1<<20, n[11], n[11].vpn("ip4"))
}

// pairs returns from and to of each line of a dump of edges, sorted.
func pairs(dump string) []string {
	var list []string
	for line := range strings.Lines(dump) {
		if words := strings.Fields(line); len(words) > 2 {
			list = append(list, words[0]+">"+words[2])
		}
	}
	slices.Sort(list)
	return list
}

// restless is how long nodes are restarted at random.
func restless(t *testing.T) time.Duration {
	text := os.Getenv("E2E_RESTLESS")
	if text == "" {
		return 8 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("E2E_RESTLESS: %v", err)
	}
	return d
}

func TestNodesOfOldTincRestartAtRandom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "ours1"},
		site{name: "ours2", connect: []string{"ours1"}},
		site{name: "witness", kind: tinc10, connect: []string{"ours1", "ours2"}},
		site{name: "old1", kind: tinc10, connect: []string{"ours1", "ours2"}},
		site{name: "old2", kind: tinc10, connect: []string{"ours2", "old1"}},
		site{name: "old3", kind: tinc10, connect: []string{"ours1", "witness"}})
	ours1, ours2, witness, old := n[0], n[1], n[2], n[3:]
	upAll(n...)
	w.allReach("ip4", n...)
	w.must(witness.daemon.Signal(syscall.SIGINT)) // tinc 1.0 tells every message from now on
	time.Sleep(time.Second)
	since := len(witness.log())

	restarts := 0
	for end := time.Now().Add(restless(t)); time.Now().Before(end); restarts++ {
		one := old[rand.IntN(len(old))]
		if rand.IntN(2) == 0 {
			one.killed()
		} else {
			one.stopped()
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		one.up()
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
	}
	w.allReach("ip4", n...)
	during := requests(witness.log()[since:])
	total := sum(during)
	t.Logf("%d restarts; the witness got and sent %d messages: %v", restarts, total, during)
	// A node that comes or goes is two subnets and a few edges in both directions,
	// each told to every neighbour and told back by some.
	if limit := 200 + 100*restarts; total > limit {
		t.Errorf("%d messages for %d restarts", total, restarts)
	}

	// And it is quiet again afterwards: PING and PONG and nothing that is flooded.
	time.Sleep(5 * time.Second)
	since = len(witness.log())
	time.Sleep(3 * time.Second)
	after := requests(witness.log()[since:])
	t.Log("afterwards:", after)
	for what, count := range after {
		if count > 0 && (strings.HasPrefix(what, "ADD") || strings.HasPrefix(what, "DEL")) {
			t.Errorf("%d × %s long after the last restart", count, what)
		}
	}

	ours := []*node{ours1, ours2}
	var used [2]int
	for i, one := range ours {
		used[i] = one.goroutinesNow() // nothing has happened for a while
		one.up()
		w.allReach("ip4", n...)
	}
	time.Sleep(forgotten)
	for i, one := range ours {
		if fresh := one.goroutinesNow(); used[i] > fresh+2 {
			t.Errorf("%s has %d goroutines, %d in a fresh process", one.Name(), used[i], fresh)
		}
		one.up() // the other one's connections count, too
		w.allReach("ip4", n...)
	}
}

// requests counts the messages, by name, that a loud tinc 1.0 says it has got or sent.
func requests(log string) map[string]int {
	count := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(?:Got|Sending) ([A-Z_]+) (?:from|to)`).FindAllStringSubmatch(log, -1) {
		count[m[1]]++
	}
	return count
}

func sum(count map[string]int) (total int) {
	for _, n := range count {
		total += n
	}
	return total
}

func TestKeysExpireBetweenOldTincAndTincan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	const expire = "KeyExpire = 3\n"
	n := w.legacy(
		site{name: "old", kind: tinc10, extra: expire},
		site{name: "ours", connect: []string{"old"}, extra: expire},
		site{name: "far", kind: tinc10, connect: []string{"ours"}, extra: expire})
	upAll(n...)
	w.allReach("ip4", n...)
	old, ours, far := n[0], n[1], n[2]
	talksByUDP(w, ours, old)
	var streams []*lab.Echoes
	for _, p := range [][2]*node{{ours, old}, {old, ours}, {ours, far}, {far, old}} {
		e, err := p[0].Echo(p[1].vpn("ip4"), 10*time.Millisecond)
		w.must(err)
		streams = append(streams, e)
	}
	time.Sleep(10 * time.Second)
	for i, e := range streams {
		count := e.Stop()
		t.Log(count)
		// What is under way when a key expires is lost, as between nodes of tinc 1.0.
		if count.Lost() > count.Sent/50 || count.LongestGap > 3*time.Second {
			t.Errorf("stream %d while keys expire: %s", i, count)
		}
	}
}

func TestTincAndTincanUpgradeFromRSA(t *testing.T) {
	t.Parallel()
	needTinc(t)
	for name, sites := range map[string][]site{
		"tincan connects": {{name: "real", kind: tinc11, shy: true}, {name: "ours", shy: true, connect: []string{"real"}}},
		"tinc connects":   {{name: "ours", shy: true}, {name: "real", kind: tinc11, shy: true, connect: []string{"ours"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.legacy(sites...)
			upAll(n...)
			w.allReach("ip4", n...)
			for i, one := range n {
				other := n[1-i]
				w.eventually(one.Name()+" has the Ed25519 key of "+other.Name(), patience, func() bool {
					return strings.Contains(one.file("hosts/"+other.Name()), "Ed25519PublicKey")
				})
				w.eventually(one.Name()+" has switched to it", patience, func() bool {
					return one.sees(other.Name()).status&sptpsBit != 0
				})
			}
			w.allReach("ip4", n...)
			n[0].talksDirectly(n[1])
			n[1].talksDirectly(n[0])

			// The new keys are there to stay.
			for i := range n {
				n[i].killed()
				n[i].up()
				w.allReach("ip4", n...)
				if n[1-i].sees(n[i].Name()).status&sptpsBit == 0 {
					t.Errorf("%s is back to RSA", n[1-i].Name())
				}
			}
		})
	}
}

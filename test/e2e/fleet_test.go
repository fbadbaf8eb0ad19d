//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tincan/internal/fixture"
	"tincan/internal/lab"
)

// etcd starts an etcd on the node, and returns the process and the URL of a store in it.
func (n *node) etcd(dir string) (*lab.Process, string) {
	n.w.Helper()
	etcd := fixture.EtcdCommand(n.w, filepath.Join(dir, "etcd"), fmt.Sprintf("http://%v:2379", n.Addr("ip4")), "http://127.0.0.1:2380")
	cmd := n.Command(etcd.Path, etcd.Args[1:]...)
	cmd.Env = etcd.Env
	p, err := n.StartCommand(cmd)
	n.w.must(err)
	n.w.must(p.WaitLog("serving (insecure )?client requests", 2*patience))
	return p, fmt.Sprintf("etcd://%v/tincan/home", n.Addr("ip4"))
}

// Three boot nodes of a signed network share tokens in an etcd, which dies and comes back.
func TestThreeBootNodesShareTheirTokens(t *testing.T) {
	t.Parallel()
	fixture.EtcdProgram(t)
	w := newWorld(t, "ip4")
	keeper, dir := w.node("store"), t.TempDir()
	store, url := keeper.etcd(dir)
	boots := []*node{w.node("boot1"), w.node("boot2"), w.node("boot3")}
	var places []string
	for _, b := range boots {
		places = append(places, b.Addr("ip4").String()+":8655")
	}
	boots[0].tincan("gen", "--standalone", "--name", "boot1", "-a", boots[0].Addr("ip4").String(), "--prefix", "10.77.0.0/16")
	boots[0].up()
	token := boots[0].tincan("token", "new", "--store", url, "--uses", "5", "--label", "fleet")
	services := make([]*lab.Process, len(boots))
	for i, b := range boots {
		if i > 0 {
			b.tincan("gen", "--name", b.Name(), "-a", b.Addr("ip4").String(), "--token", token, places[0])
			b.up()
			b.reaches(boots[0])
		}
		w.eventually("a roster at "+b.Name(), patience, func() bool { _, err := b.try("owners", "show"); return err == nil })
		var err error
		cmd := b.Command(os.Getenv(binaryVar), "-n", "home", "bootnode")
		cmd.Env = append(os.Environ(), "TINCAN_STORE="+url)
		services[i], err = b.StartCommand(cmd)
		w.must(err)
		w.must(services[i].WaitLog("admitting new nodes at", patience))
		if strings.Contains(services[i].Log(), "Generated token") {
			t.Error("a token was made, though the store has one")
		}
	}

	// Three uses are left for five, who ask all three at once.
	var mu sync.Mutex
	var wg sync.WaitGroup
	var in []*node
	for i := range 5 {
		n := w.node(fmt.Sprintf("new%d", i))
		wg.Go(func() {
			_, err := n.try("gen", "--name", n.Name(), "--token", token, "--timeout", "1m", places[i%3], places[(i+1)%3], places[(i+2)%3])
			mu.Lock()
			defer mu.Unlock()
			var run *lab.RunError
			switch {
			case err == nil:
				in = append(in, n)
			case !errors.As(err, &run) || !strings.Contains(run.Stderr, "used up"):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(in) != 3 {
		t.Fatalf("%d were admitted", len(in))
	}
	addresses := map[netip.Addr]bool{}
	for _, n := range in {
		n.up()
		addresses[n.vpn("ip4")] = true
	}
	all := append(boots[:3:3], in...)
	w.allReach("ip4", all...)
	if len(addresses) != len(in) {
		t.Errorf("addresses %v", addresses)
	}

	// Without the store they are nodes as ever, and refuse newcomers for now.
	more := boots[0].tincan("token", "new", "--store", url, "--uses", "1")
	store.Kill()
	late := w.node("late")
	refuses(late, "gen", "--name", "late", "--token", more, "--timeout", "1s", places[1]).says("cannot admit anybody at the moment").says("hint: ")
	w.must(services[1].WaitLog("refused: .*etcd does not answer", patience))
	w.allReach("ip4", boots...)
	refuses(boots[0], "token", "list", "--store", url).says("does not answer").says("hint: ")
	// It is asked until the store is back.
	wg.Go(func() { late.tincan("gen", "--name", "late", "--token", more, "--timeout", "1m", places[2], places[1]) })
	keeper.etcd(dir)
	wg.Wait()
	late.up()
	late.reaches(boots[2])

	// Revoked here, refused everywhere.
	boots[2].tincan("token", "revoke", "--store", url, "fleet")
	refuses(w.node("mallory"), "gen", "--name", "mallory", "--token", token, "--timeout", "1s", places[1]).says("revoked")
}

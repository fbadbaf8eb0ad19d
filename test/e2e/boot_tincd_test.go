//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// generates makes the node with "tincan gen", for tincd 1.0 or for ourselves, with
// an RSA key in both cases.
func (n *node) generates(tincd bool, args ...string) {
	n.w.Helper()
	all := []string{"gen", "--name", n.Name(), "--bits", "2048", "--no-bin-copy", "--bin", os.Getenv(binaryVar)}
	if tincd {
		all = append(all, "--engine", "tincd")
	}
	n.tincan(append(all, args...)...)
}

// runs starts the node's daemon.
func (n *node) runs(tincd bool) {
	n.w.Helper()
	if !tincd {
		n.up()
		return
	}
	_, err := n.Start("tincd", "-c", confBase, "-D", "-d3", "--pidfile="+confBase+"/pid.tincd")
	n.w.must(err)
}

// What tinc-boot was made for: newcomers that run an installed tincd 1.0, alone and
// mixed with our own engine.
func TestNewcomersThatRunTincd10(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("tincd", "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "version 1.0") {
		t.Fatal("there is no tincd 1.0 here; install the package tinc")
	}
	for name, engines := range map[string][]bool{
		"a boot node and five newcomers with tincd": {true, true, true, true, true, true},
		"half of them with tincd":                   {false, true, false, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "ip4")
			boot := w.node("boot")
			boot.generates(engines[0], "--standalone", "-a", boot.Addr("ip4").String(), "--prefix", "10.77.0.0/16")
			boot.runs(engines[0])
			service, err := boot.Start(os.Getenv(binaryVar), "-n", "home", "bootnode", "--token", "mazgouvqu7avyv25o2g7w33yjr7olvsf")
			w.must(err)
			w.must(service.WaitLog("admitting new nodes at", patience))
			for i, tincd := range engines[1:] {
				n := w.node(fmt.Sprintf("n%d", i))
				n.generates(tincd, "--token", "mazgouvqu7avyv25o2g7w33yjr7olvsf", boot.Addr("ip4").String())
				n.runs(tincd)
			}
			w.allReach("ip4", w.nodes...)
			w.eventually("everybody has the host files of all", time.Minute, func() bool {
				for _, a := range w.nodes {
					for _, b := range w.nodes {
						if _, err := a.ReadFile(confBase + "/hosts/" + b.Name()); err != nil {
							return false
						}
					}
				}
				return true
			})
		})
	}
}

// The unit that "bootnode --service" writes keeps the token to itself.
func TestTheServiceOfABootNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	boot := w.node("boot")
	boot.tincan("gen", "--standalone", "--name", "boot", "-a", boot.Addr("ip4").String())
	boot.tincan("bootnode", "--service", "--token", "mazgouvqu7avyv25o2g7w33yjr7olvsf")
	unit, err := boot.Run("cat", "/etc/systemd/system/tinc-boot-home.service")
	w.must(err)
	secret, err := boot.Run("cat", confBase+"/boot/service-token")
	w.must(err)
	if strings.Contains(unit, "mazgouv") || !strings.Contains(unit, `"--token-file" "`+confBase+`/boot/service-token"`) {
		t.Errorf("the unit is\n%s", unit)
	}
	if strings.TrimSpace(secret) != "mazgouvqu7avyv25o2g7w33yjr7olvsf" {
		t.Errorf("the token is %q", secret)
	}
	if out, err := boot.Run("find", confBase+"/boot", "-perm", "/077"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("others may read %s (%v)", out, err)
	}
}

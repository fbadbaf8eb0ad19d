//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
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

// A node as tinc-boot's run (the second generation) makes it: tincd 1.0 on a directory with tinc.conf, host files with
// addresses and RSA keys, and nothing else. That run would read tincd's log and set up the interface; the test does.
func TestRunBesideTincdOfTheOriginalRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	ours, theirs := w.node("ours"), w.node("theirs")
	const token = "mazgouvqu7avyv25o2g7w33yjr7olvsf"
	var err error
	ours.daemon, err = ours.Start(os.Getenv(binaryVar), "tinc-boot", "run", "--dir", confBase+"/vpn", "-n", "ours", "-a", ours.Addr("ip4").String(), "--token", token)
	w.must(err)
	ours.isUp()
	w.must(ours.daemon.WaitLog("Ready", patience))

	// It asks by the protocol of run, and gets the host files of the others.
	const config = confBase + "/vpn/config"
	w.eventually("the boot service answers", patience, func() bool {
		_, err = theirs.Run(os.Getenv(binaryVar), "-c", config, "gen", "--engine", "tincd", "--protocol", "gen2", "--name", "theirs", "--bits", "2048",
			"--no-bin-copy", "--bin", os.Getenv(binaryVar), "-a", theirs.Addr("ip4").String(), "--token", token, ours.Addr("ip4").String())
		return err == nil
	})
	own, err := theirs.ReadFile(config + "/hosts/theirs")
	w.must(err)
	address := regexp.MustCompile(`(?m)^Subnet = ([0-9.]+)`).FindSubmatch(own)
	port := regexp.MustCompile(`(?m)^Port = (\d+)`).FindSubmatch(own)
	pem := own[bytes.Index(own, []byte("-----BEGIN RSA PUBLIC KEY")):]
	if address == nil || port == nil {
		t.Fatalf("the own host file is\n%s", own)
	}
	// As the original writes them: nothing but this, and a ConnectTo for every host file, the own one included.
	w.must(theirs.WriteFile(config+"/hosts/theirs", fmt.Appendf(nil, "Subnet = %s/32\nAddress = %v %s\nPort = %[3]s\n\n%s", address[1], theirs.Addr("ip4"), port[1], pem)))
	w.must(theirs.WriteFile(config+"/tinc.conf", fmt.Appendf(nil, "Name = theirs\nPort = %s\nLocalDiscovery = yes\nInterface = tunHEIRS\nConnectTo = ours\nConnectTo = theirs\n", port[1])))
	_, err = theirs.Run("sh", "-c", "cd "+config+" && rm -f tinc-up tinc-down subnet-up subnet-down ed25519_key.priv && mkdir -p ../run")
	w.must(err)
	tincd, err := theirs.Start("tincd", "-D", "-d", "-d", "-d", "-d", "--pidfile", confBase+"/vpn/run/pid.run", "-c", config)
	w.must(err)
	w.must(tincd.WaitLog("Ready", patience))
	_, err = theirs.Run("sh", "-c", fmt.Sprintf("ip addr add %s/32 dev tunHEIRS && ip link set tunHEIRS up", address[1]))
	w.must(err)
	w.must(tincd.WaitLog(`ADD_SUBNET .*`+regexp.QuoteMeta(ours.vpn("ip4").String()), patience))
	_, err = theirs.Run("ip", "route", "add", ours.vpn("ip4").String()+"/32", "dev", "tunHEIRS")
	w.must(err)
	w.allReach("ip4", ours, theirs)
	if text := ours.tincanIn(config, "status", "theirs"); !strings.Contains(text, "17.0 (tinc 1.0)") {
		t.Errorf("its status is\n%s", text)
	}
}

// tincanIn runs a command for the network in a directory.
func (n *node) tincanIn(dir string, args ...string) string {
	n.w.Helper()
	out, err := n.Run(os.Getenv(binaryVar), append([]string{"-c", dir}, args...)...)
	n.w.must(err)
	return out
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

//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// upnpRouter finds a real router's daemon, miniupnpd. MINIUPNPD names it, or it is
// installed.
func upnpRouter(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MINIUPNPD"); path != "" {
		return path
	}
	for _, path := range []string{"miniupnpd", "/usr/sbin/miniupnpd"} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	t.Skip("SKIP: there is no miniupnpd; scripts/peers fetches one, and MINIUPNPD names it")
	return ""
}

// withRouterDaemon adds a node behind a router that hides it and on which miniupnpd
// runs, with more lines of its configuration.
func (w *world) withRouterDaemon(name, conf string) (n *node, public string) {
	w.Helper()
	path := upnpRouter(w.T)
	n = w.gated(name, w.internet.Attach)
	gate := n.gate
	// What a home router does, with room for miniupnpd's own rules.
	cmd := gate.Command("nft", "-f", "-")
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin = strings.NewReader(`
	table inet filter {
		chain miniupnpd {}
		chain prerouting_miniupnpd {}
		chain postrouting_miniupnpd {}
		chain forward { type filter hook forward priority 0; jump miniupnpd; iifname "eth0" ct state new drop; }
		chain unasked { type filter hook input priority 0; iifname "eth0" meta l4proto { tcp, udp } ct state new drop; }
		chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
		chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; oifname "eth0" masquerade; }
	}`)
	if nft, err := exec.LookPath("/usr/sbin/nft"); err == nil {
		cmd.Path, cmd.Err = nft, nil
	}
	_, err := gate.RunCommand(cmd)
	w.must(err)
	// It would open nothing if it knew that its address is not a public one.
	public = gate.Addr("ip4").String()
	w.must(gate.WriteFile("/etc/tinc/miniupnpd.conf", []byte(`
ext_ifname=eth0
ext_ip=5.5.5.5
listening_ip=`+name+`
enable_upnp=yes
secure_mode=yes
system_uptime=yes
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
`+conf)))
	_, err = gate.Start(path, "-d", "-f", "/etc/tinc/miniupnpd.conf", "-P", filepath.Join(w.TempDir(), "pid"))
	w.must(err)
	return n, public
}

// TestANodeBehindARouterLetsNewcomersIn needs a port that the router opens: the
// newcomer has nobody else to ask.
func TestANodeBehindARouterLetsNewcomersIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ conf, by string }{
		"PCP":  {"enable_natpmp=yes\nallow 1-65535 0.0.0.0/0 1-65535\n", "PCP"},
		"UPnP": {"enable_natpmp=no\nallow 1-65535 0.0.0.0/0 1-65535\n", "UPnP"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			home, public := w.withRouterDaemon("home", c.conf)
			away := w.node("away")
			home.found()
			home.appendTo("tinc.conf", "UPnP = yes\nUPnPDiscoverWait = 2\nUPnPRefreshPeriod = 10\n")
			home.appendTo("hosts/home", "Address = "+public+"\n")
			home.up()
			w.must(home.daemon.WaitLog(`port mapping: TCP .*\(`+c.by, patience))
			away.joins(home.invite("away"))
			w.allReach("ip4", home, away)
			home.talksDirectly(away)

			home.stopped()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if conn, err := away.Dial(ctx, "tcp", public+":655"); err == nil {
				conn.Close()
				t.Error("the port was not given back")
			}
		})
	}
}

// TestTheRouterGivesAnotherPort: many routers open no port below 1024. The others must
// hear of the one that it has opened, also over the connection that is made first. (This
// router tries one port after the other and tells of each. That must not take long.)
func TestTheRouterGivesAnotherPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	home, public := w.withRouterDaemon("home", "enable_natpmp=yes\nallow 660-65535 0.0.0.0/0 1-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n")
	hub, away := w.node("hub"), w.node("away")
	hub.found()
	hub.up()
	home.tincan("join", hub.invite("home"))
	home.appendTo("tinc.conf", "UPnP = yes\nAutoConnect = no\n")
	home.up()
	w.must(home.daemon.WaitLog(`port mapping: TCP `, patience))
	home.tincan("reload")
	w.must(home.daemon.WaitLog("configuration reloaded", patience))
	away.joins(hub.invite("away"))
	w.allReach("ip4", hub, home, away)
	port := regexp.MustCompile(`TCP \S+:(\d+) leads to`).FindStringSubmatch(home.daemon.Log())[1]
	if port == "655" {
		t.Fatal("the router has opened port 655, which it should not")
	}
	want := fmt.Sprintf("hub to home at %s port %s ", public, port)
	w.eventually("the others know the router's port: "+want, patience, func() bool {
		return strings.Contains(away.tincan("dump", "edges"), want)
	})
}

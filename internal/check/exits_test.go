package check

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tincan/internal/keys"
)

func TestMistakesWithExitNodesAndDoors(t *testing.T) {
	base := files{
		"tinc.conf":        "Name = alpha\nIfconfig = 10.7.0.1/24\n",
		"ed25519_key.priv": string(keys.MarshalPrivatePEM(ed)),
		"hosts/alpha":      "Subnet = 10.7.0.1\nEd25519PublicKey = " + ed.Public().String() + "\n",
		"hosts/beta":       "Subnet = 10.7.0.2\nSubnet = 192.168.50.0/24\nEd25519PublicKey = " + keys.FromSeed([32]byte{2}).Public().String() + "\n",
		"hosts/ten":        publicPEM(2048),
	}
	local := machine{networks: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}}
	for name, c := range map[string]struct {
		conf    string // after the first two lines of tinc.conf
		list    string // list.txt
		machine machine
		level   Level
		want    string // "where: text", its beginning
		advice  string // its beginning
	}{
		"a node that is nowhere":     {"Via = default gamma\n", "", local, Breaks, "tinc.conf:3: Via names gamma, of which there is no host file; everything", "correct the name"},
		"a slip":                     {"Via = default beeta\n", "", local, Breaks, "tinc.conf:3: Via names beeta, of which", "did you mean beta?"},
		"one of several":             {"Via = default beta,gamma\n", "", local, Weak, "tinc.conf:3: Via names gamma, of which there is no host file", "correct"},
		"a node of tinc 1.0":         {"Via = default ten\n", "", local, Breaks, "tinc.conf:3: ten has no Ed25519 key here", "name a node that runs tincan"},
		"only itself":                {"Via = default alpha\n", "", local, Breaks, "tinc.conf:3: Via = default names only this node itself", "name another"},
		"no such file":               {"Via = @missing.txt beta\n", "", local, Breaks, "tinc.conf:3: the file missing.txt of prefixes cannot be read: no such file", "its path begins"},
		"bad lines":                  {"Via = @list.txt beta\n", "203.0.113.0/24\nx\n10.0.0.1/8\n", local, Breaks, "list.txt:3: 10.0.0.1/8 has host bits set; did you mean 10.0.0.0/8?", "the node would not start"},
		"many bad lines":             {"Via = @list.txt beta\n", strings.Repeat("x\n", 30), local, Breaks, "list.txt: 20 more lines are no prefixes", "one prefix"},
		"an empty file":              {"Via = @list.txt beta\n", "# nothing\n", local, Weak, "list.txt: it has no prefixes", "one prefix"},
		"the LAN":                    {"Via = 192.168.1.64/26 beta\n", "", local, Note, "tinc.conf:3: 192.168.1.64/26 has no effect: it is in 192.168.1.0/24", "take it out"},
		"an address of a node":       {"Via = 192.168.50.7 beta\n", "", local, Weak, "tinc.conf:3: 192.168.50.7/32 takes packets away from beta, which has 192.168.50.0/24", "take it out"},
		"the VPN":                    {"Via = 10.0.0.0/8 beta\n", "", local, Note, "tinc.conf:3: 10.0.0.0/8 overlaps with the VPN's own 10.7.0.0/24", "take it out"},
		"many of them":               {"Via = @list.txt beta\n", "192.168.1.1\n192.168.1.2\n192.168.1.3\n192.168.1.4\n", local, Note, "tinc.conf:3: 1 more prefixes of this line", ""},
		"twice":                      {"Via = default beta\nVia = default beta\n", "", local, Note, "tinc.conf:4: Via = default beta has no effect: an earlier line", "take one"},
		"twice, partly":              {"Via = 203.0.113.0/24 beta\nVia = @list.txt beta\n", "203.0.113.0/24\n198.51.100.0/24\n", local, Note, "tinc.conf:4: 1 of its prefixes", ""},
		"switch mode":                {"Via = default beta\nMode = switch\n", "", local, Breaks, "tinc.conf:3: lines Via need Mode = router", "take them out"},
		"DeviceStandby":              {"Via = default beta\nDeviceStandby = yes\n", "", local, Breaks, "tinc.conf:3: lines Via need an interface that is always up", "write DeviceStandby = no"},
		"another system":             {"Via = default beta\n", "", machine{via: errors.New("not here")}, Breaks, "tinc.conf:3: packets cannot leave by exit nodes: not here", "take the lines"},
		"a kill switch alone":        {"KillSwitch = yes\n", "", local, Weak, "tinc.conf:3: KillSwitch = yes has no effect: there is no line Via", "write Via"},
		"no nft":                     {"Exit = yes\n", "", machine{gateway: errors.New("no nft")}, Breaks, "tinc.conf:3: this machine cannot be an exit node: no nft", "write Exit = no"},
		"an exit node in a sandbox":  {"Exit = yes\nSandbox = high\n", "", local, Breaks, "tinc.conf:3: Sandbox = high runs no programs", "write Sandbox"},
		"an exit node that switches": {"Exit = yes\nMode = switch\n", "", local, Breaks, "tinc.conf:3: an exit node needs Mode = router", "write Exit = no"},
		"a DNS server here":          {"Exit = yes\nExitDNS = 127.0.0.1\n", "", local, Weak, "tinc.conf:4: ExitDNS = 127.0.0.1 is no address of another machine", "write the address"},
		"what no exit node does":     {"ExitRate = 1000\n", "", local, Note, "tinc.conf:3: ExitRate has no effect: this node is no exit node", "write Exit = yes"},
		"a door of an open network":  {"Door = yes\n", "", local, Breaks, "tinc.conf:3: Door = yes has no effect: only signed networks have devices", "make it a signed network"},
		"a door at the same port":    {"Door = yes\nDoorPort = 655\n", "", local, Breaks, "tinc.conf:3: DoorPort = 655 is the Port of the network itself", "choose another"},
		"a door with Ethernet":       {"Door = yes\nDeviceType = tap\n", "", local, Breaks, "tinc.conf:3: a door for devices needs Mode = router", "write Door = no"},
		"a port without a door":      {"DoorPort = 51821\n", "", local, Note, "tinc.conf:3: DoorPort has no effect", "write Door = yes"},
	} {
		t.Run(name, func(t *testing.T) {
			l := base.with(files{"tinc.conf": base["tinc.conf"] + c.conf, "list.txt": c.list}).directory(t)
			r, err := directory(l, func(string) machine { return c.machine })
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
				return f.Level == c.level && strings.HasPrefix(f.Where+": "+f.Text, c.want) && strings.HasPrefix(f.Advice, c.advice)
			}) {
				t.Errorf("no %q in %+v", c.want, r.Findings)
			}
		})
	}
}

func TestGoodLinesAboutExitNodesAreNoMistakes(t *testing.T) {
	for name, conf := range map[string]string{
		"a client":     "Via = default beta\nVia = 203.0.113.0/24 beta\nVia = @list.txt beta\nKillSwitch = yes\n",
		"an exit node": "Exit = private\nExitDNS = 9.9.9.9\nExitRate = 1000000\n",
	} {
		l := files{
			"tinc.conf": "Name = alpha\nIfconfig = 10.7.0.1/24\n" + conf, "ed25519_key.priv": string(keys.MarshalPrivatePEM(ed)),
			"hosts/alpha": "Subnet = 10.7.0.1\nEd25519PublicKey = " + ed.Public().String() + "\n",
			"hosts/beta":  "Subnet = 10.7.0.2\nEd25519PublicKey = " + keys.FromSeed([32]byte{2}).Public().String() + "\n",
			"list.txt":    "198.51.100.0/24\n2001:db8::/32 # all\n",
		}.directory(t)
		r, err := directory(l, func(string) machine {
			return machine{networks: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Part == Settings && (f.Level == Breaks || f.Level == Weak || strings.Contains(f.Text, "Via") && f.Level != OK) {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if r.Unusable {
			t.Errorf("%s: it would not start", name)
		}
	}
}

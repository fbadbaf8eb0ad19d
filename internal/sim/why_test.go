package sim

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
)

// codes are the reasons that a gives for the path to name.
func codes(w mesh.Why) string {
	var out []string
	for _, r := range w.Reasons {
		out = append(out, r.Code)
	}
	return strings.Join(out, " ")
}

func addrs(list ...string) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func TestReasonsAreGivenForEveryPath(t *testing.T) {
	chain := func(c ...string) string { return strings.Join(c, " ") }
	for name, c := range map[string]struct {
		set    func(w *World, a, z, r *Host)
		quiet  bool // no packets are sent
		want   string
		good   bool
		change string // part of it
		found  mesh.Found
	}{
		"direct by UDP": {
			set: func(*World, *Host, *Host, *Host) {}, want: mesh.WhyDirect, good: true,
		},
		"direct, with high latency": {
			set: func(w *World, a, z, _ *Host) {
				w.Delay = func(_, _ *Host) time.Duration { return 100 * time.Millisecond }
			},
			want: chain(mesh.WhyDirect, mesh.WhySlow), good: true,
		},
		"nothing was sent yet": {
			set: func(*World, *Host, *Host, *Host) {}, quiet: true, want: mesh.WhyNoSession, good: true,
		},
		"UDP between the two is blocked": {
			set: func(w *World, a, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return !(x == a && y == z || x == z && y == a) }
			},
			want: chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyBetween), change: "forward UDP port 655 of the router here",
		},
		"UDP between the two is blocked, and a has no NAT": {
			set: func(w *World, a, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return !(x == a && y == z || x == z && y == a) }
			},
			found: mesh.Found{Seen: addrs("198.51.100.1:655")},
			want:  chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyBetween), change: "in the firewall of this machine",
		},
		"a is behind a symmetric NAT": {
			set: func(w *World, a, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return !(x == a && y == z || x == z && y == a) }
			},
			found: mesh.Found{NAT: true, Seen: addrs("198.51.100.1:40000", "198.51.100.1:40001")},
			want:  chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyBetween, mesh.WhySymmetric), change: "forward UDP port 655 of the router here",
		},
		"z hears nobody by UDP": {
			set: func(w *World, _, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return x != z && y != z }
			},
			found: mesh.Found{Relays: 1},
			want:  chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyNoUDPThere), change: "in the firewall of z",
		},
		"z hears nobody by UDP, and nobody was asked": {
			set: func(w *World, _, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return x != z && y != z }
			},
			want: chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyNoUDPThere), change: "or to port 655 of z",
		},
		"a hears nobody by UDP any more, as it shows when they are asked": {
			set: func(w *World, _, z, _ *Host) {
				w.UDP = func(x, y *Host) bool { return x != z && y != z }
			},
			found: mesh.Found{Heard: map[node.Name]bool{"r": false}, Command: "tincan -n home"},
			want:  chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyNoUDPHere), change: "; tincan -n home netcheck tells",
		},
		"a hears nobody by UDP": {
			set: func(w *World, a, _, _ *Host) {
				w.UDP = func(x, y *Host) bool { return x != a && y != a }
			},
			want: chain(mesh.WhyRelayed, mesh.WhyUnanswered, mesh.WhyNoUDPHere), change: "allow UDP to and from port 655",
		},
		"only small datagrams pass": {
			set: func(w *World, a, z, _ *Host) {
				w.PathMTU = between(1500, map[[2]node.Name]int{{"a", "z"}: 400})
			},
			want: chain(mesh.WhyRelayed, mesh.WhySmall), change: "a firewall or a tunnel",
		},
		"a uses only TCP": {
			set:  func(_ *World, a, _, _ *Host) { a.Configure = func(c *mesh.Config) { c.TCPOnly = true } },
			want: chain(mesh.WhyRelayed, mesh.WhyTCPOnlyHere), change: "remove TCPOnly",
		},
		"z uses only TCP": {
			set:  func(_ *World, _, z, _ *Host) { z.Configure = func(c *mesh.Config) { c.TCPOnly = true } },
			want: chain(mesh.WhyRelayed, mesh.WhyTCPOnlyThere), change: "remove TCPOnly = yes on z",
		},
		"z wants to be reached through its neighbours": {
			set:  func(_ *World, _, z, _ *Host) { z.Configure = func(c *mesh.Config) { c.Indirect = true } },
			want: chain(mesh.WhyRelayed, mesh.WhyIndirect), change: "IndirectData",
		},
		"a does not look for UDP paths": {
			set:  func(_ *World, a, _, _ *Host) { a.Configure = func(c *mesh.Config) { c.NoUDPDiscovery = true } },
			want: chain(mesh.WhyRelayed, mesh.WhyNoDiscovery), change: "UDPDiscovery",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := New(1)
			a, z, mid := star(w, "r")
			for _, h := range []*Host{a, z} {
				h.Kill()
			}
			c.set(w, a, z, mid[0])
			a.Start("r")
			z.Start("r")
			w.Run(3 * time.Second)
			if !c.quiet {
				w.stream(a, z)
			}
			w.Run(20 * time.Second)
			got := a.Core.Why("z", c.found)
			if codes(got) != c.want || got.Good != c.good || !strings.Contains(got.Change, c.change) || c.change == "" && got.Change != "" {
				t.Errorf("%+v\nwant %s, %q", got, c.want, c.change)
			}
		})
	}
}

func TestReasonsWhyANodeIsNotThere(t *testing.T) {
	w := New(2)
	a, z, mid := star(w, "r")
	w.Run(5 * time.Second)
	z.Kill()
	w.Run(90 * time.Second)
	if got := a.Core.Why("z", mesh.Found{}); codes(got) != mesh.WhyUnreachable+" "+mesh.WhyAway || !strings.Contains(got.Change, "start z") {
		t.Errorf("%+v", got)
	}
	mid[0].Kill()
	w.Run(90 * time.Second)
	if got := a.Core.Why("z", mesh.Found{}); codes(got) != strings.Join([]string{mesh.WhyUnreachable, mesh.WhyAlone, mesh.WhyRefused}, " ") || got.Change == "" {
		t.Errorf("%+v", got)
	}
	if got := a.Core.Why("nobody", mesh.Found{}); codes(got) != mesh.WhyUnknown || got.Good {
		t.Errorf("%+v", got)
	}
	if got := a.Core.Why("a", mesh.Found{}); codes(got) != mesh.WhySelf || !got.Good {
		t.Errorf("%+v", got)
	}
}

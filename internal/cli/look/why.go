package look

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/netdiag"
	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/report"
	"tincan/internal/route"
	"tincan/internal/script"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

func whyCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "why NODE|ADDRESS|HOST:PORT",
		Short: "Explain the path of packets to a node",
		Long: `Explains which path packets to a node take and why: the chain of reasons, and the one change
that would improve it. It begins with this machine: its interface, addresses and routes,
networks that overlap with the VPN, and (as root, where there is nft) its firewall. For an
address in a network behind this machine it looks at forwarding, too; for one outside of the
mesh it names the exit node. With HOST:PORT (TCP), HOST:PORT/udp or HOST/icmp it says which
line of the access policy allows that, or that none does. The exit status is 0 even if a problem is found.`,
		Args: frontend.Exactly("a node, or an address in the VPN", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			about, to := target(args[0])
			return e.Ask(func(c *control.Client) error {
				name, leaving, err := destination(c, about)
				if err != nil {
					return err
				}
				r, err := c.Why(name, to)
				if err != nil {
					return env.Meant(c, name, notOurs(err))
				}
				if other := like(c, name); other != "" {
					e.Say("hint: did you mean %q?", other)
				}
				if err := lookHere(e, c, about, name, &r); err != nil {
					return err
				}
				if leaving.Leaves {
					text := fmt.Sprintf("packets for %s leave the mesh by %s: Via = %s", about, name, report.ViaText(*leaving.Line, false))
					r.Reasons = append([]control.WhyReason{{Code: "leaves-by-exit", Text: text}}, r.Reasons...)
				}
				return env.Show(e, r, asJSON, report.WriteWhy)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}

// destination is the node that packets for something go to: its owner, or the exit node by which they leave the mesh.
func destination(c *control.Client, about string) (node.Name, control.Leaving, error) {
	if a, err := netip.ParseAddr(about); err == nil {
		l, err := c.Leaves(a)
		switch {
		case err != nil:
			return "", l, err
		case l.Leaves && l.By == "":
			return "", l, terminal.Hint(fmt.Errorf("packets for %s are refused: Via = %s", a, report.ViaText(*l.Line, false)),
				"a node works as an exit if it runs tincan with Exit = yes, can be reached, and has a way to the internet")
		case l.Leaves:
			return l.By, l, nil
		}
	}
	name, err := nodeOf(c, about)
	return name, control.Leaving{}, err
}

// target reads what why is asked about: a node or an address, or a service of one.
func target(text string) (host string, to *policy.Target) {
	if _, err := netip.ParseAddr(text); err != nil && strings.ContainsAny(text, ":/") {
		if t, err := policy.ParseTarget(text); err == nil {
			return t.Host, &t
		}
	}
	return text, nil
}

// lookHere puts in front of a report what this machine's kernel makes of packets for an
// address in the VPN, or for a node's first.
func lookHere(e *env.Env, c *control.Client, about string, name node.Name, r *control.WhyReport) error {
	s, err := c.Status()
	if err != nil {
		return err
	}
	q, ok := question(e, s)
	switch {
	case !ok:
		return nil
	case name == s.Self.Name:
		addFindings(e, r, lookBehind(q, s, about))
		return nil
	}
	if q.To, err = netip.ParseAddr(about); err != nil {
		for _, n := range s.Nodes {
			if n.Name == name {
				q.To = firstAddress(n.Subnets)
			}
		}
	}
	addFindings(e, r, append(netdiag.Look(q), netdiag.Firewall(s.Interface)...))
	return nil
}

// question is what can be asked about the interface of the VPN; not ok: it has none, or one that is part of a bridge, most likely.
func question(e *env.Env, s control.Status) (q netdiag.Question, ok bool) {
	q = netdiag.Question{Interface: s.Interface, Command: e.Self()}
	l, err := e.Layout()
	if err != nil {
		return q, s.Interface != ""
	}
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		return q, s.Interface != ""
	}
	scripts := script.Config{Dir: l.ConfBase, Interpreter: n.Settings.ScriptsInterpreter, Extension: n.Settings.ScriptsExtension}
	up, err := scripts.Path(script.TincUp)
	ours := up == "" && err == nil
	if ours {
		q.Own = n.Settings.Ifconfig
	}
	return q, s.Interface != "" && n.Settings.DeviceType.HasInterface() && (ours || n.Settings.Mode == route.ByAddress)
}

// lookBehind looks at what keeps packets of the VPN from networks behind this machine: at that of an address, or at all.
func lookBehind(q netdiag.Question, s control.Status, about string) []netdiag.Finding {
	q.To, _ = netip.ParseAddr(about)
	var own []netip.Prefix
	for _, text := range s.Self.Subnets {
		if s, err := subnet.Parse(text); err == nil && s.Prefix().IsValid() {
			own = append(own, s.Prefix())
		}
	}
	return netdiag.Forwarding(q, own)
}

// addFindings puts what was found on this machine in front of a report.
func addFindings(e *env.Env, r *control.WhyReport, found []netdiag.Finding) {
	if len(found) == 0 {
		return
	}
	var reasons []control.WhyReason
	for _, f := range found {
		reasons = append(reasons, control.WhyReason{Code: f.Code, Text: f.Text})
	}
	r.Reasons = append(reasons, r.Reasons...)
	r.Good, r.Change = false, found[0].Change
}

// firstAddress is the first address in a list of subnets, zero if there is none.
func firstAddress(subnets []string) netip.Addr {
	for _, text := range subnets {
		if s, err := subnet.Parse(text); err == nil && s.Prefix().IsValid() && s.Prefix().Bits() > 0 {
			if p := s.Prefix(); !p.IsSingleIP() {
				return p.Masked().Addr().Next()
			}
			return s.Addr()
		}
	}
	return netip.Addr{}
}

func netCheckCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "netcheck",
		Short: "Check connectivity: UDP, NAT, port mappings",
		Long: `Checks the connectivity of this machine, as far as the running node
and the other nodes can tell: UDP, the kind of NAT, port mappings, IPv6, connections from
outside. Other nodes report the address from which they see this one; no server outside the mesh is asked.
It also names problems of this machine: of its interface and addresses, and what keeps packets from
networks behind it (forwarding and, as root, where there is nft, the firewall).`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			return e.Ask(func(c *control.Client) error {
				r, err := c.NetCheck()
				if err != nil {
					return notOurs(err)
				}
				s, err := c.Status()
				if err != nil {
					return err
				}
				if q, ok := question(e, s); ok {
					for _, f := range lookBehind(q, s, "") {
						r.Problems = append(r.Problems, control.Problem(f))
						r.Verdict = append(r.Verdict, f.String()+".")
					}
				}
				return env.Show(e, r, asJSON, report.WriteNet)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return c
}

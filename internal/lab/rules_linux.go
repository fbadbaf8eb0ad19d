package lab

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Traffic is a kind of packets that a router can be told to drop.
type Traffic string

// The kinds of traffic.
const (
	All    Traffic = ""
	UDP    Traffic = "meta l4proto udp"
	TCP    Traffic = "meta l4proto tcp"
	NotTCP Traffic = "meta l4proto != tcp"
)

// OtherTCP is TCP from and to other ports than the one given, which is neither
// the first nor the last.
func OtherTCP(port uint16) Traffic {
	// Of "sport != 443 dport != 443" nft makes one comparison, which is wrong.
	others := fmt.Sprintf("{ 0-%d, %d-65535 }", port-1, port+1)
	return Traffic("tcp sport " + others + " tcp dport " + others)
}

// Rule is something that a router does to packets, until it is lifted.
type Rule struct {
	router *Router
	match  []string // nft matches, one for each rule needed
	chance string   // nft match that is true now and then, "" for always
}

// Block drops the traffic that passes the router: all of it, to and from one
// host, or between two hosts. Nobody is told: the packets just vanish.
func (r *Router) Block(what Traffic, hosts ...*Host) (*Rule, error) {
	return r.add(&Rule{match: matches(what, hosts)})
}

// Lose drops a share of the traffic at random; hosts are as for [Router.Block].
// With one host or none a packet has to pass one such rule.
func (r *Router) Lose(percent float64, what Traffic, hosts ...*Host) (*Rule, error) {
	return r.add(&Rule{match: matches(what, hosts), chance: fmt.Sprintf("numgen random mod 10000 < %d", int(percent*100))})
}

// Lift removes the rule.
func (rule *Rule) Lift() error {
	r := rule.router
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = slices.DeleteFunc(r.rules, func(other *Rule) bool { return other == rule })
	return r.install()
}

func (r *Router) add(rule *Rule) (*Rule, error) {
	rule.router = r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = append(r.rules, rule)
	return rule, r.install()
}

// matches says in nft's words which packets are meant.
func matches(what Traffic, hosts []*Host) []string {
	switch len(hosts) {
	case 0:
		return []string{string(what)}
	case 1:
		var m []string
		for _, family := range []string{"ip", "ip6"} {
			if set := hosts[0].nftSet(family); set != "" {
				m = append(m, fmt.Sprintf("%s saddr %s %s", family, set, what), fmt.Sprintf("%s daddr %s %s", family, set, what))
			}
		}
		return m
	}
	var m []string
	for _, family := range []string{"ip", "ip6"} {
		a, b := hosts[0].nftSet(family), hosts[1].nftSet(family)
		if a != "" && b != "" {
			m = append(m, fmt.Sprintf("%s saddr %s %s daddr %s %s", family, a, family, b, what),
				fmt.Sprintf("%s saddr %s %s daddr %s %s", family, b, family, a, what))
		}
	}
	return m
}

func (h *Host) nftSet(family string) string {
	var list []string
	for _, a := range h.addrs {
		if a.Is4() == (family == "ip") {
			list = append(list, a.String())
		}
	}
	if list == nil {
		return ""
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// NAT is a way to translate addresses, by the names that people use.
type NAT string

// The kinds of NAT. Through the first three hole punching works.
const (
	// FullCone uses one port for all destinations and lets in everybody who
	// writes to it (RFC 4787: endpoint-independent mapping and filtering).
	FullCone NAT = "full cone"
	// AddressRestricted uses one port for all destinations and answers only the
	// addresses that were written to (address-dependent filtering).
	AddressRestricted NAT = "address-restricted"
	// PortRestricted uses one port for all destinations and answers only those
	// that were written to (address and port-dependent filtering).
	PortRestricted NAT = "port-restricted"
	// Symmetric uses a new random port for each destination, and answers only
	// that one (address and port-dependent mapping and filtering).
	Symmetric NAT = "symmetric"
	// NoFirewall is Linux with a rule to masquerade and none that drops what comes in for the router
	// itself, as hosts of virtual machines and containers have it, and routers that were made at home. It
	// is [PortRestricted] as long as a host inside writes first. Who writes from outside before that becomes a
	// connection of the router's, for half a minute after the last packet, and the host inside
	// gets another port towards that peer.
	NoFirewall NAT = "Linux without firewall"
)

// NAT makes the router hide all that is attached to it behind its own address
// on its first link, eth0, and drop what comes in from there unasked. If that
// link is a cable (see [Router.Cable]), the translation is done there. Otherwise the
// kernel does it, which knows only [PortRestricted], [Symmetric] and [NoFirewall]; the latter
// is always the kernel's.
//
// But for the last kind, what comes in unasked for the router itself is dropped too, as firewalls do.
func (r *Router) NAT(kind NAT) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uplink != nil && r.uplink.cable != nil && kind != NoFirewall {
		return r.natOnCable(kind)
	}
	statement := map[NAT]string{PortRestricted: "masquerade", NoFirewall: "masquerade", Symmetric: "masquerade random,fully-random"}[kind]
	if statement == "" {
		return fmt.Errorf("making %s a %s NAT: %w", r.name, kind, ErrNoCable)
	}
	r.nat = fmt.Sprintf(`
	chain hide {
		type nat hook postrouting priority 100;
		oifname "eth0" %s
	}
	chain keepout {
		type filter hook forward priority 10;
		iifname "eth0" ct state new drop
	}`, statement)
	if kind != NoFirewall {
		r.nat += `
	chain unasked {
		type filter hook input priority 10;
		iifname "eth0" meta l4proto { tcp, udp } ct state new drop
	}`
	}
	return r.install()
}

// install hands the router's rules to the kernel, in one step. The caller
// holds r.mu.
func (r *Router) install() error {
	var b strings.Builder
	// Adding the table first makes deleting it safe when it is not there.
	b.WriteString("table inet lab\ndelete table inet lab\ntable inet lab {\n")
	b.WriteString("\tchain drops {\n\t\ttype filter hook forward priority 0;\n")
	for _, rule := range r.rules {
		for _, m := range rule.match {
			fmt.Fprintf(&b, "\t\t%s %s drop\n", m, rule.chance)
		}
	}
	b.WriteString("\t}")
	b.WriteString(r.nat)
	b.WriteString("\n}\n")

	path, err := lookNft()
	if err != nil {
		return err
	}
	cmd := r.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(b.String())
	if _, err := r.RunCommand(cmd); err != nil {
		return fmt.Errorf("setting rules on %s: %w", r.name, err)
	}
	return nil
}

// lookNft finds nft, which is not in an ordinary user's PATH.
func lookNft() (string, error) {
	for _, path := range []string{"nft", "/usr/sbin/nft", "/sbin/nft"} {
		if found, err := exec.LookPath(path); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("the nft command is not there\nhint: install the package nftables")
}

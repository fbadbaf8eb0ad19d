package netdiag

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Firewall reads the rules of this machine's firewall with the program nft, which also shows
// those of iptables-nft, and finds those that block the interface. Without root
// or nft it finds nothing. It judges what it understands: rules about interfaces. Of others it
// assumes that they do not decide.
func Firewall(iface string) []Finding {
	if iface == "" {
		return nil
	}
	return judge(readRules(), iface)
}

// readRules asks nft, nil if that is not possible.
func readRules() []byte {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", "-j", "list", "ruleset")
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return nil
	}
	const most = 16 << 20 // bytes; rules of a machine with many containers
	text, err := io.ReadAll(io.LimitReader(out, most))
	if cmd.Wait() != nil || err != nil {
		return nil
	}
	return text
}

// ruleset is what nft -j prints.
type ruleset struct {
	NFTables []struct {
		Chain *chain `json:"chain"`
		Rule  *rule  `json:"rule"`
	} `json:"nftables"`
}

type chain struct {
	Family, Table, Name, Type, Hook, Policy string
	rules                                   []rule
}

type rule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
}

// judge finds the chains that drop what comes from or goes to iface.
func judge(text []byte, iface string) (list []Finding) {
	bases, chains := parseRules(text, "input", "output")
	for _, c := range bases {
		in, out, what, matching := iface, "", "comes from "+iface, "iifname"
		if c.Hook == "output" {
			in, out, what, matching = "", iface, "goes to "+iface, "oifname"
		}
		list = append(list, c.judge(chains, in, out, what, fmt.Sprintf("%s %q", matching, iface))...)
	}
	return list
}

// judgeForward finds the chains that drop what comes out of the VPN and goes on to another interface, or the other way
// round. There what belongs to connections from the VPN may be all that is accepted, so only what drops everything counts.
func judgeForward(text []byte, iface, other string) (list []Finding) {
	bases, chains := parseRules(text, "forward")
	for _, c := range bases {
		list = append(list, c.judge(chains, iface, other, "goes from "+iface+" to "+other, fmt.Sprintf("iifname %q oifname %q", iface, other))...)
		for _, f := range c.judge(chains, other, iface, "goes from "+other+" to "+iface, fmt.Sprintf("iifname %q oifname %q", other, iface)) {
			if f.Code == dropsAll {
				list = append(list, f)
			}
		}
	}
	return list
}

// parseRules returns all chains, and those that packets begin at in the hooks.
func parseRules(text []byte, hooks ...string) (bases []*chain, chains map[[3]string]*chain) {
	var set ruleset
	if json.Unmarshal(text, &set) != nil {
		return nil, nil
	}
	chains = map[[3]string]*chain{}
	for _, e := range set.NFTables {
		if c := e.Chain; c != nil {
			chains[[3]string{c.Family, c.Table, c.Name}] = c
			if c.Type == "filter" && slices.Contains(hooks, c.Hook) && c.Family != "bridge" && c.Family != "arp" {
				bases = append(bases, c)
			}
		}
	}
	for _, e := range set.NFTables {
		if r := e.Rule; r != nil {
			if c := chains[[3]string{r.Family, r.Table, r.Chain}]; c != nil {
				c.rules = append(c.rules, *r)
			}
		}
	}
	return bases, chains
}

// dropsAll is the code of a chain that drops everything.
const dropsAll = "firewall-drops"

// judge tells whether a chain drops packets that come in by one interface and leave by the other.
func (c *chain) judge(chains map[[3]string]*chain, in, out, what, matching string) []Finding {
	budget := maxSteps
	w := walk{chains: chains, in: in, out: out, budget: &budget}
	end := w.through(c, 0)
	if end == "" {
		end = c.Policy
	}
	if end != "drop" {
		return nil
	}
	change := fmt.Sprintf("nft insert rule %s %s %s %s accept", c.Family, c.Table, c.Name, matching)
	f := Finding{dropsAll, fmt.Sprintf("the firewall of this machine drops what %s (table %s %s, chain %s)", what, c.Family, c.Table, c.Name), change}
	if w.doubt {
		f.Code = "firewall-may-drop"
		f.Text = fmt.Sprintf("the firewall of this machine drops what %s, but for some of it that other rules accept (table %s %s, chain %s)", what, c.Family, c.Table, c.Name)
	}
	return []Finding{f}
}

// walk follows a packet through chains.
type walk struct {
	chains map[[3]string]*chain
	in     string // the interface by which the packet has come, "" if by none
	out    string // that by which it leaves
	doubt  bool   // a rule that is not understood may have accepted it
	budget *int   // rules that are still looked at
}

const (
	maxJumps = 16      // the kernel's limit
	maxSteps = 200_000 // in all, since a chain may be gone through many times
)

// through returns accept or drop, "" if the chain decides nothing.
func (w *walk) through(c *chain, depth int) string {
	for _, r := range c.rules {
		if *w.budget--; *w.budget < 0 {
			w.doubt = true
			return ""
		}
		matches, sure := true, true
		verdict, target := "", ""
		for _, e := range r.Expr {
			for kind, raw := range e {
				switch kind {
				case "match":
					yes, known := w.match(raw)
					matches = matches && (yes || !known)
					sure = sure && known
				case "accept", "drop", "return":
					verdict = kind
				case "reject":
					verdict = "drop"
				case "jump", "goto":
					var to struct{ Target string }
					_ = json.Unmarshal(raw, &to)
					verdict, target = kind, to.Target
				case "counter", "log", "comment":
				default:
					sure = sure && kind != "xt" && kind != "vmap" && kind != "limit"
				}
			}
		}
		if !matches || verdict == "" {
			continue
		}
		if target != "" {
			next := w.chains[[3]string{c.Family, c.Table, target}]
			if next == nil || depth == maxJumps {
				continue
			}
			inner := walk{chains: w.chains, in: w.in, out: w.out, budget: w.budget}
			end := inner.through(next, depth+1)
			w.doubt = w.doubt || inner.doubt || !sure && end == "accept"
			if sure && (end != "" || verdict == "goto") {
				return end
			}
			continue
		}
		switch {
		case sure && verdict == "return":
			return ""
		case sure:
			return verdict
		case verdict == "accept":
			w.doubt = true
		}
	}
	return ""
}

// match judges one comparison. known is false for what is not about interfaces.
func (w *walk) match(raw json.RawMessage) (yes, known bool) {
	var m struct {
		Op   string
		Left struct {
			Meta *struct{ Key string }
		}
		Right json.RawMessage
	}
	if json.Unmarshal(raw, &m) != nil || m.Left.Meta == nil {
		return false, false
	}
	ours := ""
	switch m.Left.Meta.Key {
	case "iif", "iifname":
		ours = w.in
	case "oif", "oifname":
		ours = w.out
	default:
		return false, false
	}
	var names []string
	var one string
	var many struct{ Set []string }
	switch {
	case json.Unmarshal(m.Right, &one) == nil:
		names = []string{one}
	case json.Unmarshal(m.Right, &many) == nil && many.Set != nil:
		names = many.Set
	default:
		return false, false
	}
	for _, n := range names {
		if strings.HasPrefix(n, "@") {
			return false, false // a named set
		}
		if stem, wild := strings.CutSuffix(n, "*"); n == ours || wild && strings.HasPrefix(ours, stem) {
			yes = true
		}
	}
	return yes == (m.Op != "!="), true
}

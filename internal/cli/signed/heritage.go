package signed

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/command/ownership"
	"tincan/internal/daemon"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// heritage is what becomes of the things that were signed with a stolen key.
type heritage struct {
	drop             []string
	dropAll, keepAll bool
}

func (h *heritage) flags(c *cobra.Command) {
	c.Flags().StringArrayVar(&h.drop, "drop", nil, "`what` does not stay of the things that were signed with a stolen key: the name or fingerprint of a member, the fingerprint of a removed key or of an invitation, or policy; may be repeated")
	c.Flags().BoolVar(&h.dropAll, "drop-all", false, "none of the things stays that were signed with a stolen key")
	c.Flags().BoolVar(&h.keepAll, "keep-all", false, "all of the things stay that were signed with a stolen key")
	c.MarkFlagsMutuallyExclusive("drop", "drop-all", "keep-all")
}

// choose asks what stays of that which was signed by somebody, as far as doubt says that it is in doubt, and enters it in the plan.
func (h *heritage) choose(e *env.Env, n *ownership.Network, p *ownership.Plan, by string, doubt func(roster.Claim) bool) error {
	if h.keepAll {
		return nil
	}
	if !p.TakesEffect() {
		if h.dropAll || len(h.drop) > 0 {
			return errors.New("other owners have to sign this change, too; whoever signs last decides what stays")
		}
		return nil
	}
	if p.Drop == nil {
		p.Drop = map[roster.ID]bool{}
	}
	seen := map[roster.ID]bool{}
	used := map[string]roster.Kind{}
	for {
		all, err := p.Claims()
		if err != nil {
			return err
		}
		var claims []roster.Claim // that were not asked about before
		for _, c := range all {
			if doubt(c) && !seen[c.Statement] {
				claims = append(claims, c)
			}
			seen[c.Statement] = true
		}
		if len(claims) == 0 {
			break
		}
		dropped, err := h.pick(e, n, claims, used, by)
		if err != nil {
			return err
		}
		for _, i := range dropped {
			p.Drop[claims[i].Statement] = true
		}
	}
	for _, w := range h.drop {
		if used[w] == 0 {
			return terminal.Hint(fmt.Errorf("nothing that was signed %s is called %q", by, w), "it is listed if you are asked: leave out --drop, on a terminal")
		}
	}
	return nil
}

// pick says which claims are to be dropped, and notes what the words of the command line have named.
func (h *heritage) pick(e *env.Env, n *ownership.Network, claims []roster.Claim, used map[string]roster.Kind, by string) (dropped []int, err error) {
	switch {
	case h.dropAll:
		for i := range claims {
			dropped = append(dropped, i)
		}
		return dropped, nil
	case len(h.drop) > 0:
		for i, c := range claims {
			for _, w := range h.drop {
				// A removal and the member who comes to light without it have the same fingerprint.
				if kind := c.Content.Kind(); called(c, w) && !(used[w] == roster.KindRemoval && kind == roster.KindMember) {
					used[w], dropped = kind, append(dropped, i)
				}
			}
		}
		return dropped, nil
	}
	say(e, n, claims, by)
	if !e.Interactive() {
		return nil, terminal.Hint(errors.New("somebody has to decide which of this stays, and nothing was changed"), "--drop NAME for each that does not stay, or --drop-all, or --keep-all")
	}
	for {
		answer, err := e.Streams.Ask("which of this does not stay? (numbers, or all, or none) ")
		if err != nil {
			return nil, errors.New("nothing was changed")
		}
		if dropped, ok := numbers(answer, len(claims)); ok {
			return dropped, nil
		}
	}
}

// called tells whether a claim is meant by a word. A name means the member.
func called(c roster.Claim, word string) bool {
	finger, err := roster.ParseFingerprint(word)
	is := func(key [32]byte) bool { return err == nil && roster.Fingerprint(key) == finger }
	switch c := c.Content.(type) {
	case *roster.Member:
		return string(c.Name) == word || is(c.Key) || is(c.RSA)
	case *roster.Removal:
		return is(c.Key)
	case *roster.Invitation:
		return c.Name == word || is(c.Key)
	case *roster.Policy:
		return word == "policy"
	case *roster.Names:
		return word == "names"
	case *roster.Device:
		return string(c.Name) == word || is(c.Key)
	case *roster.Door:
		return word == "door"
	}
	return false
}

// numbers reads an answer: indexes from 0.
func numbers(answer string, n int) (list []int, ok bool) {
	switch strings.ToLower(answer) {
	case "none":
		return nil, true
	case "all":
		for i := range n {
			list = append(list, i)
		}
		return list, true
	}
	for _, w := range strings.FieldsFunc(answer, func(c rune) bool { return c == ' ' || c == ',' }) {
		first, last, isRange := strings.Cut(w, "-")
		if !isRange {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || a < 1 || b > n || a > b {
			return nil, false
		}
		for i := a; i <= b; i++ {
			list = append(list, i-1)
		}
	}
	return list, len(list) > 0
}

// say shows what was signed, with what may help to find out whether the thief has done it.
func say(e *env.Env, n *ownership.Network, claims []roster.Claim, by string) {
	e.Say("this was signed %s, by its owner or by the thief; nothing proves which:", by)
	seen := daemon.LastSeen(n.Layout)
	t := tabwriter.NewWriter(e.Err, 0, 0, 2, ' ', 0)
	for i, c := range claims {
		what, note := "", ""
		switch c := c.Content.(type) {
		case *roster.Member:
			what = fmt.Sprintf("member %s\t%s", c.Name, roster.Fingerprint(roster.Identity(c.Key, c.RSA)))
			h, known := n.Files.Hosts[c.Name]
			switch {
			case known && h.Key != nil && *h.Key != c.Key:
				note = "another key than in hosts/" + string(c.Name) + " here!"
			case c.Name != n.Files.Name && len(seen) > 0 && seen[c.Name].IsZero():
				note = "never seen by this node"
			}
		case *roster.Removal:
			name := string(c.Name)
			if name == "" {
				name = "a key or invitation"
			}
			what = fmt.Sprintf("removal of %s\t%s", name, roster.Fingerprint(c.Key))
			if c.Reason != "" {
				note = strconv.Quote(c.Reason)
			}
		case *roster.Invitation:
			name := c.Name
			if name == "" {
				name = "anybody"
			}
			what = fmt.Sprintf("invitation of %s\t%s", name, roster.Fingerprint(c.Key))
			note = fmt.Sprintf("%d uses", c.Uses)
		case *roster.Names:
			what = "further names in DNS\t"
			note = fmt.Sprintf("%d lines", strings.Count(c.Text, "\n"))
		case *roster.Policy:
			if c.Text == "" {
				what = "the policy is withdrawn\t"
				break
			}
			what = "the policy\t"
			note = fmt.Sprintf("%d lines", strings.Count(strings.TrimSuffix(c.Text, "\n"), "\n")+1)
		case *roster.Device:
			what = fmt.Sprintf("device %s\t%s", c.Name, roster.Fingerprint(c.Key))
		case *roster.Door:
			what = fmt.Sprintf("the key of the doors\t%s", roster.Fingerprint(c.Key))
		}
		fmt.Fprintf(t, "%4d\t%s\tby %s\t%s\n", i+1, what, whoever(n, c.By), note)
	}
	t.Flush()
}

// whoever is the name of an owner of today or before, or of a member.
func whoever(n *ownership.Network, key keys.PublicKey) string {
	for _, o := range n.EverOwners() {
		if o.Key == key {
			return string(o.Name)
		}
	}
	return members.Who(n.Roster.State(), key)
}

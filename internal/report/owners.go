package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// Owners is what "owners show --json" prints.
type Owners struct {
	Owners    []members.Owner `json:"owners"`    // the most senior one first
	Threshold int             `json:"threshold"` // how many owners have to sign a change of the owners
	Recovery  bool            `json:"recovery"`  // there is a recovery key
	Paper     string          `json:"recovery_fingerprint,omitempty"`
	OwnerKey  string          `json:"owner_key_fingerprint,omitempty"` // of the owner's key on this machine
	Alone     []string        `json:"alone,omitempty"`                 // names of owners who can undo alone what several have signed, since one signature was enough before; a recovery ends that
	Former    []FormerOwner   `json:"former"`                          // who were owners before, as far as this node knows
	Proposals []Proposal      `json:"proposals"`                       // that too few owners have signed
	TooNew    bool            `json:"too_new,omitempty"`               // the roster has critical statements of a newer version
}

// FormerOwner is an owner who is none any more.
type FormerOwner struct {
	Name        node.Name `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	CanUndo     bool      `json:"can_undo"` // whoever has this key can undo what the owners have decided since; a recovery ends that
}

// Proposal is a change of the owners that collects signatures.
type Proposal struct {
	ID        string          `json:"id"` // for "owners sign"
	Owners    []members.Owner `json:"owners"`
	Threshold int             `json:"threshold"`
	Changes   []string        `json:"changes"`  // for people
	Signed    []string        `json:"signed"`   // names of owners
	Unsigned  []string        `json:"unsigned"` // names of owners who could sign, too
	Missing   int             `json:"missing"`  // how many signatures are missing
}

// NewOwners describes the owners of a roster; here is the owner's key of this machine, zero if there is none.
func NewOwners(r *roster.Roster, here keys.PublicKey) Owners {
	s := r.State()
	v := Owners{Owners: members.Owners(s.Owners), Threshold: int(s.Owners.Threshold), TooNew: s.TooNew(), Former: []FormerOwner{}, Proposals: []Proposal{}}
	if s.Recovery != (keys.PublicKey{}) {
		v.Recovery, v.Paper = true, roster.Fingerprint(s.Recovery)
	}
	if here != (keys.PublicKey{}) {
		v.OwnerKey = roster.Fingerprint(here)
	}
	known := map[keys.PublicKey]bool{}
	for _, o := range s.Owners.Owners {
		known[o.Key] = true
		if s.Owners.Threshold > 1 && r.CanUndo(o.Key) {
			v.Alone = append(v.Alone, string(o.Name))
		}
	}
	for _, l := range r.History() {
		for _, o := range l.Owners {
			if !known[o.Key] {
				known[o.Key] = true
				v.Former = append(v.Former, FormerOwner{o.Name, roster.Fingerprint(o.Key), r.CanUndo(o.Key)})
			}
		}
	}
	for _, p := range s.Proposals {
		l := p.Owners.OwnerList
		q := Proposal{ID: p.List.String(), Owners: members.Owners(l), Threshold: int(l.Threshold), Changes: OwnerChanges(s.Owners, l),
			Signed: []string{}, Unsigned: []string{}, Missing: int(s.Owners.Threshold) - len(p.Signers)}
		for _, o := range s.Owners.Owners {
			switch {
			case slices.Contains(p.Signers, o.Key):
				q.Signed = append(q.Signed, string(o.Name))
			case o.Rights&roster.RightOwners != 0:
				q.Unsigned = append(q.Unsigned, string(o.Name))
			}
		}
		v.Proposals = append(v.Proposals, q)
	}
	return v
}

// OwnerChanges says what is different about a new list of owners, one thing a line.
func OwnerChanges(before, after roster.OwnerList) []string {
	var out []string
	find := func(l roster.OwnerList, key keys.PublicKey) int {
		return slices.IndexFunc(l.Owners, func(o roster.Owner) bool { return o.Key == key })
	}
	for _, o := range before.Owners {
		if find(after, o.Key) < 0 {
			out = append(out, fmt.Sprintf("%s (%s) is no owner any more", o.Name, roster.Fingerprint(o.Key)))
		}
	}
	place := -1
	for _, o := range after.Owners {
		rights := strings.Join(members.Rights(o.Rights), ", ")
		i := find(before, o.Key)
		switch {
		case i < 0:
			out = append(out, fmt.Sprintf("%s (%s) becomes an owner: %s", o.Name, roster.Fingerprint(o.Key), rights))
			continue
		case before.Owners[i].Rights != o.Rights:
			out = append(out, fmt.Sprintf("%s may %s, and not %s", o.Name, cmp.Or(rights, "do nothing"), cmp.Or(strings.Join(members.Rights(before.Owners[i].Rights), ", "), "nothing")))
		}
		if before.Owners[i].Name != o.Name {
			out = append(out, fmt.Sprintf("%s is called %s", before.Owners[i].Name, o.Name))
		}
		if i < place {
			out = append(out, fmt.Sprintf("%s is less senior than before", o.Name))
		}
		place = max(place, i)
	}
	if before.Threshold != after.Threshold {
		out = append(out, fmt.Sprintf("a change of the owners needs %s, and not %s", signatures(int(after.Threshold)), signatures(int(before.Threshold))))
	}
	return out
}

// WriteOwners writes it as text.
func WriteOwners(w io.Writer, v Owners, f Form) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OWNER\tFINGERPRINT\tRIGHTS\t")
	here := false
	for _, o := range v.Owners {
		note := ""
		if o.Fingerprint == v.OwnerKey {
			here, note = true, "its key is on this machine"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", o.Name, o.Fingerprint, list(o.Rights), note)
	}
	t.Flush()
	fmt.Fprintf(&b, "\nto change the owners: %s\n", signatures(v.Threshold))
	for _, name := range v.Alone {
		fmt.Fprintf(&b, "but %s was able to change them alone before, and can undo this alone, until: %s owners recover\n", name, f.command())
	}
	switch {
	case v.Recovery:
		fmt.Fprintf(&b, "recovery key: there is one, on paper (fingerprint %s)\n", v.Paper)
	default:
		b.WriteString("recovery key: none\n")
	}
	if v.OwnerKey != "" && !here {
		fmt.Fprintf(&b, "the key on this machine (%s) is no owner's\n", v.OwnerKey)
	}
	for _, o := range v.Former {
		fmt.Fprintf(&b, "owner before: %s (%s)", o.Name, o.Fingerprint)
		if o.CanUndo {
			fmt.Fprintf(&b, "; whoever has that key can undo what was decided since, until: %s owners recover", f.command())
		}
		b.WriteString("\n")
	}
	for _, p := range v.Proposals {
		fmt.Fprintf(&b, "\nproposal %.8s, signed by %s; %d more of %s\n", p.ID, strings.Join(p.Signed, ", "), p.Missing, strings.Join(p.Unsigned, ", "))
		for _, text := range p.Changes {
			fmt.Fprintf(&b, "  %s\n", text)
		}
		fmt.Fprintf(&b, "  to sign it: %s owners sign %.8s\n", f.command(), p.ID)
	}
	if v.TooNew {
		b.WriteString("\nThe roster has critical statements of a newer version: update this program.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func signatures(k int) string {
	if k == 1 {
		return "one signature"
	}
	return fmt.Sprintf("%d signatures", k)
}

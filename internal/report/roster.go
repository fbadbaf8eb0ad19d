package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tincan/internal/members"
	"tincan/internal/roster"
)

// Roster is what "roster show --json" prints.
type Roster struct {
	Network     string          `json:"network"` // id, for "roster accept"
	Fingerprint string          `json:"fingerprint"`
	Mode        string          `json:"mode"` // signed or warn, or open if the roster is not used
	Owners      []members.Owner `json:"owners"`
	Threshold   int             `json:"threshold"`                       // how many owners have to sign a change of the owners
	Recovery    bool            `json:"recovery"`                        // there is a recovery key
	OwnerKey    string          `json:"owner_key_fingerprint,omitempty"` // of the owner's key on this machine
	TooNew      bool            `json:"too_new,omitempty"`               // it has critical statements of a newer version
	Members     int             `json:"members"`
	Pending     int             `json:"pending"`
	Removed     int             `json:"removed"`
	Invitations int             `json:"invitations"` // that are open
	Policy      bool            `json:"policy"`      // there is one
	Statements  int             `json:"statements"`
	Bytes       int             `json:"bytes"`
}

// WriteRoster writes it as text.
func WriteRoster(w io.Writer, r Roster) error {
	var b strings.Builder
	fmt.Fprintf(&b, "network     %s\nfingerprint %s\nroster      %s\n", r.Network, r.Fingerprint, r.Mode)
	for _, o := range r.Owners {
		here := ""
		if o.Fingerprint == r.OwnerKey {
			here = ", its key is on this machine"
		}
		fmt.Fprintf(&b, "owner       %s %s (%s)%s\n", o.Name, o.Fingerprint, strings.Join(o.Rights, ", "), here)
	}
	if r.Threshold > 1 {
		fmt.Fprintf(&b, "threshold   %d owners have to sign a change of the owners\n", r.Threshold)
	}
	recovery := "no"
	if r.Recovery {
		recovery = "there is a recovery key"
	}
	fmt.Fprintf(&b, "recovery    %s\n", recovery)
	fmt.Fprintf(&b, "members     %d, %d waiting for approval, %d removed, %s\n", r.Members, r.Pending, r.Removed, plural(r.Invitations, "open invitation"))
	fmt.Fprintf(&b, "holds       %d statements, %d bytes\n", r.Statements, r.Bytes)
	if r.TooNew {
		b.WriteString("The roster has critical statements of a newer version: update this program.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Statements is what "roster log --json" prints.
type Statements struct {
	Statements []Statement `json:"statements"`
}

// Statement is one statement of a roster.
type Statement struct {
	ID     string     `json:"id"`
	Kind   string     `json:"kind"` // genesis, owners, member, invitation, admission, removal, policy, recovery, or a number
	Signer string     `json:"signer"`
	Serial uint64     `json:"serial,omitempty"`
	Ends   *time.Time `json:"ends,omitempty"`
	Text   string     `json:"text"`           // what it says, for people
	Idle   string     `json:"idle,omitempty"` // why it does not count
}

// NewStatement describes a statement; idle is why it does not count.
func NewStatement(s *roster.State, id roster.ID, st *roster.Statement, idle string) Statement {
	v := Statement{ID: id.String(), Kind: st.Content.Kind().String(), Signer: members.Who(s, st.Signer), Serial: st.Serial, Idle: idle}
	if st.NotAfter != 0 {
		t := time.Unix(st.NotAfter, 0).UTC()
		v.Ends = &t
	}
	v.Text = says(st.Content)
	return v
}

// says is what a statement says.
func says(c roster.Content) string {
	switch c := c.(type) {
	case *roster.Genesis:
		return fmt.Sprintf("the network begins; owners: %s", owners(c.OwnerList))
	case *roster.Owners:
		return fmt.Sprintf("owners from now on: %s", owners(c.OwnerList))
	case *roster.Recovery:
		return fmt.Sprintf("the recovery key names new owners: %s", owners(c.OwnerList))
	case *roster.Member:
		return fmt.Sprintf("%s is a member (%s)", c.Name, roster.Fingerprint(roster.Identity(c.Key, c.RSA)))
	case *roster.Invitation:
		name := c.Name
		if name == "" {
			name = "anybody"
		}
		return fmt.Sprintf("%s is invited (%s), for %s", name, roster.Fingerprint(c.Key), plural(int(c.Uses), "use"))
	case *roster.Admission:
		return fmt.Sprintf("%s is admitted (%s)", c.Name, roster.Fingerprint(roster.Identity(c.Key, c.RSA)))
	case *roster.Removal:
		text := roster.Fingerprint(c.Key)
		if c.Name != "" {
			text = fmt.Sprintf("%s (%s)", c.Name, text)
		}
		if c.Reason != "" {
			text += fmt.Sprintf(": %q", c.Reason)
		}
		return "removed: " + text
	case *roster.Names:
		return fmt.Sprintf("further names in DNS, %d lines", strings.Count(c.Text, "\n"))
	case *roster.Policy:
		if c.Text == "" {
			return "the policy is withdrawn"
		}
		return fmt.Sprintf("the policy, %d lines", strings.Count(strings.TrimSuffix(c.Text, "\n"), "\n")+1)
	case *roster.Device:
		return fmt.Sprintf("%s is a device (%s)", c.Name, roster.Fingerprint(c.Key))
	case *roster.Door:
		return fmt.Sprintf("the key of the doors for devices (%s), sealed for %d keys", roster.Fingerprint(c.Key), len(c.Sealed))
	}
	return "of a kind that this version does not know"
}

func owners(l roster.OwnerList) string {
	var names []string
	for _, o := range l.Owners {
		names = append(names, string(o.Name))
	}
	text := strings.Join(names, ", ")
	if l.Threshold > 1 {
		text += fmt.Sprintf("; %d of them change this list", l.Threshold)
	}
	return text
}

// Verified is what "roster verify --json" prints.
type Verified struct {
	Network     string `json:"network"`
	Fingerprint string `json:"fingerprint"`
	Statements  int    `json:"statements"` // that are valid
	Bytes       int    `json:"bytes"`
	Bad         int    `json:"bad"` // lines that are no valid statements
}

// RosterDiff is what "roster diff --json" prints.
type RosterDiff struct {
	Here  []Statement `json:"here_only"`
	There []Statement `json:"there_only"`
}

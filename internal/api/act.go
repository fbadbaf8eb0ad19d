package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/control"
	"tincan/internal/invite"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// What changes the network. All of it is what commands do, with the keys that the node's process can read.

// maxLifetime of an invitation, in seconds: longer than anybody means.
const maxLifetime = 100 * 365 * 24 * 3600

func (s *server) invite(q *request) (any, error) {
	var n NewInvitation
	if err := q.read(&n); err != nil {
		return nil, err
	}
	if n.Lifetime < 0 || n.Lifetime > maxLifetime {
		return nil, bad("lifetime_seconds: %v is no lifetime", n.Lifetime)
	}
	if n.Uses < 0 {
		return nil, bad("uses: %d: nobody could join with the URL", n.Uses)
	}
	address := ""
	if n.Address != "" {
		to, err := command.PublicAddress(n.Address)
		if err != nil {
			return nil, bad("address %v", err)
		}
		address = to.String()
	}
	var notes bytes.Buffer
	lifetime := time.Duration(n.Lifetime * float64(time.Second))
	inv, err := command.RunInvite(q.Context(), command.Invite{
		Layout: s.Layout(), Invitee: n.Name, Address: address, Command: s.Command(), Port: s.Port(),
		Grant: ownership.Grant{Groups: n.Groups, Uses: n.Uses, Expires: lifetime, Approval: n.Approval},
		Dial:  func() (*control.Client, error) { return control.Pipe(s.Backend) },
	}, terminal.Streams{In: strings.NewReader(""), Out: io.Discard, Err: &notes})
	if errors.Is(err, invite.ErrNoAddress) {
		err = terminal.Hint(err, "say where: address; or on that machine: %s set Address HOST", s.Command())
	}
	if err != nil {
		return nil, err
	}
	made := MadeInvitation{
		Invitation: report.Invitation{Node: inv.Invitee, URL: inv.URL, Addresses: append([]string{}, inv.Addresses...), Again: inv.Again},
		QR:         []string{}, Notes: []string{},
	}
	if rows, err := terminal.QRModules(inv.URL); err == nil { // else it is too long for one
		made.QR = rows
	}
	if !inv.Expires.IsZero() {
		at := inv.Expires.UTC().Truncate(time.Second)
		made.Expires = &at
	}
	for line := range strings.Lines(notes.String()) {
		made.Notes = append(made.Notes, strings.TrimSpace(line))
	}
	return made, nil
}

func (s *server) withdraw(q *request) (any, error) {
	id := q.PathValue("id")
	err := command.Withdraw(s.Layout(), id)
	if err == nil {
		return Done{"the invitation is withdrawn"}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	n, err := s.network()
	if errors.Is(err, ownership.ErrOpen) {
		return nil, missing("there is no such invitation")
	}
	if err != nil {
		return nil, err
	}
	finger, err := roster.ParseFingerprint(id)
	if err != nil {
		return nil, missing("there is no such invitation")
	}
	for _, i := range n.Roster.State().Invitations {
		if roster.Fingerprint(i.Key) == finger {
			if err := n.Remove(ownership.Target{Key: i.Key}, ""); err != nil {
				return nil, err
			}
			return Done{"the invitation is withdrawn"}, nil
		}
	}
	return nil, missing("there is no such invitation")
}

func (s *server) approve(q *request) (any, error) {
	return s.decide(q, (*ownership.Network).Approve, "%s is a member now")
}

func (s *server) deny(q *request) (any, error) {
	return s.decide(q, (*ownership.Network).Deny, "%s was refused; its key counts for nothing any more")
}

// named is the name in the path of a request, and the network.
func (s *server) named(q *request) (node.Name, *ownership.Network, error) {
	name, err := nodeName(q.PathValue("name"))
	if err != nil {
		return "", nil, err
	}
	n, err := s.network()
	return name, n, err
}

// decide decides about a newcomer that waits.
func (s *server) decide(q *request, do func(*ownership.Network, node.Name) error, done string) (any, error) {
	name, n, err := s.named(q)
	if err != nil {
		return nil, err
	}
	waits := false
	for _, m := range n.Roster.State().Pending {
		waits = waits || m.Name == name
	}
	if !waits {
		return nil, missing("nobody called %s waits for approval", name)
	}
	if err := do(n, name); err != nil {
		return nil, err
	}
	return Done{fmt.Sprintf(done, name)}, nil
}

func (s *server) remove(q *request) (any, error) {
	n, err := s.network()
	if errors.Is(err, ownership.ErrOpen) {
		return s.removeHere(q)
	}
	if err != nil {
		return nil, err
	}
	t, err := n.Find(q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if id, _, err := n.Files.Identity(); err == nil && id.Key != nil && t.Member && t.Key == [32]byte(id.Key.Public()) {
		return nil, terminal.Hint(fmt.Errorf("removing %s: it is this node, which could not tell the others any more", n.Files.Name), "to leave the network: %s leave", s.Command())
	}
	if err := n.Remove(t, q.FormValue("reason")); err != nil {
		return nil, err
	}
	who := string(t.Name)
	if who == "" {
		who = roster.Fingerprint(t.Key)
	}
	done := fmt.Sprintf("%s is removed from the network, for ever", who)
	for _, o := range t.Owned {
		done += fmt.Sprintf("; the owner of the same name (%s) is still one: to change that, %s owners retire %s", roster.Fingerprint(o.Key), s.Command(), o.Name)
	}
	return Done{done}, nil
}

// removeHere removes a node of an open network from the files of this one.
func (s *server) removeHere(q *request) (any, error) {
	name, err := nodeName(q.PathValue("name"))
	if err != nil {
		return nil, err
	}
	if err := s.RemoveNode(name); err != nil {
		return nil, err
	}
	return Done{fmt.Sprintf("%s is removed on this node; in an open network the others keep it until it is removed there, too", name)}, nil
}

func (s *server) setPolicy(q *request) (any, error) {
	n, d, err := s.draft(q)
	if err != nil {
		return nil, err
	}
	if err := d.Err(); err != nil {
		return nil, terminal.Hint(fmt.Errorf("%w; nothing was signed", err), "POST /v1/policy/check says what is wrong")
	}
	changed, err := n.SetPolicy(d.Text)
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return Done{"this is the policy of the network already; nothing was signed"}, nil
	}
	return Done{fmt.Sprintf("the network has a new policy of %d rules", len(d.Policy.Rules))}, nil
}

func (s *server) clearPolicy(*request) (any, error) {
	n, err := s.network()
	if err != nil {
		return nil, err
	}
	changed, err := n.SetPolicy("")
	switch {
	case err != nil:
		return nil, err
	case !changed:
		return Done{"the network has no policy; nothing was signed"}, nil
	}
	return Done{"the network has no policy any more: all members may exchange all packets"}, nil
}

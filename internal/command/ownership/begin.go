package ownership

import (
	"fmt"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/members"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// Begin makes a network that was made just now a signed one. This node is its only member, and its owner's key is here.
func Begin(l confdir.Layout) (Adopted, error) {
	if HasRoster(l) { // made anew in a directory whose network goes on
		return Adopted{}, nil
	}
	nobody := func(func(*control.Client) error) error { return &control.DialError{Stage: control.NoPidFile} }
	return Adopt(l, nobody, Adoption{Recovery: true, Signed: true}, time.Now())
}

// Found is [Begin] for a network whose files stay if that fails. It shows the recovery key.
func Found(l confdir.Layout, s terminal.Streams) error {
	out, err := Begin(l)
	if err != nil {
		return terminal.Hint(fmt.Errorf("the network was made, but it is an open one: %w", err), "tincan roster adopt --signed, when the cause is gone; or leave it open")
	}
	return out.Show(l, s)
}

// Show tells the person at the terminal where the owner's key is, and what the recovery key is. Without a terminal what is
// printed goes into a log, most likely; then the recovery key goes into a file in place of that.
func (a Adopted) Show(l confdir.Layout, s terminal.Streams) error {
	if a.ID.IsZero() {
		return nil
	}
	say := func(format string, args ...any) { fmt.Fprintf(s.Err, format+"\n", args...) }
	say("owner's key: %s; it is on this machine only, so keep a copy in a safe place", l.OwnerKey())
	if a.Recovery == "" {
		return nil
	}
	return showRecovery(l, a.Recovery, s)
}

// showRecovery shows a recovery key once. Without a terminal it goes into a file that must not be there yet.
func showRecovery(l confdir.Layout, text string, s terminal.Streams) error {
	say := func(format string, args ...any) { fmt.Fprintf(s.Err, format+"\n", args...) }
	if !s.ErrIsTerminal() {
		if err := confdir.Create(l.RecoveryKey(), []byte(text+"\n"), confdir.SecretMode); err != nil {
			return terminal.Hint(fmt.Errorf("storing the recovery key: %w", err), "if an old one is there: write it down, and move the file away")
		}
		say("recovery key: %s; write it down, keep it apart from all machines, and delete that file: whoever has it can replace the owners", l.RecoveryKey())
		return nil
	}
	drawing, err := terminal.QR(text)
	if err != nil {
		return err
	}
	say("recovery key, shown this once; write it down and keep it apart from all machines: whoever has it can replace the owners")
	fmt.Fprintf(s.Err, "\n  %s\n\n%s\n", text, drawing)
	return nil
}

// ungranted are the subnets of this node's own host file that the others do not believe, since no owner has granted them; nil
// if the network does not care.
func (n *Network) ungranted() (list []subnet.Subnet) {
	m := n.Roster.State().Member(n.Files.Name)
	if m == nil || !n.Enforced() {
		return nil
	}
	for _, s := range granted(n.Files.Own.Subnets) {
		if !m.Granted(s) {
			list = append(list, s)
		}
	}
	return list
}

// GrantOwn grants this node the subnets that it lacks, with the owner's key if that is here; done tells so. Without the key
// list is what an owner would have to grant.
func (n *Network) GrantOwn() (list []subnet.Subnet, done bool, err error) {
	list = n.ungranted()
	if list == nil {
		return nil, false, nil
	}
	m := n.Roster.State().Member(n.Files.Name)
	all := granted(m.Subnets, list)
	key, err := members.OwnerKey(n.Layout)
	if err != nil || key == nil || !n.Roster.State().May(key.Public(), roster.RightAdmit) {
		return all, false, err
	}
	_, err = n.Admit(n.Files.Name, Changes{Subnets: all})
	return list, err == nil, err
}

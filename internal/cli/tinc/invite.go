package tinc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"tincan/internal/command"
	"tincan/internal/generate"
	"tincan/internal/invite"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// inviteNode is `tinc invite NAME`: only the URL goes to standard output.
func inviteNode(c *call, args []string) error {
	if len(args) == 0 {
		return sentence("Not enough arguments!")
	}
	if _, err := parseName(args[0]); err != nil {
		return err
	}
	inv, err := command.RunInvite(context.Background(), command.Invite{Layout: c.layout.ForClient(), Invitee: args[0], Command: "tinc"}, c.Streams)
	if errors.Is(err, invite.ErrTaken) {
		if _, statErr := os.Lstat(c.layout.Host(node.Name(args[0]))); statErr == nil {
			return sentence("A host config file for " + args[0] + " already exists!")
		}
		return sentence("A node with name " + args[0] + " is already known!")
	}
	if errors.Is(err, invite.ErrDynamicPort) {
		if _, dialErr := c.dial(); dialErr != nil {
			c.report(dialErr)
		}
		return terminal.Hint(err, "Please start tincd, or set Port to a number.")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.Out, inv.URL)
	return err
}

// join is `tinc join [URL]`.
func join(c *call, args []string) error {
	url := ""
	switch {
	case len(args) > 0:
		url = args[0]
	case c.interactive():
		fmt.Fprint(c.Err, "Enter invitation URL: ")
		fallthrough
	default:
		var err error
		if url, err = c.Line(); err != nil || url == "" {
			return sentence("Error while reading the invitation URL: there is none.")
		}
	}
	if _, err := invite.ParseURL(url); err != nil { // before it costs a key
		return fmt.Errorf("%w: %w", sentence("Invalid invitation URL"), err)
	}
	rsa, err := command.MakeRSA(generate.DefaultRSABits, c.Streams)
	if err != nil {
		return err
	}
	res, err := invite.Join(context.Background(), invite.Options{
		URL: url, Place: c.place, Force: c.force, TincUp: true, RSAKey: rsa,
		Log: func(text string) { fmt.Fprintln(c.Err, text) },
	})
	if err != nil {
		return c.joinError(err)
	}
	if res.TincUp != "" && !res.Enabled {
		fmt.Fprintf(c.Err, "The invitation comes with a script, %s. Read it, and rename it to tinc-up to use it.\n", res.TincUp)
	}
	fmt.Fprintf(c.Err, "Configuration stored in: %s\nInvitation successfully accepted.\n", res.Layout.ConfBase)
	return nil
}

// joinError puts tinc's sentence in front of the reason why somebody could not join.
func (c *call) joinError(err error) error {
	var dns *net.DNSError
	var op *net.OpError
	var refusal invite.Refusal
	switch {
	case errors.Is(err, invite.ErrMember):
		return terminal.Hint(err, "to make a second node on this machine: tinc -n NETNAME join URL")
	case errors.Is(err, invite.ErrOccupied):
		return sentence("Configuration file " + c.layout.TincConf() + " already exists!")
	case errors.Is(err, invite.ErrOtherKey):
		return fmt.Errorf("%w. %w", sentence("Peer has an invalid key"), err)
	case errors.As(err, &dns):
		return fmt.Errorf("%w: %w", sentence("Error looking up "+dns.Name), err)
	case errors.As(err, &op) && op.Op == "dial":
		return sentence(fmt.Sprintf("Could not connect to %s: %v\nCould not connect to inviter. Is the URL right, and does the inviter run?", op.Addr, op.Err))
	case errors.Is(err, invite.ErrNoGreeting), errors.Is(err, invite.ErrNoneOpen):
		return fmt.Errorf("%w: %w", sentence("Could not connect to inviter"), err)
	case errors.As(err, &refusal):
		return fmt.Errorf("%w. %w", err, sentence("Please try again, with another invitation"))
	}
	return err
}

func dumpInvitations(c *call) error {
	list, err := command.OpenInvitations(c.layout)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(c.Err, "No outstanding invitations.")
	}
	for _, i := range list {
		fmt.Fprintln(c.Out, i.File, i.Invitee)
	}
	return nil
}

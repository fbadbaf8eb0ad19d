package join

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/newcomers"
	"tincan/internal/cli/service"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/invite"
	"tincan/internal/oserr"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

func inviteCommand(e *env.Env) *cobra.Command {
	address, asJSON, asQR := "", false, false
	var grant ownership.Grant
	c := &cobra.Command{
		Use:   "invite NAME",
		Short: "Print a one-time invitation URL for a new node",
		Long: `Prints a URL. Whoever uses it with "tincan join" becomes the node NAME of this
network. It works once and within a week. Treat it like a password.

In a signed network every member that can be reached lets the newcomer in, also when this
node is off. NAME may end in *: each newcomer gets a number in its place.`,
		Args: frontend.Exactly("the NAME of the new node", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			switch {
			case grant.Uses < 1:
				return fmt.Errorf("--uses %d: nobody could join with the URL", grant.Uses)
			case cmd.Flags().Changed("expires") && grant.Expires <= 0:
				return fmt.Errorf("--expires %v: the URL would never work", grant.Expires)
			}
			if address != "" {
				to, err := command.PublicAddress(address)
				if err != nil {
					return fmt.Errorf("--address %w", err)
				}
				address = to.String()
			}
			inv, err := command.RunInvite(context.Background(), command.Invite{Layout: l.ForClient(), Invitee: args[0], Address: address, Command: e.Self(), Grant: grant}, e.Streams)
			switch {
			case errors.Is(err, invite.ErrNoAddress):
				return terminal.Hint(err, "set it with: %s set Address HOST", e.Self())
			case err != nil:
				return err
			}
			if inv.Again {
				e.Say("note: there is another open invitation for %s; only the first one used is valid", inv.Invitee)
			}
			for _, addr := range inv.Addresses {
				e.Say("%s will have the address %s", inv.Invitee, addr)
			}
			if asQR {
				drawing, err := terminal.QR(inv.URL)
				if err != nil {
					return err
				}
				e.Say("%s", drawing)
			}
			if asJSON {
				return e.PrintJSON(report.Invitation{Node: inv.Invitee, URL: inv.URL, Addresses: append([]string{}, inv.Addresses...), Again: inv.Again})
			}
			_, err = fmt.Fprintln(e.Out, inv.URL)
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	c.Flags().StringVar(&address, "address", "", "`host[:port]` in the URL, in place of the Address of the configuration")
	c.Flags().BoolVar(&asQR, "qr", false, "also show the URL as a QR code, for a camera")
	c.Flags().StringSliceVar(&grant.Groups, "group", nil, "`group` of the newcomer, for the policy (signed networks)")
	c.Flags().IntVar(&grant.Uses, "uses", 1, "how many nodes may join with the URL (signed networks)")
	c.Flags().DurationVar(&grant.Expires, "expires", 0, "for how long the URL works, as in 48h (signed networks; else InvitationExpire)")
	c.Flags().BoolVar(&grant.Approval, "approve", false, "an owner has to approve the newcomer (signed networks)")
	return c
}

func joinCommand(e *env.Env) *cobra.Command {
	var o joinOptions
	c := &cobra.Command{
		Use:   "join [URL]",
		Short: "Join a network with an invitation URL",
		Long: `Asks the inviting node for its configuration, sends it the public key of this machine and stores
everything that "tincan up" needs. Without a URL on the command line, where other
users of this machine could see it, it is read from standard input.`,
		Args: frontend.Between("one URL", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return join(e, args, o) },
	}
	c.Flags().BoolVar(&o.force, "force", false, "also store unsafe variables of the invitation")
	c.Flags().BoolVar(&o.service, "service", false, "install the node as a service that starts now and at boot")
	frontend.JSONFlag(c, &o.json)
	return c
}

// joinOptions are the options of join.
type joinOptions struct{ force, service, json bool }

// joinHint adds what a newcomer can do about an error of joining. web says that the URL is a web address, and no invitation.
func joinHint(err error, web bool) error {
	var refusal invite.Refusal
	var lookup *net.DNSError
	var network net.Error
	hint := ""
	switch {
	case web:
		hint = "a URL that begins with http is that of a boot node, most likely: tincan up --join URL; an invitation looks like HOST:PORT/ and 48 characters"
	case errors.As(err, new(*invite.UnansweredError)):
		return err // it has a hint
	case errors.Is(err, invite.ErrOccupied):
		hint = "this machine has a network of that name; to join under another: tincan -n NETWORK join URL"
	case errors.Is(err, invite.ErrOtherKey):
		hint = "ask for a new URL; on a node of the network: tincan invite NAME"
	case errors.Is(err, invite.ErrNoneOpen):
		hint = "if it was made only just now, wait a moment and repeat it; else ask for a new URL; on a node of the network: tincan invite NAME"
	case errors.As(err, &refusal):
		switch refusal {
		case invite.Busy, invite.BadKey:
			hint = "wait a moment, and repeat it with the same URL"
		case invite.Taken:
			hint = "ask for a URL with another name; on a node of the network: tincan invite NAME"
		case invite.Full:
			hint = "the network needs a larger range, or a node must be removed"
		case invite.Failed:
			hint = "the log of the inviter says more; repeat it with the same URL when that is fixed"
		default:
			hint = "ask for a new URL; on a node of the network: tincan invite NAME"
		}
	case errors.As(err, &lookup):
		hint = "is the name of the host in the URL right, and has this machine a name server? Otherwise ask for a URL with an address: tincan invite NAME --address ADDRESS"
	case errors.Is(err, oserr.Refused):
		hint = "the inviter's node does not run, or it listens on another port: have it started (tincan up), and create a new URL if its port has changed; the same URL can be used again"
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		hint = "a firewall, or an address that cannot be reached from here: the port in the URL has to be open for TCP at the inviter, or ask for a URL with another address: tincan invite NAME --address HOST"
	case errors.Is(err, invite.ErrNoGreeting):
		hint = "look into the inviter's log, or ask for a new URL: tincan invite NAME"
	}
	if hint == "" {
		return err
	}
	return terminal.Hint(err, "%s", hint)
}

func join(e *env.Env, args []string, o joinOptions) error {
	url := ""
	if len(args) > 0 {
		url = args[0]
	} else {
		if e.Interactive() {
			fmt.Fprint(e.Err, "URL of the invitation: ")
		}
		url, _ = e.Line()
		if url == "" {
			return terminal.Hint(errors.New("no URL was given"), "tincan join URL")
		}
	}
	res, err := invite.Join(context.Background(), invite.Options{
		URL: url, Place: e.Place, Force: o.force,
		Log: func(text string) { e.Say("%s", text) },
	})
	if err != nil {
		_, wrong := invite.ParseURL(url)
		return joinHint(unprivileged(e, err), wrong != nil && (strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")))
	}
	conf := ""
	if e.Place.Conf != "" {
		conf = res.Layout.ConfBase
	}
	e.Say("joined as %s; the files are in %s", res.Name, res.Layout.ConfBase)
	for _, addr := range res.Addresses {
		e.Say("the address in the VPN is %s", addr)
	}
	warnOfOverlaps(e, res.Addresses)
	e.Say("stored from the invitation: %s", strings.Join(res.Settings, "; "))
	if len(res.Hosts) > 0 {
		e.Say("stored the host files of: %s", strings.Join(res.Hosts, " "))
	}
	if res.Approval {
		e.Say("nobody lets this node in before an owner of the network has approved it, where the owner's key is: %s approve %s", e.Self(), res.Name)
	}
	if o.json {
		if err := e.PrintJSON(report.Joined{
			Name: res.Name, Network: res.Layout.NetName, Directory: res.Layout.ConfBase, Addresses: append([]string{}, res.Addresses...),
			Settings: append([]string{}, res.Settings...), Hosts: append([]string{}, res.Hosts...), Approval: res.Approval, Service: o.service,
		}); err != nil {
			return err
		}
	}
	if !o.service {
		sayNext(e, res.Layout.NetName, conf)
		return nil
	}
	e.Place.Net, e.Place.Conf = res.Layout.NetName, conf
	return terminal.Hint(service.Install(e, newcomers.Options{}, false), "this machine has joined nevertheless; start the node with: %s up", e.Self())
}

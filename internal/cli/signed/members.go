package signed

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/ownership"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
	"tincan/internal/wire"
)

func membersCommand(e *env.Env) *cobra.Command {
	all, asJSON := false, false
	c := &cobra.Command{
		Use:   "members",
		Short: "List who belongs to a signed network",
		Long: `Lists the members of a signed network: name, fingerprint of the key, subnets, groups (and
+capabilities), who admitted them, and when this node last reached them. Newcomers that wait
for approval follow, and what does not count because something else does, such as the second
use of an invitation.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			v, err := view(e)
			if err != nil {
				return err
			}
			if asJSON {
				return e.PrintJSON(v)
			}
			if v.Network == "" {
				_, err := open(e) // which says what to do
				return err
			}
			return report.WriteMembers(e.Out, v, report.Form{Now: time.Now(), Command: e.Self()}, all)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "show who was removed, too")
	frontend.JSONFlag(c, &asJSON)
	return c
}

// view is what the running node says about the roster, or else what is in the files.
func view(e *env.Env) (v members.View, err error) {
	err = e.Ask(func(c *control.Client) error { return c.Members(&v) })
	var none *control.DialError
	if !errors.As(err, &none) && !errors.Is(err, control.ErrUnsupported) {
		return v, err
	}
	n, err := open(e)
	if err != nil {
		return v, err
	}
	v = members.NewView(n.Roster.State(), n.Files.Name, n.Files.Settings.Roster.String(), time.Now())
	seen := daemon.LastSeen(n.Layout)
	v.See(func(name node.Name) (time.Time, bool) { return seen[name], false })
	return v, nil
}

type admitFlags struct {
	key                         string
	groups, subnets             []string
	relay, exit, public, invite bool
}

func admitCommand(e *env.Env) *cobra.Command {
	var f admitFlags
	c := &cobra.Command{
		Use:   "admit NODE",
		Short: "Make a node a member, or change what a member has",
		Long: `Makes a node a member of the signed network: one whose host file is here, whose key was
learned, or whose key is given. It may announce the subnets of its host file unless --subnet
names others. For a member the command replaces what the options name; all else stays.
Needs the key of an owner with the right admit.`,
		Args: frontend.Exactly("the name of a NODE", 1),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			changes, err := f.changes(c)
			if err != nil {
				return err
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			existed, err := n.Admit(name, changes)
			if err != nil {
				return frontend.Suggest(err, string(name), func() []string { return append(e.Nodes(), memberNames(n)...) })
			}
			m := n.Roster.State().Member(name)
			switch {
			case m == nil:
				return fmt.Errorf("admitting %s: the statement is in the roster, but does not count: see %s members", name, e.Self())
			case existed:
				e.Say("changed %s (%s): %s", name, fingerprint(m), what(m))
			default:
				e.Say("%s (%s) is a member now: %s", name, fingerprint(m), what(m))
			}
			return nil
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "the Ed25519 public `key` of the node, 43 characters")
	c.Flags().StringArrayVar(&f.groups, "group", nil, "a `group` for the policy; may be repeated; an empty one takes all away")
	c.Flags().StringArrayVar(&f.subnets, "subnet", nil, "a `subnet` that the node may announce; may be repeated; an empty one takes all away")
	c.Flags().BoolVar(&f.relay, "relay", false, "it may carry packets of others")
	c.Flags().BoolVar(&f.exit, "exit", false, "it may forward packets to the outside")
	c.Flags().BoolVar(&f.public, "door", false, "it may be a door for devices that have WireGuard (Door = yes there)")
	c.Flags().BoolVar(&f.invite, "invite", false, "it may invite newcomers, into its own groups")
	return c
}

// changes are what the options say.
func (f admitFlags) changes(c *cobra.Command) (out ownership.Changes, err error) {
	if f.key != "" {
		key, err := keys.ParsePublicKey(f.key)
		if err == nil {
			err = key.Valid()
		}
		if err != nil {
			return out, fmt.Errorf("--key: %w", err)
		}
		out.Key = &key
	}
	if c.Flags().Changed("group") {
		out.Groups = []string{}
		for _, g := range f.groups {
			if g != "" {
				out.Groups = append(out.Groups, g)
			}
		}
	}
	if c.Flags().Changed("subnet") {
		out.Subnets = []subnet.Subnet{}
		for _, text := range f.subnets {
			if text == "" {
				continue
			}
			s, err := subnet.ParseLocal(text)
			if err != nil {
				return out, fmt.Errorf("--subnet: %w", err)
			}
			out.Subnets = append(out.Subnets, s)
		}
	}
	var caps roster.Capabilities
	for name, bit := range map[string]roster.Capabilities{"relay": roster.CapRelay, "exit": roster.CapExit, "door": roster.CapDoor, "invite": roster.CapInvite} {
		if c.Flags().Changed(name) {
			out.Capabilities = &caps
			if c.Flags().Lookup(name).Value.String() == "true" {
				caps |= bit
			}
		}
	}
	return out, nil
}

func fingerprint(m *roster.Membership) string {
	return roster.Fingerprint(roster.Identity(m.Key, m.RSA))
}

// what is what a member has.
func what(m *roster.Membership) string {
	text := "no subnets"
	if len(m.Subnets) > 0 {
		var list []string
		for _, s := range m.Subnets {
			list = append(list, s.String())
		}
		text = strings.Join(list, ", ")
	}
	if len(m.Groups) > 0 {
		text += "; groups " + strings.Join(m.Groups, ", ")
	}
	return text
}

func approveCommand(e *env.Env) *cobra.Command {
	return pendingCommand(e, "approve", "Approve a newcomer that waits for it", "Makes a newcomer a member whose invitation asks for approval. Compare its fingerprint first.",
		"%s is a member now", (*ownership.Network).Approve)
}

func denyCommand(e *env.Env) *cobra.Command {
	return pendingCommand(e, "deny", "Refuse a newcomer that waits for approval", "Removes the key of a newcomer that waits for approval, for ever.",
		"%s was refused; its key counts for nothing any more", (*ownership.Network).Deny)
}

// pendingCommand is a command about a newcomer that waits for approval.
func pendingCommand(e *env.Env, verb, short, long, done string, do func(*ownership.Network, node.Name) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NODE", Short: short,
		Long: long + "\n\"tincan members\" shows who waits.",
		Args: frontend.Exactly("the name of a NODE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			if err := do(n, name); err != nil {
				return frontend.Suggest(err, string(name), func() (names []string) {
					for _, m := range n.Roster.State().Pending {
						names = append(names, string(m.Name))
					}
					return names
				})
			}
			e.Say(done, name)
			return nil
		},
	}
}

func leaveCommand(e *env.Env) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use:   "leave",
		Short: "Leave the signed network, for ever",
		Long: `Signs with this node's own key that it leaves the network. All other nodes end their connections
with it, and this key is never accepted again; this node ends, and its files stay. To come
back a node needs a new key and a new invitation.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			if key, _ := members.OwnerKey(n.Layout); key != nil && n.Roster.State().May(key.Public(), 0) {
				e.Say("note: the owner's key on this machine (%s) remains valid; keep it, or retire that owner first", n.Layout.OwnerKey())
			}
			alone := terminal.Hint(errors.New("leaving cannot be undone"), "to do it without being asked: %s leave --yes", e.Self())
			if err := confirm(e, yes, "leave the network for ever?", alone); err != nil {
				return err
			}
			if err := n.Leave(); err != nil {
				return err
			}
			e.Say("this node has left the network; its files stay")
			return nil
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// Remove removes a member of a signed network, a newcomer, an invitation or a key. here removes a node from the files of
// this node, as long as the roster is not enforced.
func Remove(e *env.Env, about, reason string, here func(node.Name) error) error {
	n, err := open(e)
	if err != nil {
		return err
	}
	t, err := n.Find(about)
	if err != nil {
		return frontend.Suggest(err, about, func() []string { return memberNames(n) })
	}
	if id, _, err := n.Files.Identity(); err == nil && id.Key != nil && t.Member && t.Key == [32]byte(id.Key.Public()) {
		return itself(e, n)
	}
	stock := stockNodes(e, t.Name)
	if err := n.Remove(t, reason); err != nil {
		return err
	}
	switch {
	case t.Name != "":
		e.Say("%s (%s) is removed from the network, for ever", t.Name, roster.Fingerprint(t.Key))
	default:
		e.Say("%s is removed from the network, for ever", roster.Fingerprint(t.Key))
	}
	for _, o := range t.Owned {
		if err := alsoOwner(e, n, o); err != nil {
			return err
		}
	}
	if !t.Member {
		return nil
	}
	if !n.Enforced() {
		e.Say("the nodes only log what they would refuse (Roster = %s); to enforce the roster: %s set Roster signed, on every node", n.Files.Settings.Roster, e.Self())
		return here(t.Name)
	}
	sayGone(e, t.Name)
	for _, name := range stock {
		e.Say("note: %s runs tinc, which checks no roster: delete hosts/%s there, too", name, t.Name)
	}
	return nil
}

// itself refuses to remove this node. It would end before the others have what is signed anew of that which it had signed, and
// they would not belong to the network any more.
func itself(e *env.Env, n *ownership.Network) error {
	err := fmt.Errorf("removing %s: it is this node, which could not tell the others any more", n.Files.Name)
	if key, _ := members.OwnerKey(n.Layout); key == nil {
		return terminal.Hint(err, "to leave the network: %s leave", e.Self())
	}
	return terminal.Hint(err, "to leave the network: %s leave; if the node's key was stolen, copy %s to the directory of another member, and remove %s there", e.Self(), n.Layout.OwnerKey(), n.Files.Name)
}

// alsoOwner offers to put out the owner of the same name as a member that is removed: its key is another one.
func alsoOwner(e *env.Env, n *ownership.Network, o roster.Owner) error {
	if !e.Interactive() {
		e.Say("note: the owner of the same name (%s) is still one; to change that, if the key may be in wrong hands: %s owners compromised %s; else: %s owners retire %s", roster.Fingerprint(o.Key), e.Self(), o.Name, e.Self(), o.Name)
		return nil
	}
	var f fates
	if err := f.ask(e, o, "also an owner"); err != nil {
		return err
	}
	switch f.of[o.Key] {
	case lost:
		return retire(e, n, o, 0)
	case stolen:
		return compromised(e, n, o, 0, nil, heritage{})
	}
	return nil
}

// sayGone waits for the running node to have done with a removed one, and says what the others do.
func sayGone(e *env.Env, name node.Name) {
	connected := 0
	gone := func() bool {
		still := false
		err := e.Ask(func(c *control.Client) error {
			s, err := c.Status()
			if err == nil {
				v := s.Node(name)
				still, connected = v != nil && (v.Connected || v.Reachable), s.Summary.Connections
			}
			return err
		})
		return err != nil || !still
	}
	ran := runs(e)
	switch ended := eventually(2*time.Second, gone); {
	case !ran:
		e.Say("this node does not run: the others hear of it when it does: %s up", e.Self())
	case !ended:
		e.Say("warning: this node still has a connection with %s; see: %s why %s", name, e.Self(), name)
	case connected == 0:
		e.Say("this node has no connection: the others hear of it as soon as it has")
	default:
		e.Say("this node has ended its connections with %s; the others do as soon as they hear of it, those that are off when they are back", name)
	}
}

// stockNodes are the reachable nodes, but for one, that take no roster.
func stockNodes(e *env.Env, but node.Name) (names []node.Name) {
	_ = e.Ask(func(c *control.Client) error {
		nodes, err := c.Nodes("")
		for _, v := range nodes {
			if v.Name != but && v.Name != c.Name() && control.View(&v).Reachable && wire.Options(v.Options)&wire.RosterExchange == 0 {
				names = append(names, v.Name)
			}
		}
		return err
	})
	return names
}

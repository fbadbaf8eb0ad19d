package join

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/bootnode"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

func genCommand(e *env.Env) *cobra.Command {
	var g command.Gen
	network, dir, open := "", "", false
	c := &cobra.Command{
		Use:   "gen [BOOTNODE]...",
		Short: "Create a node and join a network with a token",
		Long: `Makes this machine a node. With --standalone it is the first one of a new
network, which is a signed one unless --open is given or the engine is tincd. Otherwise it joins through a BOOTNODE, given as HOST:8655 or a URL;
several are tried in turn until --timeout. The network is called dnet unless -n
says otherwise.

  tincan gen --standalone -a vpn.example.org     the first node
  tincan bootnode --token-file FILE              admits others, on port 8655
  tincan gen --token-file FILE vpn.example.org   the next node

Every option can be given in the environment, --connect-to as TINCAN_CONNECT_TO or
TINC_BOOT_CONNECT_TO. Nothing that exists is overwritten without --force, and keys
not even then.`,
		Args: cobra.ArbitraryArgs,
		PreRun: func(cmd *cobra.Command, _ []string) {
			frontend.FromEnvironment(cmd.LocalNonPersistentFlags(), "TINC_BOOT_")
		},
		RunE: func(_ *cobra.Command, args []string) error {
			g.URLs, g.Place = args, e.Place
			if network != "" {
				if g.Place.Net = node.Normalise(network); g.Place.Net == "" {
					return fmt.Errorf("--network %.40q has none of the letters a-z and digits that a name is made of", network)
				}
			}
			if dir != "" && g.Place.Conf == "" {
				if g.Place.Net == "" {
					g.Place.Net = command.DefaultNetwork
				}
				g.Place.Conf = filepath.Join(dir, g.Place.Net)
			}
			ctx, stop := command.Interruptible()
			defer stop()
			m, err := g.Run(ctx, e.Streams)
			if err != nil {
				return err
			}
			m.Print(e.Out)
			if g.Standalone && g.Engine == command.Embedded && !open {
				if err := ownership.Found(m.Layout, e.Streams); err != nil {
					return err
				}
			}
			command.SayWhoAnswers(ctx, m, e.Streams)
			if g.Engine == command.TincdOne {
				e.Say("next: systemctl start tinc@%s", m.Layout.NetName)
				return nil
			}
			net := g.Place.Net
			if g.Place.Conf == "" { // also of the network that nobody has named
				net = m.Layout.NetName
			}
			sayNext(e, net, g.Place.Conf)
			return nil
		},
	}
	f := c.Flags()
	frontend.GenFlags(&g, f)
	f.BoolVar(&open, "open", false, "with --standalone: make an open network, without owners, as tinc-boot does")
	f.StringVar(&network, "network", "", "`name` of the network, as -n")
	f.StringVar(&dir, "dir", "", "base `directory`, in place of /etc/tinc")
	return c
}

func bootnodeCommand(e *env.Env) *cobra.Command {
	s := command.Serve{Generate: true}
	var tok tokenFlags
	dir, service, name := "", false, ""
	c := &cobra.Command{
		Use:   "bootnode",
		Short: "Admit new nodes that know a token",
		Long: `Admits new nodes on port 8655 until it is stopped: they run "tincan gen" or
"tincan up --join". The node itself need not run. Without --token a strong one
is created and printed. More tokens, with limits: tincan token.

With --service a systemd unit is written instead, and the token is kept in a
separate file.

The protocols of tinc-boot are off. --protocol gen1 is for its command gen,
--protocol gen2 for its run; they are weaker, so a token for them must be strong.`,
		Args: frontend.Between("no arguments", 0, 0),
		PreRun: func(cmd *cobra.Command, _ []string) {
			frontend.FromEnvironment(cmd.LocalNonPersistentFlags(), "TINC_BOOT_")
		},
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.Layout, err = command.BootLayout(e.Place, dir); err != nil {
				return err
			}
			if s.Limits, err = tok.limits("command line", false); err != nil {
				return err
			}
			if service {
				return s.Install([]string{}, e.Streams)
			}
			return s.Run(e.Streams)
		},
	}
	f := c.Flags()
	frontend.TokenFlags(&s.Token, f)
	frontend.ServeFlags(&s, f)
	tok.flags(f, 0, bootnode.Unlimited)
	f.StringVar(&s.Binding, "binding", fmt.Sprintf(":%d", bootnode.DefaultPort), "`address` to listen on")
	f.StringVar(&dir, "dir", "", "`directory` of the network (default that of -n, or /etc/tinc/dnet)")
	f.StringVar(&name, "name", "", "ignored: the `name` is read from tinc.conf")
	f.BoolVar(&service, "service", false, "write a systemd unit for this service and exit")
	return c
}

// tokenFlags are the limits of a token.
type tokenFlags struct {
	label   string
	expires time.Duration
	uses    int
	node    string
}

type flagSet interface {
	StringVar(p *string, name, value, usage string)
	IntVar(p *int, name string, value int, usage string)
	DurationVar(p *time.Duration, name string, value time.Duration, usage string)
}

func (t *tokenFlags) flags(f flagSet, expires time.Duration, uses int) {
	f.StringVar(&t.label, "label", "", "`text` that identifies the token in the log")
	f.DurationVar(&t.expires, "expires", expires, "how long the token is valid, such as 24h; 0 means forever")
	f.IntVar(&t.uses, "uses", uses, "how many nodes may join with the token; -1 means any number")
	f.StringVar(&t.node, "for", "", "only the `node` of this name may join with the token")
}

func (t tokenFlags) limits(label string, old bool) (l bootnode.Limits, err error) {
	l = bootnode.Limits{Label: t.label, Uses: t.uses, Old: old}
	if l.Label == "" {
		l.Label = label
	}
	switch {
	case t.uses == 0 || t.uses < bootnode.Unlimited:
		return l, errors.New("--uses is a number of nodes, or -1")
	case t.expires < 0:
		return l, errors.New("--expires lies in the past")
	case t.expires > 0:
		l.Expires = time.Now().Add(t.expires)
	}
	if t.node != "" {
		if l.Name, err = node.ParseName(t.node); err != nil {
			return l, fmt.Errorf("--for: %w", err)
		}
	}
	return l, nil
}

func tokenCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke join tokens",
		Long: `A token admits new nodes at a boot node ("tincan bootnode", "tincan up --boot").
It has a time limit and a number of uses, and can be revoked at any time; a
running service notices immediately.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := frontend.Between("new, list or revoke", 1, -1)(cmd, args); err != nil {
				return err
			}
			return frontend.NoSuchCommand(cmd, args)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	var at bootnode.StoreURL
	frontend.StoreFlag(&at, c.PersistentFlags())
	c.AddCommand(tokenNewCommand(e, &at), tokenListCommand(e, &at), tokenRevokeCommand(e, &at), tokenReleaseCommand(e, &at))
	return c
}

func bootStore(e *env.Env, at bootnode.StoreURL) (*bootnode.Store, confdir.Layout, error) {
	l, err := command.BootLayout(e.Place, "")
	if err != nil {
		return nil, l, err
	}
	if _, err := os.Stat(l.TincConf()); err != nil {
		return nil, l, terminal.Hint(fmt.Errorf("there is no network in %s", l.ConfBase), "%s", e.WhichNetwork())
	}
	s, err := bootnode.OpenStoreAt(l, at)
	return s, l, err
}

func tokenNewCommand(e *env.Env, at *bootnode.StoreURL) *cobra.Command {
	var tok tokenFlags
	var given command.Token
	old, weak, asJSON := false, false, false
	c := &cobra.Command{
		Use:   "new",
		Short: "Print a new token",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			s, l, err := bootStore(e, *at)
			if err != nil {
				return err
			}
			limits, err := tok.limits("by hand", old)
			if err != nil {
				return err
			}
			secret, err := given.Secret(e.Streams)
			if errors.Is(err, command.ErrNoToken) {
				secret, err = bootnode.NewSecret(rand.Reader)
			}
			if err != nil {
				return err
			}
			if old && secret.Weak() && !weak {
				return command.ErrWeakToken
			}
			t, err := command.AddToken(l, s, secret, limits)
			if err != nil {
				return command.StoreHint(err)
			}
			e.Say("token %s; treat what follows like a password", t.ID)
			if secret.Groups() != secret.Reveal() {
				e.Say("to read it out: %s", secret.Groups())
			}
			if asJSON {
				return e.PrintJSON(report.NewToken{Token: tokenForm(t), Secret: secret.Reveal()})
			}
			_, err = fmt.Fprintln(e.Out, secret.Reveal())
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	frontend.TokenFlags(&given, c.Flags())
	tok.flags(c.Flags(), time.Hour, 1)
	c.Flags().BoolVar(&old, "old", false, "make the token valid for the protocols of tinc-boot, too")
	c.Flags().BoolVar(&weak, "allow-weak-token", false, "accept a token that can be guessed from one recorded join")
	return c
}

func tokenListCommand(e *env.Env, at *bootnode.StoreURL) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List valid tokens (not their secrets)",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			s, _, err := bootStore(e, *at)
			if err != nil {
				return err
			}
			tokens, err := s.List()
			if err != nil {
				return command.StoreHint(err)
			}
			if asJSON {
				out := report.Tokens{Tokens: []report.Token{}}
				for _, t := range tokens {
					out.Tokens = append(out.Tokens, tokenForm(t))
				}
				return e.PrintJSON(out)
			}
			if len(tokens) == 0 {
				e.Say("no tokens; make one with: %s token new", e.Self())
			}
			w := tabwriter.NewWriter(e.Out, 0, 8, 2, ' ', 0)
			for _, t := range tokens {
				uses := "any number"
				expires := "never expires"
				who := "anybody"
				old := ""
				if t.Left >= 0 {
					uses = fmt.Sprintf("%d left", t.Left)
				}
				if !t.Expires.IsZero() {
					expires = "until " + t.Expires.Local().Format("2006-01-02 15:04")
				}
				if t.Name != "" {
					who = "for " + string(t.Name)
				}
				if t.Old != nil {
					old = "also old protocols"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d joined\t%s\n", t.ID, t.Label, uses, expires, who, len(t.Joined), old)
			}
			return w.Flush()
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func tokenRevokeCommand(e *env.Env, at *bootnode.StoreURL) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "revoke ID|LABEL",
		Short: "Revoke a token",
		Args:  frontend.Exactly("the ID or label of a token", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, l, err := bootStore(e, *at)
			if err != nil {
				return err
			}
			n, left, err := command.RevokeToken(l, s, args[0])
			if err == nil && n == 0 {
				return terminal.Hint(fmt.Errorf("there is no token %.40q", args[0]), "see them with: %s token list", e.Self())
			}
			if err == nil {
				e.Say("revoked; nodes that have joined with it stay")
			}
			for _, f := range left {
				e.Say("other members still admit with it; where an owner's key is: tincan remove %s", f)
			}
			if err == nil && asJSON {
				return e.PrintJSON(report.Revoked{Revoked: n})
			}
			return command.StoreHint(err)
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func tokenReleaseCommand(e *env.Env, at *bootnode.StoreURL) *cobra.Command {
	return &cobra.Command{
		Use:   "release NODE",
		Short: "Let another node have the name and address of one that has joined with a token",
		Long: `For a node that is gone for good: forgets that it has joined, so that another one,
with another key, can join under its name, and its address can be given away. Uses
stay counted. In a signed network removing the node is enough.`,
		Args: frontend.Exactly("the name of a node", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			s, l, err := bootStore(e, *at)
			if err != nil {
				return err
			}
			found, err := s.Release(name)
			if err != nil {
				return command.StoreHint(err)
			}
			if !found {
				return terminal.Hint(fmt.Errorf("no node %s has joined with a token", name), "see who has: %s token list --json", e.Self())
			}
			e.Say("released")
			if _, err := os.Stat(l.Host(name)); err == nil {
				e.Say("here its host file keeps name and address until you delete it: %s", l.Host(name))
			}
			return nil
		},
	}
}

// tokenForm puts a token into its form.
func tokenForm(t bootnode.Token) report.Token {
	r := report.Token{ID: t.ID, Label: t.Label, Created: t.Created.UTC(), Node: t.Name, Old: t.Old != nil, Joined: append([]node.Name{}, t.Joined...)}
	if t.Left >= 0 {
		r.Left = &t.Left
	}
	if !t.Expires.IsZero() {
		expires := t.Expires.UTC()
		r.Expires = &expires
	}
	return r
}

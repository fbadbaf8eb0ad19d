package signed

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

func ownersCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "owners",
		Short: "Show and change who decides about a signed network",
		Long: `An owner is a key that may sign for a signed network: members, removals, the policy, the owners
themselves. It is in the file owner_key.priv on the owner's machine.`,
		Args: frontend.NoSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(ownersShowCommand(e), ownersKeyCommand(e), ownersAddCommand(e), ownersThresholdCommand(e), ownersRetireCommand(e),
		ownersCompromisedCommand(e), ownersSignCommand(e), recoverCommand(e))
	return c
}

func ownersShowCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "show",
		Short: "List the owners, their rights, and changes that wait for signatures",
		Long: `Lists the owners, the most senior one first, with their fingerprints and rights, and says whose key
is on this machine, how many owners have to sign a change, and which changes wait for that.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			var here keys.PublicKey
			key, err := members.OwnerKey(n.Layout)
			switch {
			case err != nil:
				e.Say("note: whether the key of an owner is on this machine cannot be told: %v", err)
			case key != nil:
				here = key.Public()
			}
			return env.Show(e, report.NewOwners(n.Roster, here), asJSON, func(w io.Writer, v report.Owners) error {
				return report.WriteOwners(w, v, report.Form{Command: e.Self()})
			})
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func ownersKeyCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "key",
		Short: "Make the key with which you can become an owner, on your machine",
		Long: `Prints the public half of the owner's key of this machine. If there is none yet, it is made first, in
owner_key.priv in the directory of the network, readable by its user only. The key has no rights until
an owner adds it, on that owner's machine: tincan owners add NAME KEY. The private half stays here.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			key, made, err := ownership.OwnerKey(l)
			if err != nil {
				return err
			}
			v := report.OwnersKey{Key: key.String(), Fingerprint: roster.Fingerprint(key), File: l.OwnerKey(), Made: made}
			if n, err := ownership.Open(l, e.Ask); err == nil {
				v.Owner = n.Roster.State().Owners.May(key, 0)
			}
			if asJSON {
				return e.PrintJSON(v)
			}
			if made {
				e.Say("made %s; keep a copy of it in a safe place", v.File)
			}
			e.Say("fingerprint %s", v.Fingerprint)
			if v.Owner {
				e.Say("this key is an owner's already")
			} else {
				name := "NAME"
				if own, err := confdir.OwnName(l); err == nil {
					name = string(own)
				}
				e.Say("next, on the machine of an owner, who compares the fingerprint with you: tincan owners add %s %s", name, v.Key)
			}
			_, err = fmt.Fprintln(e.Out, v.Key)
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func ownersAddCommand(e *env.Env) *cobra.Command {
	var rights []string
	threshold := 0
	c := &cobra.Command{
		Use:   "add NAME [KEY]",
		Short: "Make somebody an owner, or change what an owner may do",
		Long: `Makes the holder of a KEY an owner, called NAME: what "tincan owners key" has printed on that person's
machine. Compare the fingerprints, by telephone for example. Without a KEY the rights of an owner are changed.

Rights are admit (members, invitations), remove, policy and owners (who the owners are); all of them unless --rights
names some. New owners come last in seniority: if two owners decide differently about the owners, the more senior
one is right.`,
		Args: frontend.Between("a NAME and a KEY", 1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			edit, err := addition(n, args, rights, c.Flags().Changed("rights"))
			if err != nil {
				return err
			}
			p, err := n.PlanOwners(func(l *roster.OwnerList) {
				edit(l)
				setThreshold(l, threshold)
			})
			if err != nil {
				return err
			}
			return sign(e, n, p)
		},
	}
	c.Flags().StringSliceVar(&rights, "rights", nil, "what the owner may do: `rights` with commas between them (default all)")
	thresholdFlag(c, &threshold)
	return c
}

func thresholdFlag(c *cobra.Command, k *int) {
	c.Flags().IntVar(k, "threshold", 0, "how `many` owners have to sign a change of the owners from then on")
}

func setThreshold(l *roster.OwnerList, k int) {
	if k != 0 {
		l.Threshold = uint8(min(max(k, 0), 255))
	}
}

// addition reads whom to make an owner, or whose rights to change.
func addition(n *ownership.Network, args, words []string, changed bool) (func(*roster.OwnerList), error) {
	rights, err := parseRights(words, changed)
	if err != nil {
		return nil, err
	}
	now := n.Roster.State().Owners.Owners
	if len(args) == 1 {
		o, err := ownership.FindOwner(now, args[0])
		switch {
		case err != nil:
			return nil, terminal.Hint(err, "to add one: owners add NAME KEY; the KEY is what \"tincan owners key\" prints on that person's machine")
		case !changed:
			return nil, terminal.Hint(fmt.Errorf("%s is an owner already", o.Name), "--rights changes what an owner may do")
		}
		return func(l *roster.OwnerList) {
			for i := range l.Owners {
				if l.Owners[i].Key == o.Key {
					l.Owners[i].Rights = rights
				}
			}
		}, nil
	}
	name, err := node.ParseName(args[0])
	if err != nil {
		return nil, err
	}
	key, err := keys.ParsePublicKey(args[1])
	if err == nil {
		err = key.Valid()
	}
	if err != nil {
		return nil, terminal.Hint(fmt.Errorf("the KEY: %w", err), "it is what \"tincan owners key\" prints on that person's machine")
	}
	if o, err := ownership.FindOwner(now, args[1]); err == nil {
		return nil, fmt.Errorf("this key is that of the owner %s already", o.Name)
	}
	if slices.ContainsFunc(now, func(o roster.Owner) bool { return o.Name == name }) {
		return nil, terminal.Hint(fmt.Errorf("an owner is called %s already", name), "choose another name, or retire that owner first")
	}
	if m := n.Roster.State().MemberByKey(key); m != nil {
		return nil, terminal.Hint(fmt.Errorf("this is the key of the node %s, which every program on that machine can use; an owner has another one", m.Name), "on that machine: tincan owners key")
	}
	return func(l *roster.OwnerList) {
		l.Owners = append(l.Owners, roster.Owner{Key: key, Rights: rights, Name: name})
	}, nil
}

func parseRights(words []string, given bool) (rights roster.Rights, err error) {
	if !given {
		return roster.AllRights, nil
	}
	for _, w := range words {
		i := slices.Index(members.RightNames, w)
		if i < 0 {
			return 0, fmt.Errorf("--rights: %q is none of %s", w, strings.Join(members.RightNames, ", "))
		}
		rights |= 1 << i
	}
	if rights == 0 {
		return 0, fmt.Errorf("--rights: name some of %s", strings.Join(members.RightNames, ", "))
	}
	return rights, nil
}

func ownersThresholdCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "threshold NUMBER",
		Short: "Say how many owners have to sign a change of the owners",
		Long: `From then on this number of owners has to sign each change of the owners: the first one proposes it, with
"owners add" for example, and the others sign with "owners sign". Members, removals and the policy still need one
signature.`,
		Args: frontend.Exactly("a NUMBER", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := strconv.ParseUint(args[0], 10, 8)
			if err != nil || k == 0 {
				return fmt.Errorf("%q: write a number from 1 to %d", args[0], roster.MaxOwners)
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			p, err := n.PlanOwners(func(l *roster.OwnerList) { l.Threshold = uint8(k) })
			if err != nil {
				return err
			}
			if p.Owners.Threshold == p.Before.Threshold {
				return errors.New("it is so already")
			}
			return sign(e, n, p)
		},
	}
}

func ownersRetireCommand(e *env.Env) *cobra.Command {
	threshold := 0
	c := &cobra.Command{
		Use:   "retire OWNER",
		Short: "Remove an owner who leaves, or whose key is lost",
		Long: `Takes an owner off the list who leaves, or whose key is lost. What this owner has signed stays: members,
invitations, removals and the policy are signed again with the owner's key of this machine.

If somebody else may have the key: tincan owners compromised.`,
		Args: frontend.Exactly("an OWNER: name, fingerprint or key", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			o, err := ownership.FindOwner(n.Roster.State().Owners.Owners, args[0])
			if err != nil {
				return suggestOwner(err, n, args[0])
			}
			return retire(e, n, o, threshold)
		},
	}
	thresholdFlag(c, &threshold)
	return c
}

// retire lets an owner go whose word stays.
func retire(e *env.Env, n *ownership.Network, o roster.Owner, threshold int) error {
	if n.Roster.State().Owners.Threshold == 1 {
		if err := notSelf(e, n, o); err != nil {
			return err
		}
	}
	p, err := n.PlanOwners(func(l *roster.OwnerList) { setThreshold(l, threshold) }, o.Key)
	if err != nil {
		return err
	}
	p.Ahead = p.Self() != o.Key
	if err := sign(e, n, p); err != nil {
		return err
	}
	if p.TookEffect() && n.Roster.CanUndo(o.Key) {
		e.Say("note: %s was a more senior owner, so whoever has that key could undo this: delete it (owner_key.priv and its copies); only a recovery ends that for sure: %s owners recover", o.Name, e.Self())
	}
	return nil
}

// notSelf refuses that an owner goes by himself.
func notSelf(e *env.Env, n *ownership.Network, o roster.Owner) error {
	key, err := members.OwnerKey(n.Layout)
	if err != nil || key == nil || key.Public() != o.Key {
		return err
	}
	err = fmt.Errorf("%s is the owner whose key is on this machine; another owner has to sign again what this one has signed", o.Name)
	var others []string
	for _, other := range n.Roster.State().Owners.Owners {
		if other.Key != o.Key && other.Rights&roster.RightOwners != 0 {
			others = append(others, string(other.Name))
		}
	}
	if len(others) == 0 {
		return terminal.Hint(err, "add another owner first; if the key was stolen: %s owners recover", e.Self())
	}
	return terminal.Hint(err, "run the same command on the machine of %s", strings.Join(others, " or "))
}

func suggestOwner(err error, n *ownership.Network, text string) error {
	return frontend.Suggest(err, text, func() (names []string) {
		for _, o := range n.Roster.State().Owners.Owners {
			names = append(names, string(o.Name))
		}
		return names
	})
}

func ownersCompromisedCommand(e *env.Env) *cobra.Command {
	var h heritage
	var keep []string
	threshold := 0
	c := &cobra.Command{
		Use:   "compromised OWNER",
		Short: "Remove an owner whose key may have been stolen",
		Long: `Takes an owner off the list, and asks which of the things that were signed with this key stay: the thief may have signed
some of them, and nothing proves when. What stays is signed again with the owner's key of this machine.

It also works after the thief has removed the owner of this machine, as long as the stolen key is the less senior one.
If it is that of the most senior owner, the thief can undo it: use tincan owners recover.`,
		Args: frontend.Exactly("an OWNER: name, fingerprint or key", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			o, err := n.AnyOwner(args[0])
			if err != nil {
				return suggestOwner(err, n, args[0])
			}
			return compromised(e, n, o, threshold, keep, h)
		},
	}
	thresholdFlag(c, &threshold)
	c.Flags().StringArrayVar(&keep, "keep", nil, "an `owner` whom the stolen key has made one, and who remains one; may be repeated")
	h.flags(c)
	return c
}

// compromised puts out an owner whose key was stolen.
func compromised(e *env.Env, n *ownership.Network, o roster.Owner, threshold int, keep []string, h heritage) error {
	if err := notSelf(e, n, o); err != nil {
		return err
	}
	out, err := heirs(e, n, o, keep)
	if err != nil {
		return err
	}
	p, err := n.PlanOwners(func(l *roster.OwnerList) { setThreshold(l, threshold) }, out...)
	var none *roster.NotAllowedError
	switch {
	case errors.As(err, &none):
		return terminal.Hint(err, "%s; with the recovery key, on any machine that has the roster: %s owners recover", none.Hint(), e.Self())
	case err != nil:
		return err
	case !p.Removes(o.Key):
		return fmt.Errorf("%s (%s) is no owner any more", o.Name, roster.Fingerprint(o.Key))
	}
	if err := h.choose(e, n, p, fmt.Sprintf("with the key of %s (%s)", o.Name, roster.Fingerprint(o.Key)), func(roster.Claim) bool { return true }); err != nil {
		return err
	}
	if err := sign(e, n, p); err != nil {
		return err
	}
	if p.TookEffect() && n.Roster.CanUndo(o.Key) {
		e.Say("warning: %s was a more senior owner, so whoever has that key can undo this; end that with the recovery key, now: %s owners recover", o.Name, e.Self())
	}
	return nil
}

// heirs are the keys of an owner who goes, and of those whom this one has made owners: the thief may have done that. keep names
// those who stay.
func heirs(e *env.Env, n *ownership.Network, o roster.Owner, keep []string) ([]keys.PublicKey, error) {
	out := []keys.PublicKey{o.Key}
	self, err := members.OwnerKey(n.Layout)
	if err != nil {
		return nil, err
	}
	named := n.NamedBy(o.Key)
	stay := map[keys.PublicKey]bool{}
	for _, w := range keep {
		k, err := ownership.FindOwner(named, w)
		if err != nil {
			return nil, fmt.Errorf("--keep: %w among those whom %s has made owners", err, o.Name)
		}
		stay[k.Key] = true
	}
	for _, k := range named {
		if self != nil && self.Public() == k.Key || stay[k.Key] {
			continue
		}
		if e.Interactive() {
			answer, err := e.Streams.Ask("%s (%s) is an owner by the word of %s, or of the thief: is that person to remain one? [y/N] ", k.Name, roster.Fingerprint(k.Key), o.Name)
			if err != nil {
				return nil, errors.New("nothing was changed")
			}
			if strings.HasPrefix(strings.ToLower(answer), "y") {
				continue
			}
		} else {
			e.Say("note: %s (%s) is an owner by the word of %s, or of the thief, and is removed as well; else: --keep %s", k.Name, roster.Fingerprint(k.Key), o.Name, k.Name)
		}
		out = append(out, k.Key)
	}
	return out, nil
}

func ownersSignCommand(e *env.Env) *cobra.Command {
	var h heritage
	yes := false
	c := &cobra.Command{
		Use:   "sign [ID]",
		Short: "Sign a change of the owners that another owner has proposed",
		Long: `Shows a change of the owners that waits for signatures, and signs it with the owner's key of this machine. The
last signature puts it into force, and signs again what the owners who leave had signed. If the key of one of them was
stolen, --drop and --drop-all say what does not stay. "tincan owners show" lists the changes that wait.`,
		Args: frontend.Between("one ID", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			q, err := proposal(n, args)
			if err != nil {
				return err
			}
			p, err := n.PlanProposal(q.List)
			if err != nil {
				return err
			}
			if slices.Contains(q.Signers, p.Self()) {
				return terminal.Hint(errors.New("this machine's owner has signed it already"), "the others who have to: %s owners show", e.Self())
			}
			e.Say("proposal %.8s, signed by %s:", q.List, names(n, q.Signers))
			for _, text := range report.OwnerChanges(p.Before, p.Owners) {
				e.Say("  %s", text)
			}
			if err := confirm(e, yes, "sign it?", errNobodyHere); err != nil {
				return err
			}
			if _, err := p.Claims(); err != nil && !p.Stays() {
				return terminal.Hint(err, "an owner who leaves cannot sign this again; ask one who stays to propose the same change once more")
			}
			h.keepAll = h.keepAll || yes && len(h.drop) == 0 && !h.dropAll
			if err := h.choose(e, n, p, "by those who are owners no more", func(roster.Claim) bool { return true }); err != nil {
				return err
			}
			return sign(e, n, p)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	h.flags(c)
	return c
}

// proposal finds the list of owners that waits for signatures and that is meant.
func proposal(n *ownership.Network, args []string) (*roster.Proposal, error) {
	var found []*roster.Proposal
	for _, q := range n.Roster.State().Proposals {
		if len(args) == 0 || len(args[0]) >= 4 && strings.HasPrefix(q.List.String(), strings.ToLower(args[0])) {
			found = append(found, q)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, terminal.Hint(errors.New("several changes wait for signatures: say which one"), "tincan owners show lists them")
	case len(args) == 0 || len(n.Roster.State().Proposals) == 0:
		return nil, errors.New("no change of the owners waits for signatures")
	}
	return nil, terminal.Hint(fmt.Errorf("no change with the id %.64q waits for signatures", args[0]), "tincan owners show lists them")
}

// names are the names of owners.
func names(n *ownership.Network, list []keys.PublicKey) string {
	var out []string
	for _, key := range list {
		out = append(out, members.Who(n.Roster.State(), key))
	}
	return strings.Join(out, ", ")
}

// errNobodyHere says that a question could not be asked.
var errNobodyHere = terminal.Hint(errors.New("nobody is here to be asked"), "to do it without being asked: --yes")

// confirm asks whether to go on. alone is the error if nobody is here to be asked.
func confirm(e *env.Env, yes bool, question string, alone error) error {
	if yes {
		return nil
	}
	if !e.Interactive() {
		return alone
	}
	answer, err := e.Streams.Ask("%s [y/N] ", question)
	if err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		return errors.New("nothing was changed")
	}
	return nil
}

// sign signs a change of the owners, and says what came of it.
func sign(e *env.Env, n *ownership.Network, p *ownership.Plan) error {
	claims, err := p.Claims()
	if err != nil {
		return err
	}
	takes := p.TakesEffect()
	if err := p.Sign(); err != nil {
		return err
	}
	for _, text := range report.OwnerChanges(p.Before, p.Owners) {
		if takes {
			e.Say("%s", text)
		} else {
			e.Say("proposed: %s", text)
		}
	}
	if len(claims) > 0 {
		e.Say("signed again with the owner's key of this machine: %s", counted(claims))
	}
	if !takes {
		v := report.NewOwners(n.Roster, p.Self())
		for _, q := range v.Proposals {
			if q.ID == p.List().String() {
				e.Say("it waits for %d more of %s, on their machines: tincan owners sign %.8s", q.Missing, strings.Join(q.Unsigned, ", "), q.ID)
				stay := slices.DeleteFunc(slices.Clone(q.Unsigned), func(name string) bool {
					return !slices.ContainsFunc(p.Owners.Owners, func(o roster.Owner) bool { return string(o.Name) == name })
				})
				if len(stay) < q.Missing {
					e.Say("that needs the signature of one who is to go; without it, with the recovery key: %s owners recover", e.Self())
				}
			}
		}
	}
	if s := n.Roster.State(); takes && s.Owners.Threshold > 1 {
		for _, name := range report.NewOwners(n.Roster, p.Self()).Alone {
			e.Say("note: %s was able to change the owners alone before, and can still undo this alone; the recovery key ends that: %s owners recover%s --threshold %d", name, e.Self(), keepAll(s), s.Owners.Threshold)
		}
	}
	if s := n.Roster.State(); s.Owners.Threshold > 1 && s.Recovery == (keys.PublicKey{}) {
		e.Say("warning: there is no recovery key; if fewer than %d of the owners' keys are left one day, nobody can change the owners any more", s.Owners.Threshold)
	}
	if !runs(e) {
		e.Say("this node does not run: the others hear of it when it does: %s up", e.Self())
	}
	return nil
}

// keepAll are the options of recover that keep all owners.
func keepAll(s *roster.State) (options string) {
	for _, o := range s.Owners.Owners {
		options += " --keep " + string(o.Name)
	}
	return options
}

// counted says how many of what.
func counted(claims []roster.Claim) string {
	count := map[roster.Kind]int{}
	for _, c := range claims {
		count[c.Content.Kind()]++
	}
	var out []string
	for _, k := range []struct {
		kind      roster.Kind
		one, many string
	}{{roster.KindMember, "member", "members"}, {roster.KindRemoval, "removal", "removals"}, {roster.KindInvitation, "invitation", "invitations"}, {roster.KindPolicy, "policy", "policies"}, {roster.KindNames, "list of further names", "lists of further names"}, {roster.KindDevice, "device", "devices"}, {roster.KindDoor, "key of the doors", "keys of the doors"}} {
		switch count[k.kind] {
		case 0:
		case 1:
			out = append(out, "1 "+k.one)
		default:
			out = append(out, fmt.Sprintf("%d %s", count[k.kind], k.many))
		}
	}
	return strings.Join(out, ", ")
}

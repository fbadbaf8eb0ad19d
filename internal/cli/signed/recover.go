package signed

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/ownership"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// recovery is what owners recover is told.
type recovery struct {
	file, name         string
	keep, lost, stolen []string
	threshold          int
	renew, yes         bool
	heritage
}

func recoverCommand(e *env.Env) *cobra.Command {
	var r recovery
	c := &cobra.Command{
		Use:   "recover",
		Short: "Replace the owners with the recovery key",
		Long: `Makes new owners with the recovery key, whatever the owners of before have signed: when the only owner's key is lost,
when that of the most senior owner was stolen, or when a thief has removed the others. This machine gets a new owner's
key, unless an owner is kept whose key is here. Any machine that has the roster will do.

Asks for the recovery key, which is not shown, and for each owner whether the key is still in the right hands (keep),
lost (what was signed with it stays) or stolen (asks what stays). Former owners whose signatures do not count now can be
named, too, so that what they have signed comes back. What stays is signed again.`,
		Args: frontend.Between("no arguments: the recovery key is asked for", 0, 0),
		RunE: func(*cobra.Command, []string) error { return r.run(e) },
	}
	f := c.Flags()
	f.StringVar(&r.file, "recovery-file", "", "read the recovery key from a `file`; - is standard input")
	f.StringVar(&r.name, "name", "", "what the new owner of this machine is called (default: as this node)")
	f.StringArrayVar(&r.keep, "keep", nil, "an `owner` who remains one: name, fingerprint or key; may be repeated")
	f.StringArrayVar(&r.lost, "lost", nil, "an `owner` whose key is lost: what was signed with it stays; may be repeated")
	f.StringArrayVar(&r.stolen, "stolen", nil, "an `owner` whose key was stolen: what was signed with it is in doubt; may be repeated")
	f.BoolVar(&r.renew, "new-recovery-key", false, "make another recovery key, and print it")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	thresholdFlag(c, &r.threshold)
	r.heritage.flags(c)
	return c
}

func (r *recovery) run(e *env.Env) error {
	n, err := open(e)
	if err != nil {
		return err
	}
	if n.Roster.State().Recovery == (keys.PublicKey{}) {
		return terminal.Hint(ownership.ErrNoRecovery, "the owners who are left can change the owners: %s owners show", e.Self())
	}
	name := n.Files.Name
	if r.name != "" {
		if name, err = node.ParseName(r.name); err != nil {
			return fmt.Errorf("--name: %w", err)
		}
	}
	fates, err := r.fates(n)
	if err == nil && !e.Interactive() {
		err = fates.askOwners(e)
	}
	if err != nil {
		return err
	}
	secret, err := r.secret(e)
	if err == nil {
		err = n.CheckRecovery(secret)
	}
	if err != nil {
		return err
	}
	if err := fates.askOwners(e); err != nil {
		return err
	}
	p, err := r.plan(n, secret, name, fates)
	if err == nil {
		err = fates.askFormer(e, n, p)
	}
	if err == nil {
		p, err = r.plan(n, secret, name, fates) // some may be owners again
	}
	if err != nil {
		return err
	}
	theft := slices.ContainsFunc(fates.all, func(o roster.Owner) bool { return fates.of[o.Key] == stolen })
	doubt := func(c roster.Claim) bool { return theft && fates.of[c.By] != lost }
	if err := r.heritage.choose(e, n, p, "with a stolen key", doubt); err != nil {
		return err
	}
	return r.sign(e, n, p)
}

// sign asks a last time, and does it.
func (r *recovery) sign(e *env.Env, n *ownership.Network, p *ownership.Plan) error {
	e.Say("owners from then on:")
	for _, o := range p.Owners.Owners {
		here := ""
		if o.Key == p.Self() {
			here = ", on this machine"
		}
		e.Say("  %s (%s)%s", o.Name, roster.Fingerprint(o.Key), here)
	}
	if e.Interactive() {
		if err := confirm(e, r.yes, "replace the owners?", errNobodyHere); err != nil {
			return err
		}
	}
	if r.renew {
		if err := p.NewRecovery(e.Streams); err != nil {
			return err
		}
	}
	if err := sign(e, n, p); err != nil {
		if r.renew {
			e.Say("the new recovery key is not valid; the one of before is")
		}
		return err
	}
	e.Say("the network is recovered, with %d members: %s members", len(n.Roster.State().Members), e.Self())
	e.Say("the key of this machine's owner is %s; keep a copy in a safe place", n.Layout.OwnerKey())
	return nil
}

// secret reads the recovery key. It is never an argument, nor in the environment, where other users could see it.
func (r *recovery) secret(e *env.Env) (roster.RecoverySecret, error) {
	text := ""
	var err error
	switch r.file {
	case "":
		text, err = e.Streams.Secret("recovery key (it is not shown): ")
	case "-":
		text, err = e.Streams.Line()
	default:
		var data []byte
		data, err = files.Read(r.file, 4096)
		text = string(data)
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("there is no recovery key in the input")
	}
	if err != nil {
		return roster.RecoverySecret{}, fmt.Errorf("reading the recovery key: %w", err)
	}
	secret, err := roster.ParseRecoverySecret(text)
	return secret, terminal.Hint(err, "small letters, blanks and missing dashes do not matter; O counts as 0, I and L as 1")
}

// plan plans the recovery as it was answered.
func (r *recovery) plan(n *ownership.Network, secret roster.RecoverySecret, name node.Name, f *fates) (*ownership.Plan, error) {
	var stay []roster.Owner
	var former []roster.Owner
	for _, o := range f.all {
		switch f.of[o.Key] {
		case keep:
			stay = append(stay, o)
		case lost, stolen:
			former = append(former, o)
		}
	}
	p, err := n.PlanRecovery(secret, name, stay, uint8(min(max(r.threshold, 0), 255)))
	if err == nil {
		p.Former = former
	}
	return p, err
}

// fate is what has become of an owner.
type fate uint8

const (
	unknown fate = iota
	keep
	lost
	stolen
)

// fates is what has become of the owners.
type fates struct {
	all []roster.Owner // those of today, and those before
	now int            // how many of them are owners today
	of  map[keys.PublicKey]fate
}

// fates reads the options.
func (r *recovery) fates(n *ownership.Network) (*fates, error) {
	f := &fates{all: n.EverOwners(), now: len(n.Roster.State().Owners.Owners), of: map[keys.PublicKey]fate{}}
	for _, list := range []struct {
		fate  fate
		words []string
	}{{keep, r.keep}, {lost, r.lost}, {stolen, r.stolen}} {
		for _, w := range list.words {
			o, err := n.AnyOwner(w)
			if err != nil {
				return nil, suggestOwner(err, n, w)
			}
			if f.of[o.Key] != unknown && f.of[o.Key] != list.fate {
				return nil, fmt.Errorf("%s cannot be two of --keep, --lost and --stolen", w)
			}
			f.of[o.Key] = list.fate
		}
	}
	return f, nil
}

// askOwners asks about the owners of today.
func (f *fates) askOwners(e *env.Env) error {
	var names []string
	for _, o := range f.all[:f.now] {
		if f.of[o.Key] == unknown {
			names = append(names, string(o.Name))
		}
	}
	if len(names) > 0 && !e.Interactive() {
		return terminal.Hint(fmt.Errorf("say what has become of these owners: %s", strings.Join(names, ", ")), "for each of them --keep, --lost or --stolen")
	}
	for _, o := range f.all[:f.now] {
		if f.of[o.Key] == unknown {
			if err := f.ask(e, o, "an owner"); err != nil {
				return err
			}
		}
	}
	return nil
}

// askFormer asks about the owners of before who have signed something that does not count now.
func (f *fates) askFormer(e *env.Env, n *ownership.Network, p *ownership.Plan) error {
	for _, o := range f.all[f.now:] {
		if f.of[o.Key] != unknown {
			continue
		}
		trial := *p
		trial.Former = append(slices.Clone(p.Former), o)
		claims, err := trial.Claims()
		if err != nil {
			return err
		}
		claims = slices.DeleteFunc(claims, func(c roster.Claim) bool { return c.By != o.Key })
		switch {
		case len(claims) == 0:
		case e.Interactive():
			if err := f.ask(e, o, fmt.Sprintf("a former owner, and %s of this one do not count now", counted(claims))); err != nil {
				return err
			}
		default:
			e.Say("note: %s (%s) is a former owner, and %s of this one do not count now; to bring that back: --lost %s, or --stolen %s to choose", o.Name, roster.Fingerprint(o.Key), counted(claims), roster.Fingerprint(o.Key), roster.Fingerprint(o.Key))
		}
	}
	return nil
}

// ask asks about one.
func (f *fates) ask(e *env.Env, o roster.Owner, what string) error {
	for {
		answer, err := e.Streams.Ask("%s (%s) is %s: is the key still in the right hands, lost, or stolen? [keep/lost/stolen] ", o.Name, roster.Fingerprint(o.Key), what)
		if err != nil {
			return errors.New("nothing was changed")
		}
		for answered, word := range map[fate]string{keep: "keep", lost: "lost", stolen: "stolen"} {
			if answer != "" && strings.HasPrefix(word, strings.ToLower(answer)) {
				if f.of == nil {
					f.of = map[keys.PublicKey]fate{}
				}
				f.of[o.Key] = answered
				return nil
			}
		}
	}
}

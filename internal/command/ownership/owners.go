package ownership

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// OwnerKey returns the public half of the owner's key in a directory. Without one it makes one.
func OwnerKey(l confdir.Layout) (key keys.PublicKey, made bool, err error) {
	private, err := members.OwnerKey(l)
	if err != nil {
		return key, false, err
	}
	if private == nil {
		if private, err = keys.Generate(rand.Reader); err != nil {
			return key, false, err
		}
		made, err = true, saveOwnerKey(l, private)
	}
	return private.Public(), made, err
}

func saveOwnerKey(l confdir.Layout, key *keys.PrivateKey) error {
	return confdir.Create(l.OwnerKey(), keys.MarshalPrivatePEM(key), confdir.SecretMode)
}

// OwnerError: no owner, or more than one, is called so.
type OwnerError struct {
	Text string
	Many bool
}

func (e *OwnerError) Error() string {
	if e.Many {
		return fmt.Sprintf("several owners are called %q: say which one by its fingerprint", e.Text)
	}
	return fmt.Sprintf("no owner is called %q", e.Text)
}

// FindOwner finds the owner of a list who is meant by a name, a fingerprint or a key.
func FindOwner(list []roster.Owner, text string) (found roster.Owner, err error) {
	finger, notFinger := roster.ParseFingerprint(text)
	key, notKey := keys.ParsePublicKey(text)
	for _, o := range list {
		if notFinger == nil && roster.Fingerprint(o.Key) == finger || notKey == nil && o.Key == key {
			return o, nil
		}
		if string(o.Name) == text {
			if found.Name != "" {
				return found, &OwnerError{text, true}
			}
			found = o
		}
	}
	if found.Name == "" {
		return found, &OwnerError{text, false}
	}
	return found, nil
}

// AnyOwner is [FindOwner] for those of today, and then for those of before.
func (n *Network) AnyOwner(text string) (roster.Owner, error) {
	o, err := FindOwner(n.Roster.State().Owners.Owners, text)
	if e := (*OwnerError)(nil); errors.As(err, &e) && !e.Many {
		return FindOwner(n.EverOwners(), text)
	}
	return o, err
}

// EverOwners are all owners that this node has heard of, those of today first.
func (n *Network) EverOwners() []roster.Owner {
	all := slices.Clone(n.Roster.State().Owners.Owners)
	lists := n.Roster.History()
	slices.Reverse(lists)
	for _, l := range lists {
		for _, o := range l.Owners {
			if !has(all, o.Key) {
				all = append(all, o)
			}
		}
	}
	return all
}

// NamedBy are the owners of today or of the same list who are owners by the word of another one alone, or of those whom that
// one has named.
func (n *Network) NamedBy(key keys.PublicKey) (list []roster.Owner) {
	lists := n.Roster.History()
	named := []keys.PublicKey{key}
	for i := 1; i < len(lists); i++ {
		before, l := lists[i-1], lists[i]
		for _, o := range l.Owners {
			switch at := slices.Index(named, o.Key); {
			case has(before.Owners, o.Key) && !l.Root, o.Key == key:
			case !l.Root && !slices.ContainsFunc(l.Signers, func(k keys.PublicKey) bool { return !slices.Contains(named, k) }):
				if at < 0 {
					named, list = append(named, o.Key), append(list, o)
				}
			case at >= 0: // somebody else has named it again
				named = slices.Delete(named, at, at+1)
				list = slices.DeleteFunc(list, func(x roster.Owner) bool { return x.Key == o.Key })
			}
		}
	}
	return list
}

func has(list []roster.Owner, key keys.PublicKey) bool {
	return slices.ContainsFunc(list, func(o roster.Owner) bool { return o.Key == key })
}

// Plan is a change of owners that is about to be signed.
type Plan struct {
	roster.Change
	Before roster.OwnerList // what it replaces

	n        *Network
	key      *keys.PrivateKey
	recovery *keys.PrivateKey // of a recovery
	next     keys.PublicKey   // recovery key from then on
	save     bool             // the owner's key is new
	took     bool             // it is in force
}

// Stays tells whether the owner who signs is one afterwards.
func (p *Plan) Stays() bool { return has(p.Owners.Owners, p.Self()) }

// Self is the key that signs.
func (p *Plan) Self() keys.PublicKey { return p.key.Public() }

const changing = "changing the owners"

// PlanOwners plans a change of owners without some, and as edit says. What those alone had changed about the owners is not
// taken over, except that owners whom they have named remain.
func (n *Network) PlanOwners(edit func(*roster.OwnerList), out ...keys.PublicKey) (*Plan, error) {
	key, err := n.owner(changing, roster.RightOwners)
	if err != nil {
		return nil, err
	}
	base := n.Roster.Base(key.Public(), out...)
	if base == nil {
		return nil, n.notAllowed(changing, roster.RightOwners)
	}
	last := base[len(base)-1]
	p := &Plan{n: n, key: key, Before: last.OwnerList}
	p.Parent = base[0].ID
	p.Owners = replay(base, out)
	for _, o := range n.EverOwners() {
		if slices.Contains(out, o.Key) {
			p.Former = append(p.Former, o)
		}
	}
	if edit != nil {
		edit(&p.Owners)
	}
	return p, p.check()
}

// replay is the first of some lists with what was changed until the last of them, without some owners and what these alone have
// changed, except that others whom they have named remain.
func replay(lists []*roster.List, out []keys.PublicKey) roster.OwnerList {
	now := roster.OwnerList{Threshold: lists[0].Threshold, Owners: slices.Clone(lists[0].Owners)}
	for i := 1; i < len(lists); i++ {
		before, l := lists[i-1], lists[i]
		doubtful := !slices.ContainsFunc(l.Signers, func(k keys.PublicKey) bool { return !slices.Contains(out, k) })
		for _, o := range l.Owners {
			at := slices.IndexFunc(now.Owners, func(x roster.Owner) bool { return x.Key == o.Key })
			switch {
			case at < 0 && !has(before.Owners, o.Key):
				now.Owners = append(now.Owners, o)
			case at >= 0 && !doubtful:
				now.Owners[at] = o
			}
		}
		if !doubtful {
			now.Threshold = l.Threshold
			now.Owners = slices.DeleteFunc(now.Owners, func(o roster.Owner) bool { return has(before.Owners, o.Key) && !has(l.Owners, o.Key) })
		}
	}
	now.Owners = slices.DeleteFunc(now.Owners, func(o roster.Owner) bool { return slices.Contains(out, o.Key) })
	return now
}

// deciders is how many may change the owners.
func (p *Plan) deciders() (n int) {
	for _, o := range p.Owners.Owners {
		if o.Rights&roster.RightOwners != 0 {
			n++
		}
	}
	return n
}

// Removes tells whether an owner goes.
func (p *Plan) Removes(key keys.PublicKey) bool {
	before := func(l *roster.List) bool { return l.ID == p.Parent && has(l.Owners, key) }
	return !has(p.Owners.Owners, key) && (has(p.Before.Owners, key) || slices.ContainsFunc(p.n.Roster.History(), before))
}

// check refuses what would leave nobody to decide.
func (p *Plan) check() error {
	deciders := p.deciders()
	switch k := int(p.Owners.Threshold); {
	case len(p.Owners.Owners) > roster.MaxOwners:
		return fmt.Errorf("a network has at most %d owners", roster.MaxOwners)
	case deciders == 0:
		return terminal.Hint(errors.New("nobody would be left who may change the owners"), "add another owner first, or give one the right owners")
	case k > deciders:
		return terminal.Hint(fmt.Errorf("%d owners would have to sign a change of the owners, and only %d may", k, deciders), "say how many from then on: --threshold %d", deciders)
	case k < 1:
		return errors.New("at least one owner has to sign a change of the owners")
	}
	return nil
}

// PlanProposal plans to sign a list of owners that others have signed.
func (n *Network) PlanProposal(list roster.ID) (*Plan, error) {
	key, err := n.owner(changing, roster.RightOwners)
	if err != nil {
		return nil, err
	}
	s := n.Roster.State()
	if !s.Owners.May(key.Public(), roster.RightOwners) {
		return nil, n.notAllowed(changing, roster.RightOwners)
	}
	i := slices.IndexFunc(s.Proposals, func(p *roster.Proposal) bool { return p.List == list })
	if i < 0 {
		return nil, errors.New("it waits for no signatures any more")
	}
	p := &Plan{n: n, key: key, Before: s.Owners}
	p.Parent, p.Owners = s.List, s.Proposals[i].Owners.OwnerList
	return p, nil
}

// PlanRecovery plans to replace the owners with the recovery key. If the owner's key of this directory is not among those
// who stay, it gets a new one, and the owner with that, called name, is the first of the list. A threshold of 0 means: the
// one of before, as far as there are so many owners.
func (n *Network) PlanRecovery(secret roster.RecoverySecret, name node.Name, stay []roster.Owner, threshold uint8) (*Plan, error) {
	s := n.Roster.State()
	p := &Plan{n: n, Before: s.Owners, recovery: secret.Key(), next: s.Recovery}
	err := n.CheckRecovery(secret)
	if err != nil {
		return nil, err
	}
	if p.key, err = members.OwnerKey(n.Layout); err != nil {
		return nil, err
	}
	p.Owners = roster.OwnerList{Threshold: threshold, Owners: slices.Clone(stay)}
	if p.key == nil || !has(stay, p.key.Public()) {
		if p.key == nil || has(n.EverOwners(), p.key.Public()) {
			if p.key, err = keys.Generate(rand.Reader); err != nil {
				return nil, err
			}
			p.save = true
		}
		p.Owners.Owners = slices.Insert(p.Owners.Owners, 0, roster.Owner{Key: p.key.Public(), Rights: roster.AllRights, Name: name})
	}
	if threshold == 0 {
		p.Owners.Threshold = min(s.Owners.Threshold, uint8(p.deciders()))
	}
	return p, p.check()
}

// ErrNoRecovery: the network has no recovery key.
var ErrNoRecovery = errors.New("this network was made without a recovery key")

// CheckRecovery tells whether a recovery key is the one of this network.
func (n *Network) CheckRecovery(secret roster.RecoverySecret) error {
	paper, public := n.Roster.State().Recovery, secret.Key().Public()
	switch {
	case paper == keys.PublicKey{}:
		return ErrNoRecovery
	case paper != public:
		return terminal.Hint(errors.New("this is a recovery key, but not that of this network"), "its fingerprint is %s, and that of the network's %s", roster.Fingerprint(public), roster.Fingerprint(paper))
	}
	return nil
}

// NewRecovery makes another recovery key, and shows it as that of a new network is shown.
func (p *Plan) NewRecovery(s terminal.Streams) error {
	var secret roster.RecoverySecret
	rand.Read(secret[:]) // never fails
	p.next = secret.Key().Public()
	return showRecovery(p.n.Layout, secret.Text(), s)
}

// List is the id of the list of owners that the change leads to, under which it is found among the proposals.
func (p *Plan) List() roster.ID {
	return (&roster.Owners{Parent: p.Parent, OwnerList: p.Owners}).List(p.n.Roster.Network())
}

// TakesEffect tells whether the signature of this machine's owner is enough.
func (p *Plan) TakesEffect() bool {
	signed := 1
	list := p.List()
	for _, q := range p.n.Roster.State().Proposals {
		if q.List == list {
			signed += len(q.Signers)
			if slices.Contains(q.Signers, p.key.Public()) {
				signed--
			}
		}
	}
	return p.recovery != nil || p.Parent != p.n.Roster.State().List || signed >= int(p.Before.Threshold)
}

// Claims is what those who go have signed, and what will be signed anew. If the change does not take effect yet, and is not
// carried ahead, that is nothing.
func (p *Plan) Claims() ([]roster.Claim, error) {
	if !p.TakesEffect() && !p.Ahead {
		return nil, nil
	}
	return p.n.Roster.Claims(p.Change, p.key)
}

// Sign signs the change and adds it.
func (p *Plan) Sign() error {
	var raws [][]byte
	var err error
	if p.recovery != nil {
		raws, err = p.n.Roster.SignRecovery(p.Change, p.next, p.recovery, p.key)
	} else {
		raws, err = p.n.Roster.SignOwners(p.Change, p.key)
	}
	if err == nil && p.save {
		err = p.replaceKey()
	}
	if err != nil {
		return err
	}
	p.took = p.TakesEffect()
	if err := p.n.add(raws); err != nil {
		return err
	}
	if now := p.n.Roster.State().Owners; p.took && (now.Threshold != p.Owners.Threshold || !slices.Equal(now.Owners, p.Owners.Owners)) {
		return errors.New("the statement is in the roster, but other owners are in force: somebody has changed them at the same time")
	}
	return nil
}

// TookEffect tells, after [Plan.Sign], whether the change is in force.
func (p *Plan) TookEffect() bool { return p.took }

// replaceKey stores the new owner's key. The one before is kept under another name: it may be needed to find out what has
// happened.
func (p *Plan) replaceKey() error {
	l := p.n.Layout
	old, err := members.OwnerKey(l)
	if err != nil {
		return err
	}
	if old != nil {
		to := l.OwnerKey() + ".old-" + roster.Fingerprint(old.Public())[:4]
		if err := os.Rename(l.OwnerKey(), to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keeping the old owner's key: %w", err)
		}
	}
	p.save = false
	return saveOwnerKey(l, p.key)
}

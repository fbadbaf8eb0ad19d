package command

import (
	"context"
	"errors"
	"sync"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// answerWithin is how long the connection with a running node may take: one that hangs must not stop a service.
const answerWithin = 10 * time.Second

// asker asks the node that runs in a directory.
func asker(ctx context.Context, l confdir.Layout) ownership.Ask {
	return func(question func(*control.Client) error) error {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		c, err := control.Dial(ctx, l.ForClient().PidFile)
		if err != nil {
			return err
		}
		defer c.Close()
		return question(c)
	}
}

// AddToken makes a token good at this machine. In a signed network it is an invitation, too, which takes somebody who may
// invite, unless somebody who may has made one of this token before.
func AddToken(l confdir.Layout, store *bootnode.Store, secret bootnode.Secret, limits bootnode.Limits) (bootnode.Token, error) {
	if ownership.HasRoster(l) {
		n, err := ownership.Open(l, asker(context.Background(), l))
		if err != nil {
			return bootnode.Token{}, err
		}
		limits.Network = n.Roster.Network().String()
		i := roster.Invitation{Name: string(limits.Name), Uses: ownership.Uses(limits.Uses)}
		for _, p := range bootnode.RangesOf(l) {
			i.Choose = append(i.Choose, subnet.FromPrefix(p))
		}
		if err := n.Standing(secret.Invitation(limits.Network), i, limits.Expires); err != nil {
			return bootnode.Token{}, err
		}
	}
	return store.Add(secret, limits)
}

// RevokeToken makes the tokens with this id or label void and returns how many. fingerprints are those of their invitations
// that are still in the roster, because no owner's key is here.
func RevokeToken(l confdir.Layout, store *bootnode.Store, which string) (n int, fingerprints []string, err error) {
	tokens, err := store.Revoke(which)
	if err != nil || !ownership.HasRoster(l) {
		return len(tokens), nil, err
	}
	signed, err := ownership.Open(l, asker(context.Background(), l))
	if err != nil {
		return len(tokens), nil, err
	}
	for _, t := range tokens {
		if t.Invitation == nil {
			continue
		}
		done, err := signed.Withdraw(t.Invitation)
		if err != nil {
			return len(tokens), fingerprints, err
		}
		if key := roster.InvitationKey(t.Invitation).Public(); !done && signed.Roster.State().Invitation(key) != nil {
			fingerprints = append(fingerprints, roster.Fingerprint(key))
		}
	}
	return len(tokens), fingerprints, nil
}

// bootMembers is a signed network for a boot node.
type bootMembers struct {
	own *keys.PrivateKey // of the node

	mu      sync.Mutex
	network *ownership.Network
	read    members.Version // the files that it was read from
}

// newBootMembers returns nil if the network is open.
func newBootMembers(l confdir.Layout) (bootnode.Members, error) {
	if !ownership.HasRoster(l) {
		return nil, nil
	}
	n, err := ownership.Open(l, asker(context.Background(), l))
	if err != nil {
		return nil, err
	}
	own, err := n.NodeKey()
	if err != nil {
		return nil, err
	}
	return &bootMembers{own: own, network: n}, nil
}

// fresh is the network as the file has it. m.mu is held.
func (m *bootMembers) fresh() (*ownership.Network, error) {
	now, err := members.FilesVersion(m.network.Layout)
	if err != nil {
		return nil, err
	}
	if m.read != now {
		if err := m.network.Refresh(); err != nil {
			return nil, err
		}
		m.read = now
	}
	return m.network, nil
}

// state is what the roster says. What cannot be read again is as it was; Admit says so.
func (m *bootMembers) state() *roster.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _ = m.fresh()
	return m.network.Roster.State()
}

func (m *bootMembers) NetworkID() string { return m.state().Network.String() }
func (m *bootMembers) Enforced() bool    { return m.network.Enforced() }

func (m *bootMembers) Key(name node.Name) (keys.PublicKey, bool) {
	s := m.state()
	if is := s.Member(name); is != nil {
		return is.Key, true
	}
	for _, is := range s.Pending {
		if is.Name == name {
			return is.Key, true
		}
	}
	return keys.PublicKey{}, false
}

func (m *bootMembers) Removed(key string) bool {
	is, err := keys.ParsePublicKey(key)
	return err == nil && m.state().Removed(is) != nil
}

func (m *bootMembers) Granted() (all []bootnode.Owned) {
	for name, s := range m.state().Granted {
		all = append(all, bootnode.Owned{Subnet: s, Owner: name})
	}
	return all
}

func (m *bootMembers) Admit(invitation []byte, name node.Name, host []byte) ([]subnet.Subnet, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.fresh()
	if err != nil {
		return nil, err
	}
	c := ownership.Newcomer{Name: name, Subnets: hostfile.Subnets(host)}
	ed, rsa := hostfile.Key(host)
	if ed != nil {
		c.Key = *ed
	}
	if key, err := keys.ParseRSAPublic(rsa); err == nil {
		c.RSA = key.Hash()
	}
	left, err := n.AdmitNewcomer(invitation, c, m.own)
	return left, asRefusal(err)
}

// asRefusal puts what a newcomer may hear into words for it.
func asRefusal(err error) error {
	var why *roster.Refusal
	switch {
	case errors.Is(err, ownership.ErrOldNewcomer):
		return bootnode.Refusal(err.Error())
	case errors.Is(err, ownership.ErrUnknownInvitation):
		return &bootnode.UnavailableError{Err: err}
	case !errors.As(err, &why):
		return err
	}
	switch why.Reason {
	case roster.ReasonUses:
		return bootnode.Refusal("the token is used up")
	case roster.ReasonTime:
		return bootnode.Refusal("the token has expired")
	case roster.ReasonInvitation:
		return bootnode.Refusal("the token was withdrawn")
	case roster.ReasonNameTaken:
		return bootnode.ErrTaken
	case roster.ReasonKeyTaken:
		return bootnode.Refusal("another member has this key")
	case roster.ReasonAddressTaken, roster.ReasonAddress:
		return bootnode.Refusal("another member has this address, or the token does not grant it")
	case roster.ReasonRemoved, roster.ReasonLeft:
		return bootnode.Refusal("this key was removed from the network; make a new one")
	}
	return err
}

package command

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// Signed is the signed network of a directory, for commands.
type Signed struct {
	Layout confdir.Layout
	Roster *roster.Roster // as it is on disk; to look at, and to sign with
}

// OpenSigned reads the roster of a directory, nil if the network is open.
func OpenSigned(l confdir.Layout, s config.Settings) (*Signed, error) {
	if s.Roster == config.RosterOpen {
		return nil, nil
	}
	var pin roster.ID
	if s.NetworkID != "" {
		var err error
		if pin, err = roster.ParseID(s.NetworkID); err != nil {
			return nil, config.Problem{Where: l.TincConf(), Text: "NetworkID: " + err.Error()}
		}
	}
	r, _, err := members.Load(l.Roster(), pin)
	if err != nil || r == nil {
		return nil, err
	}
	return &Signed{l, r}, nil
}

// Signer is the key that statements are signed with here: the owner's, or else that of the node. Whether it has the right
// is said by what signs.
func (s *Signed) Signer(id confdir.Identity) (*keys.PrivateKey, error) {
	owner, err := members.OwnerKey(s.Layout)
	if err != nil || owner != nil {
		return owner, err
	}
	if id.Key == nil {
		return nil, errors.New("this node has no Ed25519 key to sign with")
	}
	return id.Key, nil
}

// Submit adds statements, by way of the running node if there is one.
func (s *Signed) Submit(running members.Running, raws [][]byte) error {
	return members.Submit(s.Layout, s.Roster.Network(), running, raws)
}

// Grant is what an invitation of a signed network gives beside an address.
type Grant struct {
	Groups   []string
	Uses     int           // 0: one
	Expires  time.Duration // 0: as InvitationExpire says
	Approval bool          // an owner has to approve the newcomer
}

// invite makes an invitation of the signed network: q says whom and where to.
func (s *Signed) invite(q invite.Request, pattern string, g Grant, ranges []netip.Prefix, signer *keys.PrivateKey, running members.Running) (invite.Invitation, error) {
	greeting := members.GreetingKey(s.Roster)
	if greeting == nil {
		return invite.Invitation{}, errors.New("this node does not have the roster yet: it fetches it from its neighbours")
	}
	uses := max(g.Uses, 1)
	q.NetworkID, q.Choose = s.Roster.Network().String(), uses > 1 || q.Invitee == ""
	q.Rand, q.Now = rand.Reader, time.Now()
	inv, cookie, err := invite.NewCookie(q, greeting.Public())
	if err != nil {
		return inv, err
	}
	what := roster.Invitation{Name: pattern, Uses: uint16(uses), Approval: g.Approval, Created: q.Now.Unix()}
	what.Groups = g.Groups
	if q.Choose {
		for _, p := range ranges {
			what.Choose = append(what.Choose, subnet.FromPrefix(p.Masked()))
		}
	}
	for _, text := range inv.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return inv, err
		}
		what.Subnets = append(what.Subnets, subnet.FromPrefix(netip.PrefixFrom(p.Addr(), p.Addr().BitLen())))
	}
	expires := g.Expires
	if expires == 0 {
		expires = q.Expire
	}
	raw, err := s.Roster.SignInvitation(what, q.Now.Add(expires).Unix(), roster.InvitationKey(cookie), signer)
	if err != nil {
		return inv, fmt.Errorf("inviting %s: %w", pattern, err)
	}
	return inv, s.Submit(running, [][]byte{raw})
}

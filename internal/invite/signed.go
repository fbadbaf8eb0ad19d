package invite

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// In a signed network an invitation is a statement of the roster, not a file: every member finds it by the cookie
// of the URL, and all of them greet newcomers with the same key. So a newcomer is let in by whichever member
// it reaches, the inviter may be off, and the real "tinc join" notices nothing.

// Members is a signed network, as a [Server] needs it. Its methods may be called by several goroutines.
type Members interface {
	// GreetingKey is the key that all members greet newcomers with, nil if the roster has not arrived.
	GreetingKey() *keys.PrivateKey
	// NetworkID is 64 hexadecimal digits.
	NetworkID() string
	// Find returns the invitation of a cookie, nil if there is none.
	Find(cookie []byte, now time.Time) *Invited
	// Member returns the name of the member with a key, "" if there is none.
	Member(key keys.PublicKey) node.Name
	// Taken tells whether a member or somebody who waits for approval has that name.
	Taken(node.Name) bool
	// Admit admits a newcomer. The error may be a [Refusal].
	Admit(cookie []byte, name node.Name, key keys.PublicKey, chosen []netip.Addr) error
}

// Invited is an invitation of a signed network.
type Invited struct {
	Name      string           // of the newcomer; "web*": any that begins with web; "": any
	Addresses []netip.Addr     // that it grants
	Approval  bool             // an owner has to approve the newcomer
	Choose    bool             // whoever answers may grant addresses of the network's range
	Used      []keys.PublicKey // who was admitted under it
	Refusal   Refusal          // why nobody else is, "" if somebody may be
}

// NewCookie makes the secret of an invitation of a signed network, whose members greet with the given key, and the URL
// with it. The invitation's addresses are chosen as for any other; it is up to the caller to have them granted.
func NewCookie(r Request, greeting keys.PublicKey) (inv Invitation, cookie []byte, err error) {
	if inv, cookie, err = r.newCookie(greeting); err != nil {
		return Invitation{}, nil, fmt.Errorf("inviting %s: %w", r.Invitee, err)
	}
	return inv, cookie, nil
}

func (r *Request) newCookie(greeting keys.PublicKey) (inv Invitation, cookie []byte, err error) {
	if r.Invitee != "" {
		if err := r.check(); err != nil {
			return inv, nil, err
		}
	}
	conf, err := readConf(r.Dir)
	if err != nil {
		return inv, nil, err
	}
	own, err := os.ReadFile(filepath.Join(r.Dir, "hosts", string(r.Name)))
	if err != nil {
		return inv, nil, fmt.Errorf("reading our own host file: %w", err)
	}
	url, _, err := r.location(own, conf)
	if err != nil {
		return inv, nil, err
	}
	if _, err := io.ReadFull(r.Rand, url.cookie[:]); err != nil {
		return inv, nil, err
	}
	url.keyHash = keyHashOf(greeting)
	inv = Invitation{URL: url.String(), Invitee: r.Invitee}
	if r.Choose { // by whoever answers
		return inv, url.cookie[:], nil
	}
	var running []subnet.Subnet
	if r.Taken != nil {
		running = r.Taken()
	}
	a, err := survey(r.Dir, r.Name, "", running, r.Rand)
	if err != nil {
		return inv, nil, err
	}
	for _, p := range ownPrefixes(conf) {
		addr, err := a.pick(p)
		if err != nil {
			return inv, nil, err
		}
		inv.Addresses = append(inv.Addresses, netip.PrefixFrom(addr, p.Bits()).String())
	}
	return inv, url.cookie[:], nil
}

// key is what newcomers are greeted with.
func (s *Server) key() (*keys.PrivateKey, error) {
	if s.Members != nil {
		if key := s.Members.GreetingKey(); key != nil {
			return key, nil
		}
	}
	return storeIn(s.Dir).key()
}

// talkSigned leads the conversation about an invitation of a signed network, from the cookie on.
func (s *Server) talkSigned(c *conversation, cookie []byte, inv *Invited, newcomer keys.PublicKey) (outcome string, name node.Name, key keys.PublicKey, err error) {
	if slices.Contains(inv.Used, newcomer) { // it has missed the answer
		name = s.Members.Member(newcomer)
		return fmt.Sprintf("has joined as %s, and is told so again", name), "", key, c.send(recordAccepted, nil)
	}
	if inv.Refusal != "" {
		return "", "", key, inv.Refusal
	}
	if name, err = s.nameFor(inv.Name); err != nil {
		return "", "", key, err
	}
	data, chosen, err := s.signedText(name, inv)
	if err != nil {
		return "", "", key, asRefusal(err)
	}
	if key, err = c.offer(data); err != nil {
		return "", "", key, err
	}
	if err := s.Members.Admit(cookie, name, key, chosen); err != nil {
		return "", "", key, asRefusal(err)
	}
	if err := s.storeSigned(data, key); err != nil { // the roster knows it in any case
		s.log(fmt.Sprintf("writing the host file of %s: %v", name, err))
	}
	if err := c.send(recordAccepted, nil); err != nil {
		s.log(fmt.Sprintf("%s is a member, but could not be told so: %v", name, err))
	}
	return "joined as " + string(name), name, key, nil
}

// maxNumber is the highest number that a name is made unique with.
const maxNumber = 9999

// nameFor chooses the newcomer's name.
func (s *Server) nameFor(pattern string) (node.Name, error) {
	begin, any := strings.CutSuffix(pattern, "*")
	if pattern == "" {
		begin, any = "node", true
	}
	if !any {
		if name := node.Name(pattern); s.taken(name) {
			return "", Taken
		}
		return node.Name(pattern), nil
	}
	for i := 1; i <= maxNumber; i++ {
		if name := node.Name(begin + strconv.Itoa(i)); !s.taken(name) {
			return name, nil
		}
	}
	return "", Full
}

func (s *Server) taken(name node.Name) bool {
	return name == s.Name || s.Members.Taken(name) || s.Known != nil && s.Known(name)
}

// signedText writes the invitation for a newcomer, and returns which addresses of it were chosen here.
func (s *Server) signedText(name node.Name, inv *Invited) (data []byte, chosen []netip.Addr, err error) {
	r := Request{
		Dir: s.Dir, NetName: s.NetName, Name: s.Name, Invitee: name, Taken: s.Taken, Rand: s.random(),
		NetworkID: s.Members.NetworkID(), Given: inv.Addresses, Choose: inv.Choose, Approval: inv.Approval,
	}
	if s.Port != nil {
		r.Port = s.Port()
	}
	conf, err := readConf(s.Dir)
	if err != nil {
		return nil, nil, err
	}
	own, err := os.ReadFile(s.hostFile(s.Name))
	if err != nil {
		return nil, nil, fmt.Errorf("reading our own host file: %w", err)
	}
	port, err := r.listenPort(own, conf)
	if err != nil {
		return nil, nil, err
	}
	var made Invitation
	if data, err = r.text(own, conf, port, &made); errors.Is(err, errRangeFull) {
		return nil, nil, fmt.Errorf("%w: %w", Full, err)
	} else if err != nil {
		return nil, nil, err
	}
	for _, text := range made.Addresses {
		if p, err := netip.ParsePrefix(text); err == nil && !slices.Contains(inv.Addresses, p.Addr()) {
			chosen = append(chosen, p.Addr())
		}
	}
	return data, chosen, nil
}

// storeSigned writes the host file of a newcomer whom the roster knows. One that is there is of somebody who is no member.
func (s *Server) storeSigned(data []byte, key keys.PublicKey) error {
	t, err := parseText(data)
	if err != nil {
		return err
	}
	if err = s.store(t, key); errors.Is(err, Taken) && !s.hasKey(t.name, key) {
		return confdir.WriteFile(s.hostFile(t.name), hostFileOf(t, key), 0o644)
	}
	return err
}

// needsApproval is what an invitation says if an owner has to approve the newcomer. It is no variable of a configuration.
const needsApproval = "NeedsApproval"

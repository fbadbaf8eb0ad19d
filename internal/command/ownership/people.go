package ownership

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// Changes are what is to be different about a member. What is nil stays, or is what the host file says if the node is
// no member yet.
type Changes struct {
	Key          *keys.PublicKey
	Groups       []string
	Subnets      []subnet.Subnet
	Capabilities *roster.Capabilities
}

// Admit makes a node a member, or changes what a member has. existed tells that it was one.
func (n *Network) Admit(name node.Name, c Changes) (existed bool, err error) {
	m, existed, err := n.candidate(name, c.Key)
	if err != nil {
		return false, err
	}
	if c.Groups != nil {
		m.Groups = sorted(c.Groups)
	}
	if c.Subnets != nil {
		m.Subnets = granted(c.Subnets)
	}
	if c.Capabilities != nil {
		m.Capabilities = *c.Capabilities
	}
	if err := checkGroups(m.Groups); err != nil {
		return false, err
	}
	err = n.sign(fmt.Sprintf("admitting %s", name), roster.RightAdmit, func(key *keys.PrivateKey) ([][]byte, error) {
		return n.Roster.SignMember(m, 0, key)
	})
	if err == nil && m.Capabilities&roster.CapDoor != 0 {
		err = n.SealDoors()
	}
	return existed, err
}

func checkGroups(groups []string) error {
	for _, g := range groups {
		if !roster.ValidGroup(g) {
			return fmt.Errorf("group %q: a name has up to %d of A-Z a-z 0-9 _ -", g, roster.MaxGroup)
		}
	}
	return nil
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// candidate is what is known of a node: as a member, or else by its host file, by the key that was learned of it, or by the
// key that was given.
func (n *Network) candidate(name node.Name, key *keys.PublicKey) (m roster.Member, existed bool, err error) {
	if is := n.Roster.State().Member(name); is != nil {
		m = roster.Member{Name: name, Key: is.Key, RSA: is.RSA, Grant: is.Grant}
		if key != nil {
			m.Key = *key
		}
		return m, true, nil
	}
	m.Name = name
	if h, ok := n.Files.Hosts[name]; ok {
		m = memberOf(h)
	} else {
		store := &keydist.Store{Layout: n.Layout, Self: n.Files.Name}
		for _, l := range store.Learned() {
			if l.Node == name {
				m.Key = l.Key
			}
		}
	}
	if key != nil {
		m.Key = *key
	}
	if m.Key == (keys.PublicKey{}) && m.RSA == [32]byte{} {
		return m, false, terminal.Hint(fmt.Errorf("admitting %s: its key is not known here", name), "import its host file, or say the key: --key KEY (on that node: tincan get %s.Ed25519PublicKey)", name)
	}
	return m, false, nil
}

// Approve makes a pending newcomer a member.
func (n *Network) Approve(name node.Name) error {
	return n.sign(fmt.Sprintf("approving %s", name), roster.RightAdmit, func(key *keys.PrivateKey) ([][]byte, error) {
		return n.Roster.Approve(name, key)
	})
}

// Deny removes the key of a pending newcomer.
func (n *Network) Deny(name node.Name) error {
	for _, m := range n.Roster.State().Pending {
		if m.Name == name {
			return n.remove(m.Key, fmt.Sprintf("denying %s", name), "")
		}
	}
	return fmt.Errorf("denying %s: nobody of this name waits for approval", name)
}

// Target is a key that is to be removed.
type Target struct {
	Key    [32]byte
	Name   node.Name      // "": nobody's whose name is known
	Member bool           // it is a member's or a newcomer's
	Owned  []roster.Owner // the owners of this name: the removal does not change them
}

// Find finds who is meant by a name, a key or a fingerprint.
func (n *Network) Find(text string) (Target, error) {
	s := n.Roster.State()
	finger, notFinger := roster.ParseFingerprint(text)
	key, notKey := keys.ParsePublicKey(text)
	for _, m := range append(slices.Clone(s.Members), s.Pending...) {
		id := roster.Identity(m.Key, m.RSA)
		if string(m.Name) == text || notFinger == nil && roster.Fingerprint(id) == finger || notKey == nil && m.Key == key {
			t := Target{Key: id, Name: m.Name, Member: true}
			for _, o := range s.Owners.Owners {
				if o.Name == m.Name {
					t.Owned = append(t.Owned, o)
				}
			}
			return t, nil
		}
	}
	for _, d := range s.Devices {
		if string(d.Name) == text || notFinger == nil && roster.Fingerprint(d.Key) == finger {
			return Target{Key: d.Key, Name: d.Name}, nil
		}
	}
	for _, i := range s.Invitations {
		if notFinger == nil && roster.Fingerprint(i.Key) == finger {
			return Target{Key: i.Key}, nil
		}
	}
	if notKey == nil {
		return Target{Key: key}, nil
	}
	return Target{}, &NobodyError{text}
}

// NobodyError: no member, device, newcomer or invitation is called so.
type NobodyError struct{ Text string }

func (e *NobodyError) Error() string {
	return fmt.Sprintf("no member, device, waiting newcomer or invitation is called %q", e.Text)
}

// Remove removes a key for ever.
func (n *Network) Remove(t Target, reason string) error {
	what := "removing a key"
	if t.Name != "" {
		what = fmt.Sprintf("removing %s", t.Name)
	}
	return n.remove(t.Key, what, reason)
}

func (n *Network) remove(key [32]byte, what, reason string) error {
	if len(reason) > roster.MaxReason || strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("the reason has to be one line of at most %d bytes", roster.MaxReason)
	}
	return n.sign(what, roster.RightRemove, func(owner *keys.PrivateKey) ([][]byte, error) {
		return n.Roster.SignRemoval(key, reason, owner)
	})
}

// Leave removes this node's own key. A running node ends.
func (n *Network) Leave() error {
	id, _, err := n.Files.Identity()
	if err != nil {
		return err
	}
	if id.Key == nil {
		return errors.New("leaving the network: this node has no Ed25519 key to sign with; an owner has to remove it")
	}
	if n.Roster.State().MemberByKey(id.Key.Public()) == nil {
		return fmt.Errorf("leaving the network: %s is no member with this key", n.Files.Name)
	}
	raw, err := roster.Leave(n.Roster.Network(), n.Files.Name, id.Key)
	if err != nil {
		return err
	}
	err = n.add([][]byte{raw})
	if err != nil { // it may have ended before it could answer
		if again, e := Open(n.Layout, nil); e == nil && again.Roster.State().Removed(id.Key.Public()) != nil {
			return nil
		}
	}
	return err
}

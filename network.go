package tincan

import (
	"context"
	"fmt"
	"net/netip"

	"tincan/internal/confdir"
	"tincan/internal/generate"
	"tincan/internal/invite"
	"tincan/internal/node"
)

// NewNetwork says what the first node of a new network is like. Only Name is required.
type NewNetwork struct {
	Name  string       // of the node: letters, digits and underscores
	Range netip.Prefix // of addresses, for all nodes; the zero value: a private one at random
	Port  uint16       // to listen at, with TCP and UDP; 0: 655 if that is free now, else another one that is
}

// Identity is who a node is in its network.
type Identity struct {
	Name      string
	Addresses []netip.Prefix // in the VPN, with the length of the network's prefix
}

// Init makes the directory of a new, open network, like "tincan init --open", with its first node. That gets the first
// address of the range. A directory that holds a network already is an error, and left alone.
func Init(dir string, n NewNetwork) (Identity, error) {
	l, err := layout(dir, "")
	if err != nil {
		return Identity{}, err
	}
	name, err := node.ParseName(n.Name)
	if err != nil {
		return Identity{}, err
	}
	if !n.Range.IsValid() {
		n.Range = generate.RandomRange()
	}
	address, err := generate.FirstAddress(n.Range)
	if err != nil {
		return Identity{}, err
	}
	if _, err := (generate.Node{Layout: l, Name: name, Port: int(n.Port), VPN: address}).Create(); err != nil {
		return Identity{}, err
	}
	return Identity{Name: n.Name, Addresses: []netip.Prefix{address}}, nil
}

// Join uses an invitation ([Node.Invite], or "tincan invite") and makes the directory of the new node. It takes two
// minutes at most, or until ctx ends. After an error nothing is left behind, and unless the error says so
// the same invitation can be used again.
func Join(ctx context.Context, dir, url string) (Identity, error) {
	l, err := layout(dir, "")
	if err != nil {
		return Identity{}, err
	}
	r, err := invite.Join(ctx, invite.Options{URL: url, Place: confdir.Place{Conf: l.ConfBase}, Log: func(string) {}})
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Name: string(r.Name)}
	for _, text := range r.Addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return id, fmt.Errorf("joined as %s in %s, but the address %.40q cannot be read: %w", r.Name, dir, text, err)
		}
		id.Addresses = append(id.Addresses, p)
	}
	return id, nil
}

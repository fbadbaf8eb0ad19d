package ownership

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// Adoption says how an open network becomes a signed one.
type Adoption struct {
	Owner    node.Name // what the owner is called; "" as this node
	Recovery bool      // make a recovery key
	Signed   bool      // not by way of warn
}

// Adopted is what came of it.
type Adopted struct {
	ID       roster.ID
	Recovery string        // for the paper; "": there is no recovery key
	State    *roster.State // who is in
	LeftOut  []error       // nodes that are not, and why
}

// Adopt makes a roster for the network of a directory: with this node, and all nodes whose host files are there. The files say
// so afterwards; a running node has to read them again.
func Adopt(l confdir.Layout, ask Ask, a Adoption, now time.Time) (Adopted, error) {
	n, err := withoutRoster(l)
	if err != nil {
		return Adopted{}, err
	}
	if a.Owner == "" {
		a.Owner = n.Name
	}
	owner, err := keys.Generate(rand.Reader)
	if err != nil {
		return Adopted{}, err
	}
	g := roster.Genesis{
		Created:   now.Unix(),
		OwnerList: roster.OwnerList{Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: a.Owner}}},
	}
	rand.Read(g.Nonce[:]) // never fails
	var out Adopted
	if a.Recovery {
		var secret roster.RecoverySecret
		rand.Read(secret[:])
		g.Recovery, out.Recovery = secret.Key().Public(), secret.Text()
	}
	raw, id, err := roster.NewGenesis(g, owner)
	if err != nil {
		return Adopted{}, err
	}
	r := roster.New(id)
	if _, err := r.Add(raw); err != nil {
		return Adopted{}, err
	}
	list, err := adoptees(n, announced(ask))
	if err != nil {
		return Adopted{}, err
	}
	var raws [][]byte
	for _, m := range list {
		signed, err := r.SignMember(m, 0, owner)
		if err != nil {
			out.LeftOut = append(out.LeftOut, fmt.Errorf("%s: %w", m.Name, err))
			continue
		}
		raws = append(raws, signed...)
	}
	r.Merge(raws)
	out.ID, out.State = id, r.State()
	for _, name := range slices.Sorted(maps.Keys(n.Hosts)) {
		if h := n.Hosts[name]; h.Key == nil && h.RSAKey == nil {
			out.LeftOut = append(out.LeftOut, fmt.Errorf("%s: its host file has no key", name))
		}
	}
	for _, c := range out.State.Conflicts {
		out.LeftOut = append(out.LeftOut, fmt.Errorf("%s: %s", c.Name, c.Reason))
	}
	if err := confdir.Create(l.OwnerKey(), keys.MarshalPrivatePEM(owner), confdir.SecretMode); err != nil {
		return Adopted{}, err
	}
	err = members.Save(l, r)
	if err == nil {
		err = use(l, id, a.Signed)
	}
	if err != nil { // nobody has heard of this roster
		return Adopted{}, errors.Join(err, ignoreMissing(files.Remove(l.Roster())), files.Remove(l.OwnerKey()))
	}
	return out, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// withoutRoster reads the files of a network that has no roster.
func withoutRoster(l confdir.Layout) (*confdir.Network, error) {
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(l.Roster()); err == nil {
		return nil, terminal.Hint(fmt.Errorf("this network has a roster already: %s", l.Roster()), "tincan roster show")
	}
	if n.Settings.NetworkID != "" {
		return nil, terminal.Hint(errors.New("this node has accepted the roster of a network already, and fetches it from its neighbours"), "tincan del NetworkID, if that was a mistake")
	}
	if _, err := os.Lstat(l.OwnerKey()); err == nil {
		return nil, terminal.Hint(fmt.Errorf("there is an owner's key already: %s", l.OwnerKey()), "move it away, if it is that of another network")
	}
	return n, nil
}

// use writes into tinc.conf that the roster of a network is used.
func use(l confdir.Layout, id roster.ID, signed bool) error {
	mode := config.RosterWarn
	if signed {
		mode = config.RosterSigned
	}
	err := confdir.Edit(l.TincConf(), func(conf []byte) ([]byte, error) {
		conf, _ = config.Set(conf, "NetworkID", id.String())
		conf, _ = config.Set(conf, "Roster", mode.String())
		return conf, nil
	})
	if err != nil {
		return fmt.Errorf("changing the configuration: %w", err)
	}
	return nil
}

// announced are the subnets that nodes announce at the moment, as far as a running node can tell.
func announced(ask Ask) map[node.Name][]subnet.Subnet {
	out := map[node.Name][]subnet.Subnet{}
	_ = ask(func(c *control.Client) error {
		list, err := c.Subnets("")
		for _, s := range list {
			out[s.Owner] = append(out[s.Owner], s.Subnet)
		}
		return err
	})
	return out
}

// adoptees are the nodes of a directory that have a key.
func adoptees(n *confdir.Network, announced map[node.Name][]subnet.Subnet) ([]roster.Member, error) {
	id, _, err := n.Identity()
	if err != nil {
		return nil, err
	}
	self := roster.Member{Name: n.Name}
	if id.Key != nil {
		self.Key = id.Key.Public()
	}
	if id.RSAKey != nil {
		self.RSA = id.RSAKey.Public().Hash()
	}
	self.Subnets = granted(n.Own.Subnets, announced[n.Name])
	list := []roster.Member{self}
	for _, name := range slices.Sorted(maps.Keys(n.Hosts)) {
		if m := memberOf(n.Hosts[name]); m.Key != (keys.PublicKey{}) || m.RSA != [32]byte{} {
			m.Subnets = granted(m.Subnets, announced[name])
			list = append(list, m)
		}
	}
	return list, nil
}

// memberOf is what a host file says.
func memberOf(h config.Host) roster.Member {
	m := roster.Member{Name: h.Name}
	if h.Key != nil {
		m.Key = *h.Key
	}
	if h.RSAKey != nil {
		m.RSA = h.RSAKey.Hash()
	}
	m.Subnets = granted(h.Subnets)
	return m
}

// granted is a grant of subnets: those of IP, without weight and host bits, sorted, each once. MAC addresses, which
// are learned, need none.
func granted(lists ...[]subnet.Subnet) (out []subnet.Subnet) {
	for _, list := range lists {
		for _, s := range list {
			if p := s.Prefix(); p.IsValid() {
				out = append(out, subnet.FromPrefix(p.Masked()))
			}
		}
	}
	slices.SortFunc(out, subnet.Compare)
	return slices.Compact(out)
}

// Accept makes the network of a directory use the roster with an id, which its neighbours have.
func Accept(l confdir.Layout, id roster.ID, signed bool) error {
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		return err
	}
	r, _, err := members.Load(l, roster.ID{})
	switch {
	case err != nil:
		return err
	case r != nil && r.Network() != id:
		return terminal.Hint(fmt.Errorf("this node has the roster of another network: %v", r.Network()), "move %s away, if the network was made anew", l.Roster())
	case n.Settings.NetworkID != "" && n.Settings.NetworkID != id.String():
		return terminal.Hint(fmt.Errorf("this node has accepted another network: %s", n.Settings.NetworkID), "tincan del NetworkID, if that was a mistake")
	}
	return use(l, id, signed)
}

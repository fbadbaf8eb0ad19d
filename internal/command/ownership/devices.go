package ownership

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// Doors are the members that may let devices in, and can: they have a key that the doors' secret can be sealed for.
func (n *Network) Doors() (list []*roster.Membership) {
	for _, m := range n.Roster.State().Members {
		if m.Capabilities&roster.CapDoor != 0 && m.Key != (keys.PublicKey{}) {
			list = append(list, m)
		}
	}
	return list
}

// CanAddDevice tells what keeps this directory from adding a device of some name, before anything else is asked for: no member is a
// door, or no owner's key that may do it is here.
func (n *Network) CanAddDevice(name node.Name) error {
	what := fmt.Sprintf("adding the device %s", name)
	if len(n.Doors()) == 0 {
		return terminal.Hint(fmt.Errorf("%s: no member of the network is a door, at which it could come in", what),
			"choose a member that can be reached from everywhere: tincan admit NODE --door; and on that node: tincan set Door yes, then restart it")
	}
	key, err := n.owner(what, roster.RightAdmit)
	if err == nil && !n.Roster.State().May(key.Public(), roster.RightAdmit) {
		err = n.notAllowed(what, roster.RightAdmit)
	}
	return err
}

// AddDevice adds a device, or changes the one of that name, and sees to it that all doors have the key that they share. It returns
// the public half of that.
func (n *Network) AddDevice(d roster.Device) (roster.WireGuardKey, error) {
	d.Groups = sorted(d.Groups)
	d.Subnets = granted(d.Subnets)
	if err := checkGroups(d.Groups); err != nil {
		return roster.WireGuardKey{}, err
	}
	if err := n.CanAddDevice(d.Name); err != nil {
		return roster.WireGuardKey{}, err
	}
	err := n.sign(fmt.Sprintf("adding the device %s", d.Name), roster.RightAdmit, func(key *keys.PrivateKey) (raws [][]byte, err error) {
		raw, err := d.Sign(n.Roster, key)
		if err != nil {
			return nil, err
		}
		if raws, err = n.sealDoors(key, false); err != nil {
			return nil, err
		}
		return append(raws, raw), nil
	})
	if err != nil {
		return roster.WireGuardKey{}, err
	}
	return n.Roster.State().Door.Key, nil
}

// SealDoors gives the doors' key to doors that lack it, if there is a key. It changes nothing else.
func (n *Network) SealDoors() error {
	if n.Roster.State().Door == nil {
		return nil
	}
	return n.sign("giving the doors their key", roster.RightAdmit, func(key *keys.PrivateKey) ([][]byte, error) {
		return n.sealDoors(key, false)
	})
}

// RekeyDoors gives the doors another key, so that who was a door before is none any more. All devices need its public half, which
// is returned.
func (n *Network) RekeyDoors() (roster.WireGuardKey, error) {
	if n.Roster.State().Door == nil {
		return roster.WireGuardKey{}, errors.New("giving the doors another key: they have none yet, as there are no devices")
	}
	err := n.sign("giving the doors another key", roster.RightAdmit, func(key *keys.PrivateKey) ([][]byte, error) {
		return n.sealDoors(key, true)
	})
	if err != nil {
		return roster.WireGuardKey{}, err
	}
	return n.Roster.State().Door.Key, nil
}

// sealDoors makes the statement about the doors' key, if one is needed: for exactly the doors and owners of today. fresh: with
// another key.
func (n *Network) sealDoors(owner *keys.PrivateKey, fresh bool) ([][]byte, error) {
	s := n.Roster.State()
	var readers []keys.PublicKey
	for _, m := range n.Doors() {
		readers = append(readers, m.Key)
	}
	for _, o := range s.Owners.Owners {
		if o.Rights&roster.RightAdmit != 0 {
			readers = append(readers, o.Key)
		}
	}
	if s.Door != nil && !fresh && len(s.Door.Sealed) == len(readers) && !slices.ContainsFunc(readers, func(k keys.PublicKey) bool { return !s.Door.For(k) }) {
		return nil, nil
	}
	secret, err := n.doorSecret(owner, fresh)
	if err != nil {
		return nil, err
	}
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	d, err := secret.Seal(s.Network, readers, seed)
	if err != nil {
		return nil, err
	}
	raw, err := d.Sign(n.Roster, owner)
	if err != nil {
		return nil, err
	}
	return [][]byte{raw}, nil
}

// doorSecret is what the doors share, or another secret.
func (n *Network) doorSecret(owner *keys.PrivateKey, fresh bool) (roster.DoorSecret, error) {
	s := n.Roster.State()
	if s.Door == nil || fresh {
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return roster.DoorSecret{}, err
		}
		return roster.DoorSecret(key.Bytes()), nil
	}
	if secret, ok := s.Door.Open(s.Network, owner); ok {
		return secret, nil
	}
	if id, _, err := n.Files.Identity(); err == nil && id.Key != nil { // this node may be a door
		if secret, ok := s.Door.Open(s.Network, id.Key); ok {
			return secret, nil
		}
	}
	return roster.DoorSecret{}, terminal.Hint(errors.New("the key that the doors share was not sealed for this owner, who therefore cannot give it to another door"),
		"do it with the key of another owner; or give all doors another key, which all devices need then: tincan device rekey")
}

// RemoveDevice removes the key of a device, for ever.
func (n *Network) RemoveDevice(name node.Name, reason string) error {
	d := n.Roster.State().Device(name)
	if d == nil {
		return &NobodyError{string(name)}
	}
	return n.remove(d.Key, fmt.Sprintf("removing the device %s", name), reason)
}

// Granted are the subnets of all members, newcomers that wait for approval, and devices.
func (n *Network) Granted() (list []subnet.Subnet) {
	for _, s := range n.Roster.State().Granted {
		list = append(list, s)
	}
	return list
}

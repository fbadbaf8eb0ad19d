package roster

import (
	"bytes"
	"cmp"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// MaxSealed is for how many keys the secret of the doors can be sealed: those of the doors, and of the owners.
const MaxSealed = 48

const sealedLen = 32 + chacha20poly1305.Overhead

// WireGuardKey is a public key of WireGuard: a point of Curve25519.
type WireGuardKey [32]byte

// String returns the key as WireGuard writes it.
func (k WireGuardKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ParseWireGuardKey reads a key as WireGuard writes it: 44 characters.
func ParseWireGuardKey(s string) (k WireGuardKey, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("%.60q is not a key of WireGuard: 44 characters, the last one =", s)
	}
	return WireGuardKey(b), nil
}

// Device is something that has WireGuard and no tincan: a telephone, a router. It is no member: it has no connections and no
// voice, and sends packets by way of members that are doors ([CapDoor]).
type Device struct {
	Name    node.Name
	Key     WireGuardKey
	Subnets []subnet.Subnet // single addresses; sorted
	Groups  []string        // for the policy; sorted
}

// Door is the key that all doors of a network share, so that a device needs one configuration for all. The private half
// is sealed for each door and for each owner that may admit, who seals it for the next door.
type Door struct {
	Key       WireGuardKey
	Ephemeral keys.PublicKey // of the sender of what is sealed
	Sealed    []Sealed       // sorted
}

// Sealed is the private half of a [Door]'s key for one reader.
type Sealed struct {
	To  keys.PublicKey
	Box [sealedLen]byte
}

func (*Device) Kind() Kind { return KindDevice }
func (*Door) Kind() Kind   { return KindDoor }

func (d *Device) appendSubject(dst []byte) []byte { return append(dst, d.Name...) }
func (*Door) appendSubject(dst []byte) []byte     { return dst }

func (d *Device) appendBody(dst []byte) []byte {
	return appendGroups(appendSubnets(append(dst, d.Key[:]...), d.Subnets), d.Groups)
}

func (d *Door) appendBody(dst []byte) []byte {
	dst = append(append(append(dst, d.Key[:]...), d.Ephemeral[:]...), byte(len(d.Sealed)))
	for i := range d.Sealed {
		dst = append(append(dst, d.Sealed[i].To[:]...), d.Sealed[i].Box[:]...)
	}
	return dst
}

func parseDevice(subject []byte, r *reader) (Content, error) {
	name, err := node.ParseName(string(subject))
	if err != nil {
		return nil, err
	}
	d := &Device{Name: name, Key: r.id()}
	if d.Subnets, err = parseSubnets(r); err != nil {
		return nil, err
	}
	if d.Groups, err = parseGroups(r); err != nil {
		return nil, err
	}
	if r.short {
		return nil, errShort
	}
	return d, d.check()
}

func (d *Device) check() error {
	if d.Key == (WireGuardKey{}) {
		return errors.New("has no key")
	}
	if len(d.Subnets) == 0 || slices.ContainsFunc(d.Subnets, func(s subnet.Subnet) bool { return !single(s) }) {
		return errors.New("a device has single addresses, at least one")
	}
	return nil
}

func parseDoor(subject []byte, r *reader) (Content, error) {
	if len(subject) > 0 {
		return nil, errSubject
	}
	d := &Door{Key: r.id(), Ephemeral: r.id()}
	n := int(r.u8())
	if n > MaxSealed {
		return nil, fmt.Errorf("sealed for %d keys instead of at most %d", n, MaxSealed)
	}
	for range n {
		s := Sealed{To: r.id()}
		copy(s.Box[:], r.take(len(s.Box)))
		if last := len(d.Sealed) - 1; last >= 0 && bytes.Compare(d.Sealed[last].To[:], s.To[:]) >= 0 {
			return nil, errors.New("keys are not sorted")
		}
		d.Sealed = append(d.Sealed, s)
	}
	if !r.short && d.Key == (WireGuardKey{}) {
		return nil, errors.New("has no key")
	}
	return d, nil
}

// DoorSecret is the private half of the doors' key. It prints as "[redacted]".
type DoorSecret [32]byte

// String hides the secret.
func (DoorSecret) String() string { return "[redacted]" }

// GoString hides the secret.
func (DoorSecret) GoString() string { return "[redacted]" }

// Format hides the secret, whatever the verb.
func (DoorSecret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// Public is the public half.
func (s DoorSecret) Public() (WireGuardKey, error) {
	key, err := ecdh.X25519().NewPrivateKey(s[:])
	if err != nil {
		return WireGuardKey{}, err
	}
	return WireGuardKey(key.PublicKey().Bytes()), nil
}

// Seal makes the statement about a secret, for all who hold one of some keys. The seed, of 32 random bytes, must be used once
// only.
func (s DoorSecret) Seal(network ID, readers []keys.PublicKey, seed [32]byte) (*Door, error) {
	public, err := s.Public()
	if err != nil {
		return nil, err
	}
	readers = slices.Clone(readers)
	slices.SortFunc(readers, func(a, b keys.PublicKey) int { return bytes.Compare(a[:], b[:]) })
	readers = slices.Compact(readers)
	if len(readers) > MaxSealed {
		return nil, fmt.Errorf("%d doors and owners share a key, and %d can", len(readers), MaxSealed)
	}
	sender := keys.FromSeed(seed)
	d := &Door{Key: public, Ephemeral: sender.Public()}
	for _, to := range readers {
		if err := to.Valid(); err != nil {
			return nil, err
		}
		box, err := d.box(network, to, sender.Shared(to))
		if err != nil {
			return nil, err
		}
		sealed := Sealed{To: to}
		box.Seal(sealed.Box[:0], make([]byte, box.NonceSize()), s[:], nil)
		d.Sealed = append(d.Sealed, sealed)
	}
	return d, nil
}

// Open returns the secret to the holder of a key that it was sealed for. ok is false for others, and if it is not the one
// that belongs to d.Key.
func (d *Door) Open(network ID, reader *keys.PrivateKey) (secret DoorSecret, ok bool) {
	i := slices.IndexFunc(d.Sealed, func(s Sealed) bool { return s.To == reader.Public() })
	if i < 0 || d.Ephemeral.Valid() != nil {
		return secret, false
	}
	box, err := d.box(network, reader.Public(), reader.Shared(d.Ephemeral))
	if err != nil {
		return secret, false
	}
	if _, err := box.Open(secret[:0], make([]byte, box.NonceSize()), d.Sealed[i].Box[:], nil); err != nil {
		return DoorSecret{}, false
	}
	if public, err := secret.Public(); err != nil || public != d.Key {
		return DoorSecret{}, false
	}
	return secret, true
}

// For tells whether the secret is sealed for a key.
func (d *Door) For(key keys.PublicKey) bool {
	return slices.ContainsFunc(d.Sealed, func(s Sealed) bool { return s.To == key })
}

// box is the cipher for one reader. Its key is used for one message, so the nonce is zero.
func (d *Door) box(network ID, to keys.PublicKey, shared [32]byte) (cipher.AEAD, error) {
	info := slices.Concat([]byte("tincan door key v1\x00"), network[:], d.Key[:], d.Ephemeral[:], to[:])
	key, err := hkdf.Key(sha256.New, shared[:], nil, string(info), chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.New(key)
}

// SignedDevice is a device that counts.
type SignedDevice struct {
	*Device
	Serial    uint64
	Statement ID
	By        keys.PublicKey
}

// SignedDoor is the key of the doors that counts.
type SignedDoor struct {
	*Door
	Serial    uint64
	Statement ID
	By        keys.PublicKey
}

// Device returns the device with a name, nil if there is none.
func (s *State) Device(name node.Name) *SignedDevice {
	i, found := slices.BinarySearchFunc(s.Devices, name, func(d *SignedDevice, name node.Name) int { return cmp.Compare(d.Name, name) })
	if !found {
		return nil
	}
	return s.Devices[i]
}

// SameDevices tells whether two states have the same devices. Either may be nil, and has none then.
func (s *State) SameDevices(other *State) bool {
	var a, b []*SignedDevice
	if s != nil {
		a = s.Devices
	}
	if other != nil {
		b = other.Devices
	}
	return slices.EqualFunc(a, b, func(x, y *SignedDevice) bool { return x.Statement == y.Statement })
}

// decideDevices finds the devices. A name that an owner has given to a member is no device's. Of two devices with one key or
// address the one whose name comes first has it.
func (ev *evaluation) decideDevices() {
	before := ""
	keysOf, addresses := map[WireGuardKey]ID{}, map[string]ID{}
	for _, e := range ev.by(KindDevice, RightAdmit) { // sorted by name, and what counts first
		if e.subject == before {
			continue
		}
		before = e.subject
		d := e.Content.(*Device)
		if ev.removedByOwner(d.Key) {
			continue
		}
		if m := findMember(ev.members, d.Name); m != nil {
			ev.conflict(ReasonNameTaken, e, d.Name, keys.PublicKey(d.Key), m.Statement)
			continue
		}
		if other, taken := keysOf[d.Key]; taken {
			ev.conflict(ReasonKeyTaken, e, d.Name, keys.PublicKey(d.Key), other)
			continue
		}
		if i := slices.IndexFunc(d.Subnets, func(s subnet.Subnet) bool { _, taken := addresses[address(s)]; return taken }); i >= 0 {
			ev.conflict(ReasonAddressTaken, e, d.Name, keys.PublicKey(d.Key), addresses[address(d.Subnets[i])])
			continue
		}
		keysOf[d.Key] = e.id
		for _, s := range d.Subnets {
			addresses[address(s)] = e.id
		}
		ev.state.Devices = append(ev.state.Devices, &SignedDevice{Device: d, Serial: e.Serial, Statement: e.id, By: e.Signer})
	}
	if list := ev.by(KindDoor, RightAdmit); len(list) > 0 { // what counts comes first
		e := list[0]
		ev.state.Door = &SignedDoor{Door: e.Content.(*Door), Serial: e.Serial, Statement: e.id, By: e.Signer}
	}
}

// asMember is a device as far as names and addresses are concerned, which a newcomer may not take.
func (d *SignedDevice) asMember() *Membership {
	return &Membership{Name: d.Name, Grant: Grant{Subnets: d.Subnets}, Statement: d.Statement}
}

// Sign makes the statement that adds d to a roster, or changes the device of that name.
func (d *Device) Sign(r *Roster, key *keys.PrivateKey) ([]byte, error) {
	what := fmt.Sprintf("adding the device %s", d.Name)
	if err := r.allow(what, key, RightAdmit); err != nil {
		return nil, err
	}
	s := r.State()
	if s.Removed(d.Key) != nil {
		return nil, fmt.Errorf("%s: %w", what, &Refusal{Reason: ReasonRemoved})
	}
	named := func(m *Membership) bool { return m.Name == d.Name }
	if slices.ContainsFunc(s.Members, named) || slices.ContainsFunc(s.Pending, named) {
		return nil, &hinted{fmt.Errorf("%s: a member of the network is called so", what), "take another name"}
	}
	for _, sub := range d.Subnets {
		for _, m := range s.Members {
			if slices.ContainsFunc(m.Subnets, func(x subnet.Subnet) bool { return address(x) == address(sub) }) {
				return nil, fmt.Errorf("%s: %s has the address %v", what, m.Name, sub)
			}
		}
		for _, other := range s.Devices {
			if other.Name != d.Name && slices.ContainsFunc(other.Subnets, func(x subnet.Subnet) bool { return address(x) == address(sub) }) {
				return nil, fmt.Errorf("%s: the device %s has the address %v", what, other.Name, sub)
			}
		}
	}
	raw, err := r.signNext(0, d, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return raw, nil
}

// Sign makes the statement that replaces what a roster says of the doors' key.
func (d *Door) Sign(r *Roster, key *keys.PrivateKey) ([]byte, error) {
	if err := r.allow("giving the doors their key", key, RightAdmit); err != nil {
		return nil, err
	}
	return r.signNext(0, d, key)
}

// devices signs anew what owners have said of devices who are none any more, and of their doors. Nothing else takes that away.
func (c *carrier) devices() error {
	if !c.exact {
		return nil
	}
	now := c.trial.State()
	for _, old := range c.before.State().Devices {
		if is := now.Device(old.Name); is != nil && bytes.Equal(is.appendBody(nil), old.appendBody(nil)) || now.Removed(old.Key) != nil {
			continue
		}
		if err := c.sign(old.Statement, old.By, RightAdmit, 0, old.Device); err != nil {
			return err
		}
	}
	if old := c.before.State().Door; old != nil {
		if is := now.Door; is == nil || !bytes.Equal(is.appendBody(nil), old.appendBody(nil)) {
			return c.sign(old.Statement, old.By, RightAdmit, 0, old.Door)
		}
	}
	return nil
}

package bootnode

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// maxNodes is how many host files a network may have before nobody else is let in.
const maxNodes = 10000

// maxSharedHosts is how many host files of others a newcomer is given, beside
// that of the boot node: of those that can be dialled, and half as many that have an RSA key only. The rest spreads in the VPN.
const maxSharedHosts = 64

// Owned is a subnet and whose it is.
type Owned struct {
	Subnet subnet.Subnet
	Owner  node.Name
}

// Network is the network that newcomers join: its files, and the rules for what
// may be stored there.
type Network struct {
	Layout confdir.Layout
	Name   node.Name // the boot node
	// Ranges are the addresses of the network. Newcomers are given addresses of
	// the first range. Without any, see RangesOf, the subnets of newcomers are
	// only checked for sense.
	Ranges []netip.Prefix
	// Running returns the subnets of the running network. It may be nil.
	Running func() []Owned
	// Members is the signed network; nil: it is open.
	Members Members

	mu sync.Mutex // one newcomer after another
}

// Members is a signed network, in which newcomers become members. The invitation is that of a [Token].
type Members interface {
	NetworkID() string // 64 hexadecimal digits
	Enforced() bool    // false: the roster only warns, and host files count as in an open network
	// Key tells whether somebody of that name belongs to the network or waits for approval, and with which Ed25519 key, zero
	// if it has an RSA key only.
	Key(node.Name) (key keys.PublicKey, is bool)
	// Removed tells whether a key, as in the host file, was removed from the network, so that others may have its name.
	Removed(key string) bool
	// Granted are the addresses of all members, newcomers that wait for approval, and devices.
	Granted() []Owned
	// Admit admits a newcomer with the keys and addresses of its host file. It returns what it is not granted. The error may
	// be a [Refusal].
	Admit(invitation []byte, name node.Name, host []byte) (left []subnet.Subnet, err error)
}

// Refusal is why a newcomer is not let in, in words that it may hear.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// ErrTaken is the refusal for a name that another node has.
const ErrTaken = Refusal("there is a node of that name already, with another key")

// applicant is a node that wants to be let in by somebody who knows a token.
type applicant struct {
	name   node.Name
	host   []byte
	assign bool // an address is wanted
	proven bool // it has the private key of the key in host
	old    bool // by an old protocol, whose files may be without key

	invitation []byte // of its token, in a signed network
}

// admitted is what became of it.
type admitted struct {
	host     []byte // as it is stored
	address  netip.Prefix
	repeated bool     // it was let in before
	problems []string // what was left out of its file
}

// keyID identifies the key of a host file, or the whole file if it has none that can sign.
func keyID(host []byte) string {
	if key := edKey(host); key != nil {
		return key.String()
	}
	sum := sha256.Sum256(host)
	return "file " + hex.EncodeToString(sum[:])
}

// decision is what an applicant gets, before anything is stored.
type decision struct {
	admitted
	known bool   // its host file is here, and stands for a node of the network
	old   []byte // that file
}

// decide decides about an applicant, or tells why it is refused. A node that is known with the same key is let in again, so
// that a newcomer who missed the answer can ask once more. claims are what the store has promised. It stores nothing; n.mu is
// held.
func (n *Network) decide(a applicant, claims []Claim) (d decision, err error) {
	if a.name == n.Name {
		return d, Refusal("that is the name of the boot node")
	}
	d.old, err = os.ReadFile(n.Layout.Host(a.name))
	d.known = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	hosts, err := n.hosts()
	if err != nil {
		return d, err
	}
	if !d.known && max(len(hosts), len(claims)) >= maxNodes {
		return d, Refusal("the network has as many nodes as it can have")
	}
	used := n.used(a.name, hosts)
	var mine *Claim
	for _, c := range claims {
		switch {
		case n.Members != nil && n.Members.Removed(c.Key):
		case c.Name != a.name:
			used = append(used, c.owned()...)
		case c.Key != keyID(a.host):
			return d, ErrTaken
		default:
			mine = &c
		}
	}
	d.host, d.problems, err = hostfile.Check(a.name, a.host, hostfile.Policy{
		Ranges: n.Ranges, KeyOptional: a.old, AnyRSA: a.old,
		Taken: func(p netip.Prefix) (node.Name, bool) {
			for _, o := range used {
				if q := o.Subnet.Prefix(); q.IsValid() && q.Masked().Overlaps(p) && narrow(q) {
					return o.Owner, true
				}
			}
			return "", false
		},
	})
	if err != nil {
		return d, Refusal(err.Error())
	}
	if empty(d.host) {
		return d, Refusal("the host file is empty")
	}
	if n.Members != nil {
		if d.known, err = n.knownMember(a.name, d.old, d.host); err != nil {
			return d, err
		}
		if !d.known {
			d.old = nil
		}
	}
	if d.known && (hostfile.Compare(d.old, d.host) != hostfile.Same || edKey(d.old) == nil && !slices.Equal(d.old, d.host)) {
		return d, ErrTaken
	}
	d.repeated = d.known || mine != nil
	if a.assign {
		earlier := hostfile.Subnets(d.old)
		if mine != nil {
			for _, o := range mine.owned() {
				earlier = append(earlier, o.Subnet)
			}
		}
		if err := n.assign(&d.admitted, earlier, used); err != nil {
			return d, err
		}
	}
	if n.Members != nil && a.invitation == nil {
		return d, Refusal("this token was made before the network was a signed one; ask for a new one")
	}
	return d, nil
}

// claim is what the store is to promise to a node that is admitted.
func (d decision) claim(a applicant) Claim {
	c := Claim{Name: a.name, Key: keyID(a.host), Since: time.Now().UTC().Truncate(time.Second)}
	host := d.host
	if d.known && !a.proven {
		host = d.old
	}
	for _, s := range hostfile.Subnets(host) {
		c.Subnets = append(c.Subnets, s.String())
	}
	return c
}

// admit stores what was decided, and returns what has become of the applicant. n.mu is held.
func (n *Network) admit(a applicant, d decision) (admitted, error) {
	res := d.admitted
	if n.Members != nil {
		left, err := n.Members.Admit(a.invitation, a.name, res.host)
		if err != nil {
			return res, err
		}
		for _, s := range left {
			res.problems = append(res.problems, fmt.Sprintf("Subnet = %v is not granted by a token, so the others do not believe it; an owner can grant it: tincan admit %s", s, a.name))
		}
		if !d.known { // a file that is here is of somebody who is no member
			return res, confdir.WriteFile(n.Layout.Host(a.name), res.host, fileMode)
		}
	}
	switch {
	case d.known && !a.proven:
		res.host = d.old // only the node itself changes its file
		return res, nil
	case d.known:
		return res, confdir.WriteFile(n.Layout.Host(a.name), res.host, fileMode)
	}
	err := confdir.Create(n.Layout.Host(a.name), res.host, fileMode)
	if errors.Is(err, fs.ErrExist) {
		err = ErrTaken
	}
	return res, err
}

// knownMember tells whether a newcomer is a member already. Another one of its name is a reason to refuse it; a host file
// that is here is none.
func (n *Network) knownMember(name node.Name, old, host []byte) (known bool, err error) {
	key, is := n.Members.Key(name)
	mine := edKey(host)
	switch {
	case !is && old != nil && !n.Members.Enforced():
		return true, nil
	case !is:
		return false, nil
	case mine == nil && key == (keys.PublicKey{}): // nodes of tinc 1.0: the host files tell
		return old != nil, nil
	case mine == nil || *mine != key:
		return false, ErrTaken
	}
	return old != nil && hostfile.Compare(old, host) == hostfile.Same, nil
}

const fileMode = 0o644

// narrow tells whether a subnet is more than a path to everywhere.
func narrow(p netip.Prefix) bool { return p.Bits() > 8 }

// empty tells whether a host file sets nothing at all.
func empty(host []byte) bool {
	entries, _, err := config.Parse("", host)
	ed, rsa := hostfile.Key(host)
	return (err != nil || len(entries) == 0) && ed == nil && rsa == nil
}

// assign chooses an address for a newcomer that has none, or finds the one it has: in its file, or among the subnets that it had
// earlier.
func (n *Network) assign(res *admitted, earlier []subnet.Subnet, used []Owned) error {
	if len(n.Ranges) == 0 {
		return Refusal("this boot node does not know which addresses the network has, so it cannot choose one; choose one yourself (--ip)")
	}
	within := n.Ranges[0]
	for _, s := range append(hostfile.Subnets(res.host), earlier...) {
		p := s.Prefix()
		for _, r := range n.Ranges {
			if p.IsValid() && p.IsSingleIP() && r.Contains(p.Addr()) && !res.address.IsValid() {
				res.address = netip.PrefixFrom(p.Addr(), r.Bits())
			}
		}
	}
	if !res.address.IsValid() {
		running := make([]subnet.Subnet, len(used))
		for i, o := range used {
			running[i] = o.Subnet
		}
		var err error
		if res.address, err = invite.PickAddress(n.Layout.ConfBase, n.Name, within, running); err != nil {
			return err
		}
	}
	single := netip.PrefixFrom(res.address.Addr(), res.address.Addr().BitLen())
	res.host, _ = config.Add(res.host, "Subnet", subnet.FromPrefix(single).String())
	return nil
}

// hosts lists the nodes that have a host file.
func (n *Network) hosts() ([]node.Name, error) {
	files, err := os.ReadDir(n.Layout.Hosts())
	if err != nil {
		return nil, fmt.Errorf("listing the host files: %w", err)
	}
	var names []node.Name
	for _, f := range files {
		if name, ok := nodeName(f.Name()); ok && f.Type().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

// used lists the subnets of all nodes but one.
func (n *Network) used(except node.Name, hosts []node.Name) (all []Owned) {
	for _, name := range hosts {
		if name == except {
			continue
		}
		data, err := os.ReadFile(n.Layout.Host(name))
		if err != nil {
			continue
		}
		for _, s := range hostfile.Subnets(data) {
			all = append(all, Owned{s, name})
		}
	}
	if n.Members != nil {
		for _, o := range n.Members.Granted() {
			if o.Owner != except {
				all = append(all, o)
			}
		}
	}
	if n.Running != nil {
		for _, o := range n.Running() {
			if o.Owner != except {
				all = append(all, o)
			}
		}
	}
	return all
}

// shared returns the host files that a newcomer is given: that of the boot node, of others that can be dialled, and
// of others with an RSA key only. Those are nodes of tinc 1.0: nothing can be sent to them
// without it, so it could not be fetched from them either.
func (n *Network) shared(except node.Name) (map[string][]byte, error) {
	own, err := os.ReadFile(n.Layout.Host(n.Name))
	if err != nil {
		return nil, fmt.Errorf("reading our own host file: %w", err)
	}
	out := map[string][]byte{string(n.Name): own}
	hosts, err := n.hosts()
	if err != nil {
		return nil, err
	}
	public, old := 0, 0
	for _, name := range hosts {
		if name == except || name == n.Name {
			continue
		}
		data, err := os.ReadFile(n.Layout.Host(name))
		if err != nil || len(data) > hostfile.MaxSize {
			continue
		}
		ed, rsa := hostfile.Key(data)
		switch {
		case hostfile.Public(data) && public < maxSharedHosts:
			public++
		case ed == nil && rsa != nil && old < maxSharedHosts/2:
			old++
		default:
			continue
		}
		out[string(name)] = data
	}
	return out, nil
}

// everything returns all host files with names that tinc-boot knows.
func (n *Network) everything() (archive, error) {
	hosts, err := n.hosts()
	if err != nil {
		return nil, err
	}
	out, size := archive{}, 0
	for _, name := range hosts {
		if node.Normalise(string(name)) != string(name) {
			continue
		}
		data, err := os.ReadFile(n.Layout.Host(name))
		if size += len(data); err == nil && size < maxArchive/2 {
			out[string(name)] = data
		}
	}
	return out, nil
}

// own is our host file.
func (n *Network) own() ([]byte, error) { return os.ReadFile(n.Layout.Host(n.Name)) }

func edKey(host []byte) *keys.PublicKey {
	ed, _ := hostfile.Key(host)
	return ed
}

// RangesOf finds the addresses of a network in its files: what its own
// interface says, by Ifconfig or in a tinc-up that adds an address.
func RangesOf(l confdir.Layout) []netip.Prefix {
	data, err := os.ReadFile(l.TincConf())
	if err != nil {
		return nil
	}
	values := config.Values(data, "Ifconfig")
	if script, err := os.ReadFile(l.Script("tinc-up")); err == nil && len(values) == 0 {
		for _, m := range addAddress().FindAllStringSubmatch(string(script), -1) {
			values = append(values, m[1])
		}
	}
	var ranges []netip.Prefix
	for _, v := range values {
		p, err := netip.ParsePrefix(strings.TrimSpace(v))
		if err == nil && !p.IsSingleIP() && !slices.Contains(ranges, p.Masked()) {
			ranges = append(ranges, p.Masked())
		}
	}
	return ranges
}

// addAddress finds the address in the line of a tinc-up that sets it.
var addAddress = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^\s*ip\s+(?:-[46]\s+)?addr(?:ess)?\s+add\s+([0-9a-fA-F.:]+/[0-9]+)\b`)
})

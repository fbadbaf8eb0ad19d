package bootnode

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

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

	mu sync.Mutex // one newcomer after the other
}

// Members is a signed network, in which newcomers become members. The invitation is that of a [Token].
type Members interface {
	NetworkID() string // 64 hexadecimal digits
	Enforced() bool    // false: the roster only warns, and host files count as in an open network
	// Key tells whether somebody of that name belongs to the network or waits for approval, and with which Ed25519 key, zero
	// if it has an RSA key only.
	Key(node.Name) (key keys.PublicKey, is bool)
	// Granted are the addresses of all members.
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

// admit stores the host file of an applicant, or tells why not. A node that is
// known with the same key is let in again, so that a newcomer who missed the
// answer can ask once more.
func (n *Network) admit(a applicant) (res admitted, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a.name == n.Name {
		return res, Refusal("that is the name of the boot node")
	}
	old, err := os.ReadFile(n.Layout.Host(a.name))
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return res, err
	}
	hosts, err := n.hosts()
	if err != nil {
		return res, err
	}
	if !known && len(hosts) >= maxNodes {
		return res, Refusal("the network has as many nodes as it can have")
	}
	used := n.used(a.name, hosts)
	res.host, res.problems, err = hostfile.Check(a.name, a.host, hostfile.Policy{
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
		return res, Refusal(err.Error())
	}
	if empty(res.host) {
		return res, Refusal("the host file is empty")
	}
	if n.Members != nil {
		if known, err = n.knownMember(a.name, old, res.host); err != nil {
			return res, err
		}
		if !known {
			old = nil
		}
	}
	if known {
		res.repeated = true
		if hostfile.Compare(old, res.host) != hostfile.Same || edKey(old) == nil && !slices.Equal(old, res.host) {
			return res, ErrTaken
		}
	}
	if a.assign {
		if err := n.assign(a, &res, old, used); err != nil {
			return res, err
		}
	}
	if n.Members != nil {
		if a.invitation == nil {
			return res, Refusal("this token was made before the network was a signed one; ask for a new one")
		}
		left, err := n.Members.Admit(a.invitation, a.name, res.host)
		if err != nil {
			return res, err
		}
		for _, s := range left {
			res.problems = append(res.problems, fmt.Sprintf("Subnet = %v is not granted by a token, so the others do not believe it; an owner can grant it: tincan admit %s", s, a.name))
		}
		if !known { // a file that is here is of somebody who is no member
			return res, confdir.WriteFile(n.Layout.Host(a.name), res.host, fileMode)
		}
	}
	switch {
	case known && !a.proven:
		res.host = old // only the node itself changes its file
		return res, nil
	case known:
		return res, confdir.WriteFile(n.Layout.Host(a.name), res.host, fileMode)
	}
	err = confdir.Create(n.Layout.Host(a.name), res.host, fileMode)
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

// assign chooses an address for a newcomer that has none, or finds the one it has.
func (n *Network) assign(a applicant, res *admitted, old []byte, used []Owned) error {
	if len(n.Ranges) == 0 {
		return Refusal("this boot node does not know which addresses the network has, so it cannot choose one; choose one yourself (--ip)")
	}
	within := n.Ranges[0]
	for _, file := range [][]byte{res.host, old} {
		for _, s := range hostfile.Subnets(file) {
			p := s.Prefix()
			for _, r := range n.Ranges {
				if p.IsValid() && p.IsSingleIP() && r.Contains(p.Addr()) && !res.address.IsValid() {
					res.address = netip.PrefixFrom(p.Addr(), r.Bits())
				}
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
		for _, m := range addAddress.FindAllStringSubmatch(string(script), -1) {
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
var addAddress = regexp.MustCompile(`(?m)^\s*ip\s+(?:-[46]\s+)?addr(?:ess)?\s+add\s+([0-9a-fA-F.:]+/[0-9]+)\b`)

// Package zone is the names of a network in DNS: which addresses a name has, which name an address has, and what a DNS server
// answers to a query for them.
//
// It takes and returns bytes; who asks, and over which socket, is the business of package names. It knows no other domain than
// the network's and refuses everything else.
package zone

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"tincan/internal/node"
)

const (
	// MaxAddrs is how many addresses of a node are answered: those that come first.
	MaxAddrs = 100
	// maxLabel is the longest part of a name in DNS, in bytes. Nodes with longer names have none there.
	maxLabel = 63
	// maxDomain leaves room for the name of a node in front of the domain.
	maxDomain = 255 - 2 - maxLabel - 1
)

// Zone is what the names of a network stand for. It is safe for concurrent use, and who asks never waits for those who change it: what is
// known of a name is replaced as a whole, never changed.
type Zone struct {
	domain  string // lower case, without the final dot
	self    node.Name
	reverse []string // lower case, with the final dot
	owner   func(netip.Addr) (owner node.Name, known bool)

	mu    sync.Mutex // for changes
	names sync.Map   // lower-case name → []holder, the one that counts first; never empty

	records atomic.Pointer[records] // nil: there are none
}

// Source says by whose word a node has addresses. What a node announces itself comes before what it was granted.
type Source uint8

// The sources.
const (
	Granted   Source = iota // by the owners of the network
	Announced               // by the node
	sources
)

// holder is a node that has a name.
type holder struct {
	name  node.Name
	said  [sources][]netip.Addr // each sorted
	addrs []netip.Addr          // those that count
}

// New makes the zone of a network. domain was checked by [CheckDomain]. The addresses in reverse are the network's: of those
// that no node has, it is certain that they have no name. owner is to whom packets for an address are sent; it must not block.
func New(domain string, self node.Name, reverse []netip.Prefix, owner func(netip.Addr) (node.Name, bool)) *Zone {
	z := &Zone{domain: strings.ToLower(domain), self: self, owner: owner}
	for _, p := range reverse {
		for _, name := range Reverse(p) {
			z.reverse = append(z.reverse, name+".")
		}
	}
	return z
}

// CheckDomain tells why a text cannot be the domain of a network.
func CheckDomain(s string) error {
	switch {
	case s == "":
		return errors.New("it is empty")
	case len(s) > maxDomain:
		return fmt.Errorf("it is longer than %d characters", maxDomain)
	case strings.HasSuffix("."+strings.ToLower(s), ".arpa"):
		return errors.New("names below arpa stand for addresses")
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel {
			return fmt.Errorf("between the dots there must be 1 to %d characters", maxLabel)
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("no part may begin or end with a hyphen")
		}
		for i := range len(label) {
			switch c := label[i]; {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return fmt.Errorf("the character %q does not occur in domains", c)
			}
		}
	}
	return nil
}

// reserved are names that programs take for something else than the machine that has them. Since the domain is put behind names
// without dots, they would find the node in its place.
var reserved = []string{"localhost", "wpad", "isatap"}

// Set says which addresses a node has by the word of a source; none: the source does not know the node. The zone keeps the slice. Of nodes
// that can have no name in DNS it takes no notice. It reports whether that has changed anything.
func (z *Zone) Set(from Source, name node.Name, addrs []netip.Addr) (changed bool) {
	key := strings.ToLower(string(name))
	if len(key) > maxLabel || slices.Contains(reserved, key) {
		return false
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	addrs = addrs[:min(len(addrs), MaxAddrs)]
	z.mu.Lock()
	defer z.mu.Unlock()
	old := z.holders(key)
	at := slices.IndexFunc(old, func(h holder) bool { return h.name == name })
	h := holder{name: name}
	if at >= 0 {
		h = old[at]
	}
	if slices.Equal(h.said[from], addrs) {
		return false
	}
	h.said[from], h.addrs = addrs, nil
	for _, list := range h.said {
		if len(list) > 0 {
			h.addrs = list
		}
	}
	list := slices.DeleteFunc(slices.Clone(old), func(h holder) bool { return h.name == name })
	if len(h.addrs) > 0 {
		list = append(list, h)
		slices.SortFunc(list, func(a, b holder) int { return Compare(a.name, b.name) })
	}
	if len(list) == 0 {
		z.names.Delete(key)
	} else {
		z.names.Store(key, list)
	}
	return true
}

// Known are the nodes that a source knows.
func (z *Zone) Known(by Source) (list []node.Name) {
	z.names.Range(func(_, v any) bool {
		for _, h := range v.([]holder) {
			if len(h.said[by]) > 0 {
				list = append(list, h.name)
			}
		}
		return true
	})
	return list
}

// Compare orders nodes whose names are the same in DNS, where case does not count: the name belongs to the one that is written in lower case,
// else to the smallest. All nodes decide the same.
func Compare(a, b node.Name) int {
	upper := func(n node.Name) int { return cmp.Compare(strings.ToLower(string(n)), string(n)) }
	return cmp.Or(cmp.Compare(upper(a), upper(b)), cmp.Compare(a, b))
}

func (z *Zone) holders(key string) []holder {
	list, _ := z.names.Load(key)
	holders, _ := list.([]holder)
	return holders
}

// Named is a node as it is found by its name.
type Named struct {
	Name  node.Name
	Addrs []netip.Addr // sorted; not to be changed
	// Shadowed are other nodes whose names differ in case only: in DNS the name is not theirs.
	Shadowed []node.Name
	Aliases  []string // sorted, without the domain
}

// All are the nodes with names, sorted by these.
func (z *Zone) All() (list []Named) {
	z.names.Range(func(_, v any) bool {
		holders := v.([]holder)
		n := Named{Name: holders[0].name, Addrs: holders[0].addrs}
		for _, h := range holders[1:] {
			n.Shadowed = append(n.Shadowed, h.name)
		}
		list = append(list, n)
		return true
	})
	slices.SortFunc(list, func(a, b Named) int { return cmp.Compare(a.Name, b.Name) })
	for _, r := range z.Records() {
		if i, ok := slices.BinarySearchFunc(list, r.Node, func(n Named, name node.Name) int { return cmp.Compare(n.Name, name) }); ok && !r.Service {
			list[i].Aliases = append(list[i].Aliases, r.Name)
		}
	}
	return list
}

// Full is the name of a node in DNS, without a final dot; "" if it has none.
func (z *Zone) Full(name node.Name) string {
	_, full := z.named(name)
	return full
}

// named is what a node has, and [Zone.Full] of it, both of the same moment.
func (z *Zone) named(name node.Name) (h holder, full string) {
	key := strings.ToLower(string(name))
	if list := z.holders(key); len(list) > 0 && list[0].name == name {
		return list[0], key + "." + z.domain
	}
	return holder{}, ""
}

// Node is the node that a full name in DNS stands for, with or without a final dot; an alias, too.
func (z *Zone) Node(full string) (node.Name, bool) {
	key, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(full), "."), "."+z.domain)
	if h, found := z.holderOf(key); ok && found {
		return h.name, true
	}
	return "", false
}

// Addrs are the addresses of a node by its name in DNS, with or without the domain, sorted; not to be changed. None if there is no such node.
func (z *Zone) Addrs(host string) []netip.Addr {
	key := strings.TrimSuffix(strings.ToLower(host), ".")
	if name, ok := strings.CutSuffix(key, "."+z.domain); ok {
		key = name
	}
	h, _ := z.holderOf(key)
	return h.addrs
}

// nameOf is the full name of the node that has an address for itself.
func (z *Zone) nameOf(a netip.Addr) (full string, ok bool) {
	name, ok := z.owner(a)
	if !ok {
		return "", false
	}
	h, full := z.named(name)
	if !slices.Contains(h.addrs, a) {
		return "", false
	}
	return full, true
}

// Reverse are the domains in which the addresses of p have their names, without a final dot: one, or up to 8 if p ends within one.
func Reverse(p netip.Prefix) (domains []string) {
	p = p.Masked()
	step := 8
	if p.Addr().Is6() {
		step = 4
	}
	whole := (p.Bits() + step - 1) / step * step
	if whole-p.Bits() > 3 {
		return nil
	}
	b := p.Addr().AsSlice()
	for i := range 1 << (whole - p.Bits()) {
		if whole > 0 {
			at := (whole - 1) / 8
			shift := (8 - whole%8) % 8
			b[at] = p.Addr().AsSlice()[at] | byte(i<<shift)
		}
		a, _ := netip.AddrFromSlice(b)
		domains = append(domains, strings.TrimSuffix(reverseName(a, whole), "."))
	}
	return domains
}

// reverseName is the name of the first bits of an address, with a final dot.
func reverseName(a netip.Addr, bits int) string {
	var b strings.Builder
	raw := a.AsSlice()
	if a.Is4() {
		for i := bits/8 - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "%d.", raw[i])
		}
		return b.String() + "in-addr.arpa."
	}
	for i := bits/4 - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "%x.", raw[i/2]>>(4*(1-i%2))&15)
	}
	return b.String() + "ip6.arpa."
}

// parseReverse reads a name below in-addr.arpa or ip6.arpa in lower case, with the final dot. The bits of the address that it does not name are 0.
func parseReverse(name string) (p netip.Prefix, ok bool) {
	if rest, is4 := strings.CutSuffix(name, "in-addr.arpa."); is4 {
		var b [4]byte
		n := 0
		for ; rest != ""; n++ {
			if n == len(b) || !strings.HasSuffix(rest, ".") {
				return p, false
			}
			rest = rest[:len(rest)-1]
			label := rest[strings.LastIndexByte(rest, '.')+1:]
			rest = rest[:len(rest)-len(label)]
			v, ok := decimal(label)
			if !ok {
				return p, false
			}
			b[n] = v
		}
		return netip.PrefixFrom(netip.AddrFrom4(b), 8*n), true
	}
	rest, is6 := strings.CutSuffix(name, "ip6.arpa.")
	if !is6 || len(rest) > 64 || len(rest)%2 != 0 {
		return p, false
	}
	var b [16]byte
	n := 0
	for i := len(rest) - 2; i >= 0; i -= 2 {
		v := strings.IndexByte("0123456789abcdef", rest[i])
		if v < 0 || rest[i+1] != '.' {
			return p, false
		}
		b[n/2] |= byte(v) << (4 * (1 - n%2))
		n++
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 4*n), true
}

// decimal reads 0 to 255 without leading zeros.
func decimal(s string) (v byte, ok bool) {
	if s == "" || len(s) > 3 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return byte(n), n < 256
}

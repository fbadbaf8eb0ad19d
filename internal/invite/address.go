package invite

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/config"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// An invitation carries an address of the network's range for the newcomer:
// in its first block "Ifconfig = ADDR/LEN" and "Subnet = ADDR". Two inviters
// must not give the same address away even if they choose at the same moment
// and cannot talk to each other. So each address belongs to one of the nodes
// that both know (the one with the highest hash of name and address), and an
// inviter takes others only when it has none of its own left.

var errRangeFull = errors.New("there is no free address left")

// occupied is what is known to be in use.
type occupied struct {
	single map[netip.Addr]bool
	wide   []netip.Prefix
}

func (o *occupied) add(s subnet.Subnet) {
	p := s.Prefix()
	switch {
	case !p.IsValid():
	case p.IsSingleIP():
		o.single[p.Addr()] = true
	default:
		o.wide = append(o.wide, p.Masked())
	}
}

// has tells whether a is in use by somebody inside of the range. Subnets that
// cover the whole range, such as a default route, do not count.
func (o *occupied) has(a netip.Addr, within netip.Prefix) bool {
	if o.single[a] {
		return true
	}
	for _, p := range o.wide {
		if p.Bits() > within.Bits() && p.Contains(a) {
			return true
		}
	}
	return false
}

// addresses chooses addresses on behalf of one node.
type addresses struct {
	self   node.Name
	others []node.Name // nodes that may invite, too
	used   occupied
	rand   io.Reader
}

// survey reads what is in use from the host files, the open invitations except
// the one in the file called except, and the subnets of the running network.
func survey(dir string, self node.Name, except string, running []subnet.Subnet, rand io.Reader) (*addresses, error) {
	a := &addresses{self: self, rand: rand, used: occupied{single: map[netip.Addr]bool{}}}
	for _, s := range running {
		a.used.add(s)
	}
	conf, err := readConf(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range ownPrefixes(conf) {
		a.used.single[p.Addr()] = true
	}
	for addr := range netwatch.InUse("") { // where the range is that of a network around
		a.used.single[addr] = true
	}
	hosts, err := os.ReadDir(filepath.Join(dir, "hosts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listing the host files: %w", err)
	}
	for _, f := range hosts {
		name, err := node.ParseName(f.Name())
		if err != nil {
			continue
		}
		if name != self {
			a.others = append(a.others, name)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "hosts", f.Name())); err == nil {
			a.occupy(config.Values(data, "Subnet"))
		}
	}
	store := storeIn(dir)
	for _, name := range store.names() {
		if strings.TrimSuffix(name, usedSuffix) == except {
			continue
		}
		if t, err := store.read(name); err == nil {
			a.occupy(t.values("Subnet"))
		}
	}
	return a, nil
}

func (a *addresses) occupy(values []string) {
	for _, v := range values {
		if s, err := subnet.Parse(v); err == nil {
			a.used.add(s)
		}
	}
}

// ownPrefixes returns the addresses of our VPN interface, from which the
// ranges of the network follow. At most one of each family counts.
func ownPrefixes(conf []byte) []netip.Prefix {
	var out []netip.Prefix
	var have4, have6 bool
	for _, v := range config.Values(conf, "Ifconfig") {
		p, err := netip.ParsePrefix(v)
		if err != nil || p.Addr().Is4In6() || p.IsSingleIP() {
			continue
		}
		have := &have6
		if p.Addr().Is4() {
			have = &have4
		}
		if !*have {
			*have = true
			out = append(out, p)
		}
	}
	return out
}

// enumerable is how many host bits a range may have to be looked through
// address by address.
const enumerable = 16

// tries is how many random addresses of a larger range are looked at.
const tries = 4096

// pick chooses a free address of the range of p at random.
func (a *addresses) pick(p netip.Prefix) (netip.Addr, error) {
	p = p.Masked()
	find := a.sample
	if bits := p.Addr().BitLen() - p.Bits(); bits <= enumerable {
		find = a.enumerate
		if bits > enumerable/2 { // most likely there is no need to look at all of them
			if addr, ok, err := a.sample(p, a.mine); ok || err != nil {
				return addr, err
			}
		}
	}
	if addr, ok, err := find(p, a.mine); ok || err != nil {
		return addr, err
	}
	addr, ok, err := find(p, func(netip.Addr) bool { return true })
	if err == nil && !ok {
		err = fmt.Errorf("choosing an address in %v: %w", p, errRangeFull)
	}
	return addr, err
}

func (a *addresses) free(addr netip.Addr, p netip.Prefix) bool {
	return usable(addr, p) && !a.used.has(addr, p)
}

// usable tells whether addr can be given to an interface: it is not the
// address of the network itself, nor its broadcast address.
func usable(addr netip.Addr, p netip.Prefix) bool {
	bits := addr.BitLen() - p.Bits()
	if bits <= 1 {
		return true // RFC 3021, RFC 6164
	}
	if addr == p.Addr() {
		return false
	}
	return addr.Is6() || p.Contains(addr.Next()) // the last one is the broadcast address
}

func (a *addresses) enumerate(p netip.Prefix, suits func(netip.Addr) bool) (netip.Addr, bool, error) {
	var free []netip.Addr
	for addr := p.Addr(); p.Contains(addr); addr = addr.Next() {
		if a.free(addr, p) && suits(addr) {
			free = append(free, addr)
		}
	}
	if len(free) == 0 {
		return netip.Addr{}, false, nil
	}
	i, err := below(a.rand, len(free))
	return free[i], true, err
}

func (a *addresses) sample(p netip.Prefix, suits func(netip.Addr) bool) (netip.Addr, bool, error) {
	for range tries {
		b := p.Addr().AsSlice()
		random := make([]byte, len(b))
		if _, err := io.ReadFull(a.rand, random); err != nil {
			return netip.Addr{}, false, err
		}
		for i := range b {
			hostBits := byte(0xff)
			if full := p.Bits() - 8*i; full >= 8 {
				hostBits = 0
			} else if full > 0 {
				hostBits >>= full
			}
			b[i] |= random[i] & hostBits
		}
		addr, _ := netip.AddrFromSlice(b)
		if a.free(addr, p) && suits(addr) {
			return addr, true, nil
		}
	}
	return netip.Addr{}, false, nil
}

// mine tells whether addr belongs to us rather than to another inviter.
func (a *addresses) mine(addr netip.Addr) bool {
	own := weight(a.self, addr)
	for _, n := range a.others {
		if weight(n, addr) > own {
			return false
		}
	}
	return true
}

// weight is a hash that all nodes compute alike.
func weight(n node.Name, addr netip.Addr) uint64 {
	h := fnv.New64a()
	h.Write([]byte(n))
	b := addr.As16()
	h.Write(b[:])
	// FNV mixes its last bytes badly; this is MurmurHash3's final step.
	v := h.Sum64()
	v = (v ^ v>>33) * 0xff51afd7ed558ccd
	v = (v ^ v>>33) * 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

// below returns a random number from 0 to n-1.
func below(rand io.Reader, n int) (int, error) {
	var b [16]byte // enough that the remainder is as good as uniform
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return 0, err
	}
	var v big.Int
	return int(v.Mod(v.SetBytes(b[:]), big.NewInt(int64(n))).Int64()), nil
}

// Readdress looks whether the addresses in an invitation are still free and
// replaces those that are not, so that a choice made days ago does no harm.
// dir is the configuration directory, self the inviter, file the name of the
// invitation's own file, running the subnets of the network as it is now.
func Readdress(data []byte, dir string, self node.Name, file string, running []subnet.Subnet, rand io.Reader) (out []byte, changed bool, err error) {
	t, err := parseText(data)
	if err != nil {
		return nil, false, err
	}
	given := t.given()
	if len(given) == 0 {
		return data, false, nil
	}
	a, err := survey(dir, self, file, running, rand)
	if err != nil {
		return nil, false, err
	}
	replace := map[netip.Addr]netip.Addr{}
	for _, p := range given {
		if a.free(p.Addr(), p.Masked()) {
			continue
		}
		if replace[p.Addr()], err = a.pick(p); err != nil {
			return nil, false, err
		}
	}
	if len(replace) == 0 {
		return data, false, nil
	}
	return t.readdressed(data, replace), true, nil
}

// given returns the addresses that an inviter has chosen for the newcomer:
// those with both an Ifconfig and a Subnet line.
func (t text) given() []netip.Prefix {
	own := map[netip.Addr]bool{}
	for _, v := range t.values("Subnet") {
		if s, err := subnet.Parse(v); err == nil && s.Prefix().IsSingleIP() {
			own[s.Addr()] = true
		}
	}
	var out []netip.Prefix
	for _, v := range t.values("Ifconfig") {
		if p, err := netip.ParsePrefix(v); err == nil && own[p.Addr()] && !p.IsSingleIP() {
			out = append(out, p)
		}
	}
	return out
}

// readdressed replaces addresses in the first block of data.
func (t text) readdressed(data []byte, replace map[netip.Addr]netip.Addr) []byte {
	var w writer
	first := true
	for i, raw := range rows(data) {
		l := split(raw)
		if i > 0 && l.is("Name") && strings.TrimSpace(l.value) != string(t.name) {
			first = false
		}
		if first && (l.is("Ifconfig") || l.is("Subnet")) {
			addr, tail := cutAddr(strings.TrimSpace(l.value))
			if to, ok := replace[addr]; ok {
				w.set(l.variable, to.String()+tail)
				continue
			}
		}
		w.WriteString(raw + "\n")
	}
	return w.Bytes()
}

// cutAddr splits ADDR[/LEN][#WEIGHT] after the address.
func cutAddr(s string) (netip.Addr, string) {
	i := strings.IndexAny(s, "/#")
	if i < 0 {
		i = len(s)
	}
	addr, _ := netip.ParseAddr(s[:i])
	return addr, s[i:]
}

// readConf returns tinc.conf and the files of conf.d as one text.
func readConf(dir string) ([]byte, error) {
	out, err := os.ReadFile(filepath.Join(dir, "tinc.conf"))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	more, _ := filepath.Glob(filepath.Join(dir, "conf.d", "*.conf"))
	for _, file := range more {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the configuration: %w", err)
		}
		out = append(append(out, '\n'), data...)
	}
	return out, nil
}

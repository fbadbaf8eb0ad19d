// Package hostfile judges host files that come from other machines: which
// lines may be stored, and whose keys they hold.
//
// A host file steers this machine: its Address lines are dialled, its keys are
// believed, its subnets attract traffic, and tinc's daemon would read other
// files if it named them. So nothing is stored that has not passed [Check].
package hostfile

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Limits of a host file that another machine offers.
const (
	MaxSize      = 16 << 10 // bytes; an RSA key of 8192 bits needs 1.5 KiB
	MaxLine      = 1023     // bytes; tinc 1.0 reads no longer ones in one piece
	MaxAddresses = 16       // each one is dialled by every node
	MaxSubnets   = 64
	MaxCarriers  = 4
)

// Policy says what one node may have in its host file.
type Policy struct {
	// Ranges are the networks that subnets have to lie in. Without any, every
	// IP network will do that is not absurdly wide, see AllowWide.
	Ranges []netip.Prefix
	// Taken tells who else has a subnet that overlaps with this one. It may be nil.
	Taken func(netip.Prefix) (node.Name, bool)
	// AllowWide lets subnets pass that are wider than 8 bits (IPv4) or 16 bits
	// (IPv6): a default route, or half of one.
	AllowWide bool
	// KeyOptional lets a file without any key pass.
	KeyOptional bool
	// AnyRSA lets RSA keys pass that look like keys but cannot be read: the old
	// programs copy them unread, and nobody can log in with one.
	AnyRSA bool
}

// Offered is the policy for host files that somebody gives to a user: by an invitation,
// or as text to import. Their subnets attract nothing by themselves (the mesh says who
// owns what), so a default route is no harm there; and a node whose key is not known can
// still be one that is only dialled.
var Offered = Policy{KeyOptional: true, AllowWide: true, AnyRSA: true}

// Check judges a host file that somebody offers for the node called name.
//
// clean is what may be stored: data itself if there is nothing to object to,
// else data without the lines that problems tells about, one sentence each. An
// error means that the file as a whole is not acceptable. clean may share
// memory with data.
func Check(name node.Name, data []byte, p Policy) (clean []byte, problems []string, err error) {
	clean, problems, err = check(data, p)
	if err != nil {
		return nil, nil, fmt.Errorf("host file of %s: %w", name, err)
	}
	return clean, problems, nil
}

func check(data []byte, p Policy) ([]byte, []string, error) {
	rows, err := split(data)
	if err != nil {
		return nil, nil, err
	}
	c := checker{policy: p}
	var clean []byte
	for _, r := range rows {
		why, err := c.row(r)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", r.number, err)
		}
		if why != "" {
			c.problems = append(c.problems, fmt.Sprintf("line %d, %s", r.number, why))
			continue
		}
		clean = append(clean, r.raw...)
	}
	if err := c.finish(); err != nil {
		return nil, nil, err
	}
	if len(c.problems) == 0 {
		clean = data
	}
	return clean, c.problems, nil
}

// row is a line, or a whole block from BEGIN to END.
type row struct {
	raw    []byte // with line ends
	text   string // without; of a block its first line
	block  bool
	number int // of the first line, from 1
}

const (
	blockBegin = "-----BEGIN" // all that tinc looks at
	blockEnd   = "-----END"
)

// split takes a file apart and refuses what programs could read in more than
// one way: what looks like one line to us must be one to tinc.
func split(data []byte) ([]row, error) {
	switch {
	case len(data) > MaxSize:
		return nil, fmt.Errorf("it has more than %d bytes", MaxSize)
	case !utf8.Valid(data):
		return nil, errors.New("it is not text")
	}
	var rows []row
	number, open := 0, false
	for raw := range bytes.Lines(data) {
		number++
		text, ended := strings.CutSuffix(string(raw), "\n")
		if ended { // at the end of a file tinc keeps a carriage return in the value
			text = strings.TrimSuffix(text, "\r")
		}
		switch {
		case len(raw) > MaxLine+1: // with its end, or tinc reads the "\r" as part of the value
			return nil, fmt.Errorf("line %d has more than %d bytes", number, MaxLine)
		case strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7f) }):
			return nil, fmt.Errorf("line %d contains a control character", number)
		case strings.HasPrefix(text, "\ufeff"):
			return nil, fmt.Errorf("line %d begins with a byte order mark, which tinc takes for a part of the variable", number)
		}
		switch {
		case open:
			last := &rows[len(rows)-1]
			last.raw = append(last.raw, raw...)
			open = !strings.HasPrefix(text, blockEnd)
		default:
			open = strings.HasPrefix(text, blockBegin)
			rows = append(rows, row{raw: bytes.Clone(raw), text: text, block: open, number: number})
		}
	}
	if open {
		return nil, fmt.Errorf("the block that begins on line %d has no end", rows[len(rows)-1].number)
	}
	return rows, nil
}

// checker goes through a file.
type checker struct {
	policy             Policy
	problems           []string
	seen               []string // single-valued variables and keys
	addresses, subnets int
	carriers           int
	keys               int
}

// row judges one row: why it is left out ("" if it stays), or an error.
func (c *checker) row(r row) (why string, err error) {
	switch {
	case r.block:
		return c.block(r)
	case r.text == "", r.text[0] == '#':
		return "", nil
	case strings.Trim(r.text, " \t") == "":
		return "it consists of whitespace: tinc would stop reading there", nil
	case r.text[0] == ' ' || r.text[0] == '\t' || r.text[0] == '-' || r.text[0] == '=':
		return "it does not begin with a variable", nil
	}
	entries, _, err := config.Parse("", r.raw)
	if err != nil || len(entries) != 1 {
		return "it has no value", nil
	}
	return c.entry(entries[0])
}

// allowed are the variables that a node may set for itself on other machines.
// Those that name files, and those that weaken the old protocol, are not among them.
var allowed = []string{
	"Address", "Carrier", "Port", "Subnet", "Ed25519PublicKey",
	"IndirectData", "TCPOnly", "ClampMSS", "PMTU", "PMTUDiscovery", "Weight", "Compression",
	"Version", // a note of tinc-boot to itself
}

func (c *checker) entry(e config.Entry) (why string, err error) {
	v, known := config.Find(e.Name)
	if !known || !slices.Contains(allowed, v.Name) {
		return fmt.Sprintf("%.40s: not accepted from another machine", e.Name), nil
	}
	if !v.Is(config.Multiple) && !c.first(v.Name) {
		return fmt.Sprintf("%s: given twice", v.Name), nil
	}
	switch v.Name {
	case "Address":
		a, bad := config.ParseAddress(e.Value)
		return otherMachine(v.Name, a.Host, bad, &c.addresses, MaxAddresses, "addresses")
	case "Carrier":
		k, bad := config.ParseCarrier(e.Value)
		return otherMachine(v.Name, k.Host, bad, &c.carriers, MaxCarriers, "carriers")
	case "Subnet":
		return "", c.subnet(e.Value)
	case "Port":
		if _, err := config.ParsePort(e.Value); err != nil {
			return "", err
		}
	case "Ed25519PublicKey":
		k, err := keys.ParsePublicKey(e.Value)
		if err == nil {
			err = k.Valid()
		}
		if err != nil {
			return "", err
		}
		return "", c.key("Ed25519")
	}
	return "", nil
}

// first tells whether what is met for the first time.
func (c *checker) first(what string) bool {
	if slices.Contains(c.seen, what) {
		return false
	}
	c.seen = append(c.seen, what)
	return true
}

// otherMachine judges a line that says at which host the node is found. bad is what is wrong with its text; count is how many of
// them came before.
func otherMachine(variable, host string, bad error, count *int, most int, many string) (why string, err error) {
	if bad != nil {
		return fmt.Sprintf("%s: %v", variable, bad), nil
	}
	if !dialable(host) {
		return fmt.Sprintf("%s: %.60q cannot be the address of another machine", variable, host), nil
	}
	if *count++; *count > most {
		return "", fmt.Errorf("there are more than %d %s", most, many)
	}
	return "", nil
}

// dialable tells whether host may be that of another machine: not this one, no
// group of machines, nothing that is neither an address nor a host name.
func dialable(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && !(a.Is4() && a.IsLinkLocalUnicast()) && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	return len(host) <= 253 && !strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") &&
		strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

func (c *checker) subnet(value string) error {
	s, err := subnet.ParseLocal(value)
	if err != nil {
		return err
	}
	if c.subnets++; c.subnets > MaxSubnets {
		return fmt.Errorf("there are more than %d subnets", MaxSubnets)
	}
	prefix := s.Prefix()
	if !prefix.IsValid() { // a MAC address, in a network that works like a switch
		if len(c.policy.Ranges) > 0 {
			return fmt.Errorf("the subnet %s is not one of this network", s)
		}
		return nil
	}
	prefix = prefix.Masked()
	return c.policy.Subnet(prefix)
}

// Subnet tells why a node may not have this subnet, or returns nil.
func (p Policy) Subnet(prefix netip.Prefix) error {
	prefix = prefix.Masked()
	widest := 8
	if prefix.Addr().Is6() {
		widest = 16
	}
	switch {
	case prefix.Bits() < widest && !p.AllowWide:
		return fmt.Errorf("the subnet %s is as wide as a default route", prefix)
	case prefix.Addr().IsLoopback(), prefix.Addr().IsMulticast(), prefix.Addr().IsLinkLocalUnicast():
		return fmt.Errorf("the subnet %s cannot be in a VPN", prefix)
	case len(p.Ranges) > 0 && !p.inside(prefix) && !(p.AllowWide && prefix.Bits() < widest):
		return fmt.Errorf("the subnet %s is not one of this network", prefix)
	}
	if p.Taken != nil {
		if other, ok := p.Taken(prefix); ok {
			return fmt.Errorf("the subnet %s belongs to %s", prefix, other)
		}
	}
	return nil
}

func (p Policy) inside(prefix netip.Prefix) bool {
	return slices.ContainsFunc(p.Ranges, func(r netip.Prefix) bool {
		return r.Bits() <= prefix.Bits() && r.Contains(prefix.Addr())
	})
}

// finish looks at the whole.
func (c *checker) finish() error {
	if c.keys == 0 && !c.policy.KeyOptional {
		return errors.New("it holds no public key")
	}
	return nil
}

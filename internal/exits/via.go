// Package exits knows which packets are to leave the mesh by which exit nodes: the lines Via of the configuration, the
// files of prefixes that they name, and the choice of one node among those of a line by what probes have told.
//
// It is pure. Who probes, and who tells the kernel and the data plane, is the daemon's business.
package exits

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/node"
)

// Via is one line: which packets leave the mesh by which nodes. Exactly one of Default, Prefix and File is set.
type Via struct {
	Default bool         // all that is for nobody in the mesh, of both families
	Prefix  netip.Prefix // what is for these addresses
	File    string       // what is for the prefixes in this file
	Exits   []node.Name  // in the order in which they are tried; none twice
}

// For is the line as it counts for the node self, whose configuration is in a directory: without itself, since all nodes may have the
// same lines, and with the whole path of its file.
func (v Via) For(self node.Name, dir string) Via {
	v.Exits = slices.DeleteFunc(v.Exits, func(n node.Name) bool { return n == self })
	if v.File != "" && !filepath.IsAbs(v.File) {
		v.File = filepath.Join(dir, v.File)
	}
	return v
}

// MaxExits is how many nodes one line may name.
const MaxExits = 16

const form = "write default, a prefix such as 203.0.113.0/24, or @FILE, and after a space the names of nodes, separated by commas"

// ParseVia reads the value of a line: WHAT NODE,NODE…
func ParseVia(s string) (Via, error) {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) < 2 {
		return Via{}, errors.New(form)
	}
	var v Via
	switch what := words[0]; {
	case strings.EqualFold(what, "default"):
		v.Default = true
	case strings.HasPrefix(what, "domain:"):
		return Via{}, errors.New("names of domains are not supported: the addresses behind them change; write their prefixes, or @FILE")
	case what == "@":
		return Via{}, errors.New("the name of a file is missing after @")
	case strings.HasPrefix(what, "@"):
		v.File = what[1:]
	default:
		p, err := parsePrefix(what)
		if err != nil {
			return Via{}, err
		}
		v.Prefix = p
	}
	for _, w := range words[1:] {
		name, err := node.ParseName(w)
		switch {
		case err != nil:
			return Via{}, err
		case slices.Contains(v.Exits, name):
			return Via{}, fmt.Errorf("%s is named twice", name)
		}
		v.Exits = append(v.Exits, name)
	}
	if len(v.Exits) > MaxExits {
		return Via{}, fmt.Errorf("%d nodes are more than %d", len(v.Exits), MaxExits)
	}
	return v, nil
}

// String is the line again, without its names.
func (v Via) String() string {
	switch {
	case v.Default:
		return "default"
	case v.File != "":
		return "@" + v.File
	}
	return v.Prefix.String()
}

// parsePrefix reads a prefix or an address that packets can leave for.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, e := netip.ParseAddr(s)
		if e != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%.60q is no prefix such as 203.0.113.0/24", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch a := p.Addr(); {
	case a.Is4In6():
		return netip.Prefix{}, fmt.Errorf("%v is an IPv4 address in IPv6; write it as IPv4", p)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%v has host bits set; did you mean %v?", p, p.Masked())
	case p.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%v is everything of one family, and the other one would leave by another way; write default", p)
	case a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified() && p.Bits() > 1:
		return netip.Prefix{}, fmt.Errorf("%v has addresses that never leave a machine or link", p)
	}
	return p, nil
}

const (
	// MaxFile is the size in bytes, and MaxPrefixes the number of prefixes, of all files and lines together.
	MaxFile     = 8 << 20
	MaxPrefixes = 200_000
)

// FileError says which lines of a file are no prefixes.
type FileError struct {
	Lines []LineError // the first ones
	More  int         // how many others there are
}

// LineError is what is wrong with one line.
type LineError struct {
	Number int // the first is 1
	Err    error
}

// maxLineErrors is how many lines a [FileError] tells of.
const maxLineErrors = 10

// Error tells of the first lines.
func (e FileError) Error() string {
	const most = 3
	var texts []string
	for _, l := range e.Lines[:min(most, len(e.Lines))] {
		texts = append(texts, fmt.Sprintf("line %d: %v", l.Number, l.Err))
	}
	if more := len(e.Lines) - len(texts) + e.More; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// ReadFile reads a file of prefixes, as [ParseFile] does.
func ReadFile(r io.Reader) ([]netip.Prefix, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, err
	}
	return ParseFile(text)
}

// ParseFile reads a file of prefixes: one on a line, or a single address. What follows # is a comment. Lines that are no prefixes
// are a [FileError].
func ParseFile(text []byte) ([]netip.Prefix, error) {
	if len(text) > MaxFile {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), MaxFile)
	}
	var list []netip.Prefix
	var bad FileError
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		p, err := parsePrefix(line)
		switch {
		case err != nil && len(bad.Lines) == maxLineErrors:
			bad.More++
			continue
		case err != nil:
			bad.Lines = append(bad.Lines, LineError{number, err})
			continue
		}
		if len(list) == MaxPrefixes {
			return nil, fmt.Errorf("line %d: more than %d prefixes", number, MaxPrefixes)
		}
		list = append(list, p)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("a line is too long: %w", err)
	}
	if bad.Lines != nil {
		return nil, bad
	}
	return list, nil
}

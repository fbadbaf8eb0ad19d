package zone

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/node"
)

// MaxRecords is how many records a source may add.
const MaxRecords = 1000

// Record is a further name in the domain of the network: an alias of a node, or where a service is (SRV, RFC 2782).
type Record struct {
	Name string // lower case, without the domain: "web", "_http._tcp.web"
	Node node.Name

	Service                bool // with what follows
	Port, Priority, Weight uint16
}

// ParseAlias reads "NAME NODE".
func ParseAlias(s string) (r Record, err error) {
	w := strings.Fields(s)
	if len(w) != 2 {
		return r, errors.New(`an alias is written as "NAME NODE"`)
	}
	if strings.HasPrefix(w[0], "_") {
		return r, errors.New("names that begin with _ are those of services")
	}
	return record(w)
}

// ParseService reads "_SERVICE._PROTOCOL[.NAME] NODE PORT [PRIORITY [WEIGHT]]".
func ParseService(s string) (r Record, err error) {
	w := strings.Fields(s)
	if len(w) < 3 || len(w) > 5 {
		return r, errors.New(`a service is written as "_SERVICE._PROTOCOL NODE PORT", then, if you like, its priority and weight`)
	}
	if parts := strings.SplitN(w[0], ".", 3); len(parts) < 2 || len(parts[0]) < 2 || parts[0][0] != '_' || len(parts[1]) < 2 || parts[1][0] != '_' {
		return r, fmt.Errorf("the name of a service begins like _http._tcp, and %.40q does not", w[0])
	}
	if r, err = record(w); err != nil {
		return r, err
	}
	r.Service = true
	for i, to := range []*uint16{&r.Port, &r.Priority, &r.Weight}[:len(w)-2] {
		v, err := strconv.ParseUint(w[i+2], 10, 16)
		if err != nil || i == 0 && v == 0 {
			return r, fmt.Errorf("%s is a number up to 65535, and %.20q is none", []string{"a port", "a priority", "a weight"}[i], w[i+2])
		}
		*to = uint16(v)
	}
	return r, nil
}

func record(w []string) (r Record, err error) {
	r.Name = strings.ToLower(w[0])
	if err := CheckDomain(r.Name); err != nil {
		return r, fmt.Errorf("the name %.40q: %w", w[0], err)
	}
	if slices.Contains(reserved, r.Name) {
		return r, fmt.Errorf("programs take the name %s for something else", r.Name)
	}
	if r.Node, err = node.ParseName(w[1]); err != nil {
		return r, err
	}
	return r, nil
}

// ParseRecords reads lines "Alias = …" and "Service = …". Empty lines, and those that begin with #, say nothing. An error names the line.
func ParseRecords(text string) (list []Record, err error) {
	line := 0
	for s := range strings.Lines(text) {
		line++
		s = strings.TrimSpace(s)
		if s == "" || s[0] == '#' {
			continue
		}
		variable, value, _ := strings.Cut(s, "=")
		var r Record
		switch strings.ToLower(strings.TrimSpace(variable)) {
		case "alias":
			r, err = ParseAlias(value)
		case "service":
			r, err = ParseService(value)
		default:
			err = errors.New(`a line begins with "Alias =" or "Service ="`)
		}
		if err == nil && len(list) == MaxRecords {
			err = fmt.Errorf("more than %d records", MaxRecords)
		}
		if err == nil && !r.Service && slices.ContainsFunc(list, func(o Record) bool { return !o.Service && o.Name == r.Name }) {
			err = fmt.Errorf("%s is an alias already", r.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// records are those of all sources.
type records struct {
	said     [sources][]Record
	aliases  map[string]node.Name
	services map[string][]Record
	above    map[string]bool // names below which there are others
}

// SetRecords replaces the further names by the word of a source. Of a name that several sources know, those of [Announced] count: what the
// configuration of this node says comes before the owners of the network. It reports whether that has changed anything.
func (z *Zone) SetRecords(from Source, list []Record) (changed bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	next := &records{aliases: map[string]node.Name{}, services: map[string][]Record{}, above: map[string]bool{}}
	if old := z.records.Load(); old != nil {
		next.said = old.said
	}
	list = list[:min(len(list), MaxRecords)]
	if slices.Equal(next.said[from], list) {
		return false
	}
	next.said[from] = slices.Clone(list)
	for _, list := range next.said {
		services := map[string][]Record{}
		for _, r := range list {
			if r.Service {
				services[r.Name] = append(services[r.Name], r)
			} else {
				next.aliases[r.Name] = r.Node
			}
			for name := r.Name; ; {
				_, rest, more := strings.Cut(name, ".")
				if !more {
					break
				}
				next.above[rest], name = true, rest
			}
		}
		maps.Copy(next.services, services)
	}
	z.records.Store(next)
	return true
}

// further are the records, never nil.
func (z *Zone) further() *records {
	if r := z.records.Load(); r != nil {
		return r
	}
	return &records{}
}

// holderOf is the node that has a name in lower case, without the domain, be it an alias. Names of nodes come first.
func (z *Zone) holderOf(key string) (h holder, ok bool) {
	if list := z.holders(key); len(list) > 0 {
		return list[0], true
	}
	h, full := z.named(z.further().aliases[key])
	return h, full != ""
}

// Records are those that count, sorted: aliases, then services. Aliases that are the names of nodes are not among them.
func (z *Zone) Records() (list []Record) {
	all := z.further()
	for _, name := range slices.Sorted(maps.Keys(all.aliases)) {
		if len(z.holders(name)) == 0 {
			list = append(list, Record{Name: name, Node: all.aliases[name]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(all.services)) {
		list = append(list, all.services[name]...)
	}
	return list
}

package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pool holds all the entries that count for one node and decides between them
// as tinc does: the command line beats every file; among options the first
// counts; among files the lowest line number, in whatever file it stands; on
// the same line the file whose path sorts first.
type Pool struct {
	entries map[string][]Entry // by lower-case name, the one that counts first
}

// NewPool makes a pool of entries in any order.
func NewPool(entries ...Entry) *Pool {
	p := &Pool{entries: make(map[string][]Entry)}
	for _, e := range entries {
		key := strings.ToLower(e.Name)
		p.entries[key] = append(p.entries[key], e)
	}
	for _, list := range p.entries {
		slices.SortStableFunc(list, byPrecedence)
	}
	return p
}

func byPrecedence(a, b Entry) int {
	if (a.File == "") != (b.File == "") {
		if a.File == "" {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Line, b.Line), strings.Compare(a.File, b.File))
}

// Lookup returns the entry that counts for a single-valued variable. The name
// is matched without regard to case.
func (p *Pool) Lookup(name string) (Entry, bool) {
	if list := p.All(name); len(list) > 0 {
		return list[0], true
	}
	return Entry{}, false
}

// All returns every entry of a variable in order of precedence. It is not a copy.
func (p *Pool) All(name string) []Entry {
	if p == nil {
		return nil
	}
	return p.entries[strings.ToLower(name)]
}

// Entries returns all entries, sorted by where they stand.
func (p *Pool) Entries() []Entry {
	var all []Entry
	for _, list := range p.entries {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return all
}

// Unknown tells about variables that there are not: a word that is misspelt.
func (p *Pool) Unknown() []Warning {
	var out []Warning
	for _, e := range p.Entries() {
		if _, known := Find(e.Name); !known {
			out = append(out, unknown(e))
		}
	}
	return out
}

func unknown(e Entry) Warning {
	text := fmt.Sprintf("%.60s is not a variable that this program knows; it is ignored", e.Name)
	if meant := Meant(e.Name); meant != "" {
		text += "; did you mean " + meant + "?"
	}
	return Warning{Where: e.Where(), Text: text}
}

// Warnings tells about entries that have less effect than their author may
// think: unknown variables, variables without an effect in this program, and
// single-valued variables given more than once.
func (p *Pool) Warnings() []Warning {
	var out []Warning
	for _, e := range p.Entries() {
		v, known := Find(e.Name)
		if !known {
			out = append(out, unknown(e))
			continue
		}
		if first, _ := p.Lookup(e.Name); first != e && !v.Is(Multiple) && (first.File != "" || e.File == "") {
			out = append(out, Warning{Where: e.Where(), Text: fmt.Sprintf("this %s is ignored, the one at %s counts; remove one of them", v.Name, first.Where())})
			continue
		}
		if text := v.withoutEffect(e.Value); text != "" {
			out = append(out, Warning{Where: e.Where(), Text: text})
		}
	}
	return out
}

// Wrong returns the entries that count and whose form is wrong, sorted by where they stand.
func (p *Pool) Wrong(except ...string) []Problem {
	var out []Problem
	for _, e := range p.Entries() {
		v, known := Find(e.Name)
		if !known || slices.Contains(except, v.Name) {
			continue
		}
		if first, _ := p.Lookup(e.Name); first != e && !v.Is(Multiple) {
			continue
		}
		if err := v.Check(e.Value); err != nil {
			out = append(out, wrong(v, e, err.Error()))
		}
	}
	return out
}

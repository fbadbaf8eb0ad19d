package config

import (
	"slices"
	"strings"
)

// Flag says where a variable may stand and how it is treated.
type Flag uint8

const (
	Server   Flag = 1 << iota // may be set in tinc.conf
	HostFile                  // may be set in hosts/NAME
	Multiple                  // may be given several times
	Obsolete                  // setting it needs --force
	Safe                      // join accepts it from an invitation
	Reload                    // a reload applies a new value
	Unlisted                  // known to daemons, but not to tinc's set, add and del
)

// Kind is the form of a value.
type Kind uint8

const (
	Text     Kind = iota // anything
	Bool                 // yes or no
	Int                  // decimal, what follows the digits is ignored
	Seconds              // an Int
	Word                 // one of Variable.Words, in any case
	NodeName             // name of a node
	Net                  // address[/prefix][#weight]
	Endpoint             // host [port]
	Path                 // file, relative to the configuration directory
)

// Bad says what a value of the wrong form does.
type Bad uint8

const (
	Unchecked Bad = iota
	Logged        // a warning; the default is used (of several values, this one is skipped)
	Fatal         // the start fails
)

// Effect says whether this program does anything with a variable.
type Effect uint8

const (
	Now   Effect = iota // it works
	Never               // recognised, and there is nothing for it to do
)

// Variable describes one configuration variable.
type Variable struct {
	Name    string // canonical spelling
	Flags   Flag
	Kind    Kind
	Words   []string // of kind Word: what may be written
	Foreign []string // of kind Word: valid for tinc, but not supported here, so the start fails
	Instead string   // with Foreign: what to do instead
	Default string   // "" if there is none
	Bad     Bad
	Min     int    // smallest Int or Seconds
	Max     int    // greatest one, which more counts as; 0: what fits into 32 bits
	Since   string // first 1.0 release / first 1.1 pre-release that reads it
	Effect  Effect
	Why     string // with Never: why
}

// Is tells whether v has the flag f.
func (v *Variable) Is(f Flag) bool { return v.Flags&f != 0 }

// Find looks a variable up without regard to case.
func Find(name string) (*Variable, bool) {
	v, ok := byName[strings.ToLower(name)]
	return v, ok
}

// Variables returns the whole table, sorted by name without regard to case.
func Variables() []*Variable {
	list := make([]*Variable, len(table))
	for i := range table {
		list[i] = &table[i]
	}
	slices.SortFunc(list, func(a, b *Variable) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return list
}

// withoutEffect says, as a sentence for the log, that setting v to value does
// nothing; "" if it does something or merely repeats the default.
func (v *Variable) withoutEffect(value string) string {
	if v.Default != "" && strings.EqualFold(value, v.Default) {
		return ""
	}
	if v.Effect == Never {
		return v.Name + " has no effect: " + v.Why
	}
	return ""
}

var byName = func() map[string]*Variable {
	m := make(map[string]*Variable, len(table))
	for i := range table {
		m[strings.ToLower(table[i].Name)] = &table[i]
	}
	return m
}()

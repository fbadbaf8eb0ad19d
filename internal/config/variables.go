package config

import (
	"slices"
	"strings"

	"tincan/internal/nearest"
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

// Kind is the form of a value. [Variable.Check] says what each of them takes.
type Kind uint8

const (
	Text             Kind = iota // anything
	Bool                         // yes or no
	Int                          // decimal
	Seconds                      // decimal, or with units: s, m, h, d
	Bytes                        // decimal, or with a unit: k, M
	Word                         // one of Variable.Words, in any case
	NodeName                     // name of a node
	SelfName                     // the same, or $VARIABLE
	Net                          // address[/prefix][#weight]
	Endpoint                     // host [port]
	Port                         // number or name of a service
	Path                         // file, relative to the configuration directory
	PublicKey                    // Ed25519, 43 characters
	NetInterface                 // name of a network interface
	InterfaceAddress             // address/length
	NetRoute                     // network [gateway]
	ViaRoute                     // default, prefix or @file, and nodes
	ProxyUse                     // see ParseProxy
	CipherName                   // of tinc 1.0
	DigestName                   // of tinc 1.0
	DomainName                   // of DNS
	AliasName                    // see zone.ParseAlias
	ServiceName                  // see zone.ParseService
	CarrierUse                   // see ParseCarrier
	CarrierPlace                 // see ParseListener
	SiteUse                      // see CheckSite
	CarrierList                  // see CarrierKinds
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
	Words   []string // of kinds Word and CarrierList: what may be written
	Foreign []string // of kind Word: valid for tinc, but not supported here, so the start fails
	Instead string   // with Foreign: what to do instead
	Default string   // "" if there is none
	Min     int      // smallest Int, Seconds or Bytes
	Max     int      // greatest one; 0: what fits into 32 bits
	Cut     bool     // more than Max counts as Max, and is no mistake
	Since   string   // first 1.0 release / first 1.1 pre-release that reads it
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

// Meant returns the variable that somebody may have meant who wrote another name; "" if there is
// none like it.
func Meant(name string) string {
	var names []string
	for _, v := range Variables() {
		if !v.Is(Unlisted) {
			names = append(names, v.Name)
		}
	}
	return nearest.To(name, names)
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

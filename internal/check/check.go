// Package check says what tincan would do with the directory of a network that
// tinc 1.0 or 1.1 has made.
//
// It reads the files as a starting node would, and changes nothing. It cannot see
// what is outside of the directory: command lines, units, the other nodes. Of this
// machine it looks only at what exit nodes need.
package check

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/roster"
)

// Level says how much a finding matters.
type Level string

// The levels.
const (
	OK     Level = "ok"     // as it was with tinc
	Note   Level = "note"   // different, or worth knowing
	Weak   Level = "weak"   // works, but should not stay like this
	Breaks Level = "breaks" // does not work with tincan as it stands
)

// Part is what a finding is about.
type Part string

// The parts, in the order of a report.
const (
	Keys     Part = "keys"
	Settings Part = "settings"
	Scripts  Part = "scripts"
	Nodes    Part = "nodes"
	Members  Part = "members"
	Policy   Part = "policy" // the access policy of a signed network
)

// Parts are all of them.
var Parts = []Part{Keys, Settings, Scripts, Nodes, Members, Policy}

// Finding is one thing that was found, in words for people.
type Finding struct {
	Part   Part   `json:"part"`
	Level  Level  `json:"level"`
	Where  string `json:"where,omitempty"` // FILE:LINE or a file, relative to the directory
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do about it
}

// Report is what was found in a directory.
type Report struct {
	Directory string    `json:"directory"`
	Node      string    `json:"node,omitempty"`  // its name, if it has one
	Speaks    []string  `json:"speaks"`          // the protocols that the node has keys for: "1.1", "1.0"
	Findings  []Finding `json:"findings"`        // by part
	Breaks    int       `json:"breaks"`          // how many things would break
	Weak      int       `json:"weak"`            // how many are weak
	Peers     Peers     `json:"peers"`           // which protocols the other nodes would use
	Unusable  bool      `json:"would_not_start"` // the node would not start at all
}

// Peers counts the other nodes by how this one would speak with them.
type Peers struct {
	Modern  int `json:"tinc_1_1"`
	Legacy  int `json:"tinc_1_0"`
	Unknown int `json:"without_key"` // no direct connection; modern ones are still reached through others
}

// inspection is a report in the making.
type inspection struct {
	Report
	layout confdir.Layout
	net    *confdir.Network // nil if not even the name is known
	id     confdir.Identity
	roster *roster.Roster // nil: the network is open, or its roster cannot be used
}

// Directory looks at the files of l, and at whether this machine can do what they ask for. The error says that there is nothing to look
// at, or that this user may not look; everything else is in the report.
func Directory(l confdir.Layout) (Report, error) { return directory(l, thisMachine) }

func directory(l confdir.Layout, here func(vpn string) machine) (Report, error) {
	in := &inspection{layout: l}
	in.Directory = l.ConfBase
	in.Speaks = []string{}
	in.Findings = []Finding{}
	net, warnings, err := confdir.Inspect(l, nil)
	if net == nil {
		return in.Report, err
	}
	in.net = net
	// Whoever may not read the keys knows nothing of what the node could do.
	_, _, modern := net.PrivateKey()
	_, _, old := net.RSAPrivateKey()
	for _, err := range []error{modern, old} {
		if errors.Is(err, fs.ErrPermission) {
			return in.Report, err
		}
	}
	in.Node = string(net.Name)
	in.keys()
	in.settings(warnings, err)
	in.scripts()
	in.nodes(warnings)
	in.members(time.Now())
	in.policy()
	in.outside(here(cmp.Or(net.Settings.Interface, l.NetName)))
	in.arrange()
	return in.Report, nil
}

// add appends a finding. Paths in it are made relative to the directory.
func (in *inspection) add(part Part, level Level, where, text, advice string) {
	short := strings.NewReplacer(in.layout.ConfBase+"/", "", in.layout.ConfBase, ".")
	in.Findings = append(in.Findings, Finding{part, level, short.Replace(where), short.Replace(text), short.Replace(advice)})
}

// arrange puts what matters most first in each part, and counts.
func (in *inspection) arrange() {
	levels := []Level{Breaks, Weak, Note, OK}
	slices.SortStableFunc(in.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Parts, a.Part), slices.Index(Parts, b.Part)),
			cmp.Compare(slices.Index(levels, a.Level), slices.Index(levels, b.Level)))
	})
	for _, f := range in.Findings {
		switch f.Level {
		case Breaks:
			in.Breaks++
		case Weak:
			in.Weak++
		}
	}
}

// keys looks at what the node proves with who it is.
func (in *inspection) keys() {
	n := in.net
	modern, _, modernErr := n.PrivateKey()
	old, _, oldErr := n.RSAPrivateKey()
	id, warnings, err := n.Identity()
	in.id = id
	if id.Key != nil {
		in.Speaks = append(in.Speaks, "1.1")
	}
	if id.RSAKey != nil {
		in.Speaks = append(in.Speaks, "1.0")
	}

	if modernErr == nil {
		in.add(Keys, OK, n.Settings.PrivateKeyFile, "the Ed25519 key works as it is, with nodes of tinc 1.1 and tincan", "")
		if n.Settings.Protocol == config.Disabled {
			in.add(Keys, Note, n.Settings.PrivateKeyFile, "it is not used, because of ExperimentalProtocol = no; as with tinc 1.1", "")
		}
		if n.Own.Key != nil && *n.Own.Key != modern.Public() {
			in.add(Keys, Breaks, in.layout.Host(n.Name), "its Ed25519 public key does not belong to the private key, so the others refuse this node", "write Ed25519PublicKey = "+modern.Public().String()+" here, and give it to the other nodes")
		}
	}
	if oldErr == nil && old != nil {
		in.rsaKey(old)
	}
	for _, w := range warnings {
		in.add(Keys, in.keyLevel(w), w.Where, w.Text, "")
	}
	if err != nil {
		in.Unusable = true
		p := config.Problem{Text: err.Error()}
		var file *fs.PathError
		if errors.As(err, &file) {
			p = config.Problem{Where: file.Path, Text: file.Err.Error()}
		}
		errors.As(err, &p)
		in.add(Keys, Breaks, p.Where, p.Text, "without a key that tincan can use the node would not start")
	}
	if modernErr == nil && oldErr == nil && old == nil {
		in.add(Keys, Note, "", "there is no RSA key, so this node does not connect with nodes of tinc 1.0", "if there are any, make a key with: tincan tinc generate-rsa-keys (with the same -n or -c)")
	}
}

// keyLevel is how much a warning about a key matters.
func (in *inspection) keyLevel(w config.Warning) Level {
	switch {
	case w.OpenKey:
		return Weak
	case w.Where == in.net.Settings.RSAPrivateKeyFile:
		return Breaks // tinc could use it
	}
	return Note
}

// rsaKey looks at the key for nodes of tinc 1.0.
func (in *inspection) rsaKey(k *keys.RSAPrivateKey) {
	n := in.net
	bits := k.Public().Bits()
	where := n.Settings.RSAPrivateKeyFile
	switch {
	case bits >= keys.SafeRSABits:
		in.add(Keys, OK, where, fmt.Sprintf("the RSA key of %d bits works as it is, with nodes of tinc 1.0", bits), "")
	case n.Settings.Policy.ShortRSA:
		in.add(Keys, Weak, where, fmt.Sprintf("the RSA key has only %d bits; it is used, because ShortRSAKeys allows it", bits), "make a new one with: tincan tinc generate-rsa-keys (with the same -n or -c)")
	}
	if n.Own.RSAKey != nil && !n.Own.RSAKey.Equal(k.Public()) {
		in.add(Keys, Breaks, in.layout.Host(n.Name), "its RSA public key does not belong to the private key, so nodes of tinc 1.0 refuse this node", "")
	}
}

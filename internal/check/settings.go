package check

import (
	"fmt"
	"slices"
	"strings"

	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/legacy"
)

// effect is what becomes of a variable that tincan does not act upon.
type effect struct {
	level  Level
	text   string
	advice string
}

// missing is what it means that a variable does nothing here.
var missing = map[string]effect{
	"DisableBuggyPeers": {Note, "there is nothing for it to do", ""},
	"IffOneQueue":       {Note, "today's kernels ignore it", ""},
	"VDEGroup":          {Note, "there is no VDE", ""},
	"VDEPort":           {Note, "there is no VDE", ""},
}

// settings looks at every line that is about this node. broken is what would keep
// it from starting.
func (in *inspection) settings(warnings []config.Warning, broken error) {
	told := make(map[string]bool) // places that something was said about
	for _, p := range config.Problems(broken) {
		in.Unusable = true
		told[p.Where] = true
		in.add(Settings, Breaks, p.Where, p.Text, "the node would not start until this is changed")
	}
	wrong := make(map[string]bool) // places where a value is not used
	for _, w := range warnings {
		wrong[w.Where] = true
	}
	var plain []string
	for _, e := range in.net.Entries() {
		v, known := config.Find(e.Name)
		switch {
		case told[e.Where()]:
		case !known:
			told[e.Where()] = true
			advice := ""
			if meant := config.Meant(e.Name); meant != "" {
				advice = "did you mean " + meant + "?"
			}
			in.add(Settings, Note, e.Where(), fmt.Sprintf("%.60s is not a variable of any tinc; it is ignored", e.Name), advice)
		case v.Effect != config.Now && !strings.EqualFold(e.Value, v.Default):
			told[e.Where()] = true
			m, ok := missing[v.Name]
			if !ok {
				m = effect{Note, "tincan does nothing with it", ""}
			}
			in.add(Settings, m.level, e.Where(), fmt.Sprintf("%s = %.60s has no effect: %s", v.Name, e.Value, m.text), m.advice)
		case !wrong[e.Where()]:
			plain = append(plain, v.Name)
		}
	}
	for _, w := range warnings {
		if in.own(w.Where) && !told[w.Where] {
			told[w.Where] = true
			in.add(Settings, Note, w.Where, w.Text, "")
		}
	}
	slices.Sort(plain)
	if plain = slices.Compact(plain); len(plain) > 0 {
		in.add(Settings, OK, "", "these work as they are: "+strings.Join(plain, ", "), "")
	}
	in.weak()
	in.defaults()
}

// own tells whether a place is in a file about this node.
func (in *inspection) own(where string) bool {
	l := in.layout
	for _, path := range []string{l.TincConf(), l.Host(in.net.Name)} {
		if where == path || strings.HasPrefix(where, path+":") {
			return true
		}
	}
	return strings.HasPrefix(where, l.ConfD()+"/")
}

// weak looks at what nodes of tinc 1.0 are asked to do, and at what is allowed.
func (in *inspection) weak() {
	s := in.net.Settings
	if in.id.RSAKey == nil {
		return
	}
	for _, w := range weaknesses(s.Policy) {
		in.add(Settings, Weak, "", w+"; this is used with nodes of tinc 1.0, as the files say", "take it out of the files when no node needs it any more")
	}
}

// weaknesses names what a policy allows.
func weaknesses(p legacy.Policy) []string {
	var all []string
	for _, w := range []struct {
		allowed bool
		what    string
	}{
		{p.Blowfish, "Cipher = blowfish is weak"},
		{p.TripleDES, "Cipher = des-ede3-cbc is weak"},
		{p.NoCipher, "Cipher = none means that packets are not encrypted at all"},
		{p.SHA1, "Digest = sha1 is weak"},
		{p.MD5, "Digest = md5 is weak"},
		{p.NoDigest, "Digest = none, or a MACLength below 4, means that anybody can forge packets"},
		{p.ShortRSA, fmt.Sprintf("ShortRSAKeys allows RSA keys of less than %d bits", keys.SafeRSABits)},
	} {
		if w.allowed {
			all = append(all, w.what)
		}
	}
	return all
}

// defaults tells what is different although no line says so.
func (in *inspection) defaults() {
	given := make(map[string]bool)
	for _, e := range in.net.Entries() {
		given[strings.ToLower(e.Name)] = true
	}
	note := func(variable, text, advice string) {
		if !given[strings.ToLower(variable)] {
			in.add(Settings, Note, "", text, advice)
		}
	}
	if in.id.Key == nil && in.id.RSAKey != nil { // it was a node of tinc 1.0
		note("AutoConnect", "tincan, as tinc 1.1, keeps about three connections by itself, where tinc 1.0 connects only as ConnectTo says", "write AutoConnect = no if you do not want that")
		note("LocalDiscovery", "tincan, as tinc 1.1, looks for nodes in the same local network, where tinc 1.0 does so only if told", "write LocalDiscovery = no if you do not want that")
	}
	if in.id.RSAKey != nil {
		note("MACLength", fmt.Sprintf("nodes of tinc 1.0 are asked for a message code of %d bytes with each packet, where tinc asks for 4; all of them can do that", legacy.DefaultMACLen), "")
	}
	note("ReplayWindow", "4096 packets may overtake each other, where tinc allows 128", "")
}

package check

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
)

// nodes looks at the host files of the others.
func (in *inspection) nodes(warnings []config.Warning) {
	n := in.net
	var modern, old, none []string
	for _, name := range slices.Sorted(maps.Keys(n.Hosts)) {
		h := n.Hosts[name]
		switch {
		case h.Key != nil && in.id.Key != nil:
			modern = append(modern, string(name))
			continue
		case h.RSAKey != nil && in.id.RSAKey != nil:
			old = append(old, string(name))
			in.oldNode(name, h)
			continue
		}
		none = append(none, string(name))
		if slices.Contains(n.Settings.ConnectTo, name) {
			in.add(Nodes, Note, in.layout.Host(name), "ConnectTo names it, but there is no key that both sides have; it did not work with tinc either", "get its host file again from "+string(name))
		}
	}
	in.Peers = Peers{Modern: len(modern), Legacy: len(old), Unknown: len(none)}
	in.list(modern, "reached by the protocol of tinc 1.1")
	in.list(old, "reached by the protocol of tinc 1.0")
	in.list(none, "not connected, because there is no key of the right kind; as with tinc")
	if len(modern) > 0 && in.id.RSAKey != nil {
		in.add(Nodes, Note, "", "the protocol of tinc 1.0 is never used with a node whose Ed25519 key is known; as with tinc 1.1", "if one of them has gone back to tinc 1.0, take Ed25519PublicKey out of its host file")
	}
	for _, name := range n.Settings.ConnectTo {
		if _, ok := n.Hosts[name]; !ok {
			in.add(Nodes, Note, "", fmt.Sprintf("ConnectTo names %s, which has no usable host file; it has no effect, as with tinc", name), "")
		}
	}
	for _, r := range (&keydist.Store{Layout: in.layout, Self: n.Name}).Removed() {
		if _, ok := n.Hosts[r.Node]; !ok {
			in.add(Nodes, Note, "", fmt.Sprintf("%s was removed here: its host file was deleted, so its key is not learned from the mesh", r.Node), fmt.Sprintf("to restore it: tincan accept %s, or import its host file", r.Node))
		}
	}
	in.strangeFiles()
	for _, w := range warnings {
		if strings.HasPrefix(w.Where, in.layout.Hosts()+"/") && !in.own(w.Where) {
			in.add(Nodes, Note, w.Where, w.Text, "")
		}
	}
}

// strangeFiles looks for host files that no node can have.
func (in *inspection) strangeFiles() {
	scripts := in.scriptConfig()
	entries, _ := os.ReadDir(in.layout.Hosts())
	for _, e := range entries {
		name := e.Name()
		script := scripts.NameOf(name)
		if _, err := node.ParseName(name); err == nil || e.IsDir() || name[0] == '.' || strings.HasSuffix(script, "-up") || strings.HasSuffix(script, "-down") {
			continue
		}
		path := in.layout.Host(node.Name(name))
		data, err := os.ReadFile(path)
		if ed, rsa := hostfile.Key(data); err != nil || ed == nil && rsa == nil {
			continue // notes of a person
		}
		in.add(Nodes, Note, path, fmt.Sprintf("%q is not a valid name of a node, so this host file is not read; as with tinc", name), "names have letters, digits and _ only")
	}
}

// list tells how some nodes are treated.
func (in *inspection) list(names []string, how string) {
	switch len(names) {
	case 0:
	case 1:
		in.add(Nodes, OK, "", fmt.Sprintf("%s is %s", names[0], how), "")
	default:
		in.add(Nodes, OK, "", fmt.Sprintf("%d nodes are %s: %s", len(names), how, few(names)), "")
	}
}

// few is a list that does not fill the screen.
func few(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// oldNode looks at a node that is spoken with in the protocol of tinc 1.0.
func (in *inspection) oldNode(name node.Name, h config.Host) {
	path := in.layout.Host(name)
	policy := in.net.Settings.Policy.With(h.Policy)
	if err := legacy.WeakKey(*h.RSAKey, policy); err != nil {
		in.add(Nodes, Breaks, path, fmt.Sprintf("%s has an RSA key of only %d bits, which tincan refuses", name, h.RSAKey.Bits()),
			"make a new key there, or write ShortRSAKeys = yes into this file")
	} else if h.RSAKey.Bits() < keys.SafeRSABits {
		in.add(Nodes, Weak, path, fmt.Sprintf("%s has an RSA key of only %d bits; it is used, because ShortRSAKeys allows it", name, h.RSAKey.Bits()), "make a new key there")
	}
	for _, w := range weaknesses(h.Policy) {
		in.add(Nodes, Weak, path, w+"; it is used with this node, because its host file says so", "change it there, and then here")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	for _, v := range []string{"Cipher", "Digest", "Compression"} {
		for _, value := range config.Values(data, v) {
			if unknown(v, value) {
				in.add(Nodes, Note, path, fmt.Sprintf("%s = %.40s: packets to %s go over TCP, because tincan does not have that", v, value, name), "choose something else there, or take the line out")
			}
		}
	}
}

// unknown tells whether a node that announces this is sent nothing by UDP.
func unknown(variable, value string) bool {
	var err error
	switch variable {
	case "Cipher":
		_, err = legacy.SuiteFromConfig(value, "", -1, 0)
	case "Digest":
		_, err = legacy.SuiteFromConfig("", value, -1, 0)
	case "Compression":
		return strings.TrimSpace(value) == "12"
	}
	return err != nil
}

package confdir

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tincan/internal/config"
)

// A node with AutoAddress moves to another address in its network when another node has
// the same one. Where it may not write tinc.conf, because that file says which programs
// are run, it notes the new address here, among its caches.

// movedFile has a name that no node can have.
func (l Layout) movedFile() string { return l.Cache() + "/address.moved" }

// Moved returns the addresses that replace others of Ifconfig lines: by the old one.
func Moved(l Layout) map[netip.Addr]netip.Addr {
	moved := map[netip.Addr]netip.Addr{}
	data, err := read(l.movedFile())
	if err != nil {
		return moved
	}
	for line := range bytes.Lines(data) {
		words := strings.Fields(string(line))
		if len(words) != 2 {
			continue
		}
		from, errFrom := netip.ParseAddr(words[0])
		to, errTo := netip.ParseAddr(words[1])
		if errFrom == nil && errTo == nil {
			moved[from] = to
		}
	}
	return moved
}

// SaveMoved stores what [Moved] returns.
func SaveMoved(l Layout, moved map[netip.Addr]netip.Addr) error {
	var out []byte
	for _, from := range slices.SortedFunc(maps.Keys(moved), netip.Addr.Compare) {
		out = fmt.Appendf(out, "%s %s\n", from, moved[from])
	}
	return WriteFile(l.movedFile(), out, FileMode)
}

// move puts the new addresses into the Ifconfig lines. They have to lie in the networks of
// those lines: whoever can write the caches cannot lead other traffic here.
func move(l Layout, entries []config.Entry) {
	auto := slices.ContainsFunc(entries, func(e config.Entry) bool {
		return strings.EqualFold(e.Name, "AutoAddress") && strings.EqualFold(e.Value, "yes")
	})
	if !auto {
		return
	}
	moved := Moved(l)
	for i, e := range entries {
		if !strings.EqualFold(e.Name, "Ifconfig") {
			continue
		}
		if p, err := netip.ParsePrefix(e.Value); err == nil {
			if to, ok := moved[p.Addr()]; ok && p.Contains(to) {
				entries[i].Value = netip.PrefixFrom(to, p.Bits()).String()
			}
		}
	}
}

// onlyMain are variables that run programs, or choose files and devices. They count in
// tinc.conf and conf.d, and not in our own host file: that one can be written by a
// node that has given up its rights.
var onlyMain = []string{
	"Proxy", "ScriptsInterpreter", "ScriptsExtension", "GraphDumpFile", "Sandbox", "Device", "DeviceType",
	"Ed25519PrivateKeyFile", "PrivateKeyFile", "ProcessPriority",
}

// withoutPrograms drops such variables from the entries of our own host file.
func withoutPrograms(own []config.Entry) (kept []config.Entry, warnings []config.Warning) {
	for _, e := range own {
		if v, ok := config.Find(e.Name); ok && slices.Contains(onlyMain, v.Name) {
			warnings = append(warnings, config.Warning{Where: e.Where(), Text: v.Name + " is ignored in a host file; move this line to tinc.conf"})
			continue
		}
		kept = append(kept, e)
	}
	return kept, warnings
}

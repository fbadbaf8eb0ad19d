package check

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/config"
	"tincan/internal/exits"
	"tincan/internal/gateway"
	"tincan/internal/nearest"
	"tincan/internal/netconf"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/route"
	"tincan/internal/subnet"
)

// machine is what is to be known of this machine.
type machine struct {
	networks []netip.Prefix // that it is in, those of the VPN apart
	gateway  error          // why it cannot be an exit node
	via      error          // why its packets cannot leave by one
}

func thisMachine(vpn string) machine {
	return machine{netwatch.Networks(vpn), gateway.Possible(), netconf.OutsidePossible()}
}

// outside looks at how packets leave the mesh, and how devices come in. The roster has been read.
func (in *inspection) outside(m machine) {
	s := in.net.Settings
	if len(s.Vias) > 0 {
		in.vias(m)
	} else if s.KillSwitch {
		in.add(Settings, Weak, in.line("KillSwitch"), "KillSwitch = yes has no effect: there is no line Via, so packets leave by the machine's own routes", "write Via = default NODE, or take KillSwitch out")
	}
	in.exit(m)
	in.door()
}

// line is where the first line of a variable stands.
func (in *inspection) line(variable string) string {
	for _, e := range in.net.Entries() {
		if strings.EqualFold(e.Name, variable) {
			return e.Where()
		}
	}
	return in.layout.TincConf()
}

// given tells whether a variable is set.
func (in *inspection) given(variable string) bool { return in.line(variable) != in.layout.TincConf() }

// stops notes something with which the node would not start.
func (in *inspection) stops(where, text, advice string) {
	in.Unusable = true
	in.add(Settings, Breaks, where, text, advice)
}

// signed is what the roster says, nil in an open network.
func (in *inspection) signed() *roster.State {
	if in.roster == nil || in.net.Settings.Roster == config.RosterOpen || in.roster.State().Root.IsZero() {
		return nil
	}
	return in.roster.State()
}

// granted tells whether the owners of a signed network have given a node a capability; in an open network it has none and needs none.
func (in *inspection) granted(name node.Name, c roster.Capabilities) bool {
	s := in.signed()
	if s == nil {
		return true
	}
	m := s.Member(name)
	return m != nil && m.Capabilities&c != 0
}

// vias looks at the lines Via.
func (in *inspection) vias(m machine) {
	s := in.net.Settings
	where := in.line("Via")
	switch {
	case m.via != nil:
		in.stops(where, fmt.Sprintf("packets cannot leave by exit nodes: %v", m.via), "take the lines Via out; the node would not start with them")
	case s.Mode != route.ByAddress:
		in.stops(where, "lines Via need Mode = router", "take them out, or change Mode")
	case s.DeviceStandby:
		in.stops(where, "lines Via need an interface that is always up", "write DeviceStandby = no")
	}
	seen := map[netip.Prefix]bool{}
	total := 0
	for _, e := range in.net.Entries() {
		if !strings.EqualFold(e.Name, "Via") {
			continue
		}
		v, err := exits.ParseVia(e.Value)
		if err != nil {
			continue // told of already
		}
		v = v.For(in.net.Name, in.layout.ConfBase)
		in.exitsOf(e.Where(), v)
		prefixes, ok := in.prefixes(e.Where(), v)
		if !ok {
			continue
		}
		total += len(prefixes)
		double := 0
		for _, p := range prefixes {
			if seen[p] {
				double++
			}
			seen[p] = true
		}
		switch {
		case double > 0 && double == len(prefixes):
			in.add(Settings, Note, e.Where(), fmt.Sprintf("Via = %s has no effect: an earlier line is about the same", e.Value), "take one of them out; the nodes of one line are tried in order")
		case double > 0:
			in.add(Settings, Note, e.Where(), fmt.Sprintf("%d of its prefixes are in an earlier line, too, which counts", double), "")
		}
		if !v.Default {
			in.overlaps(e.Where(), prefixes, m.networks)
		}
	}
	if total > exits.MaxPrefixes {
		in.stops(where, fmt.Sprintf("the lines Via have %d prefixes in all, more than %d", total, exits.MaxPrefixes), "summarize them")
	}
}

func readPrefixes(path string) ([]netip.Prefix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return exits.ReadFile(f)
}

// prefixes are those of a line.
func (in *inspection) prefixes(where string, v exits.Via) (list []netip.Prefix, ok bool) {
	switch {
	case v.Default:
		return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}, true
	case v.File == "":
		return []netip.Prefix{v.Prefix}, true
	}
	list, err := readPrefixes(v.File)
	var path *fs.PathError
	var bad exits.FileError
	switch {
	case errors.As(err, &path):
		in.stops(where, fmt.Sprintf("the file %s of prefixes cannot be read: %v", v.File, path.Err), "its path begins at the directory of tinc.conf; without it the node would not start")
	case errors.As(err, &bad):
		for _, l := range bad.Lines {
			in.stops(fmt.Sprintf("%s:%d", v.File, l.Number), l.Err.Error(), "the node would not start until this line is changed")
		}
		if bad.More > 0 {
			in.stops(v.File, fmt.Sprintf("%d more lines are no prefixes", bad.More), "one prefix on each line, # begins a comment")
		}
	case err != nil:
		in.stops(v.File, err.Error(), "one prefix on each line, # begins a comment")
	case len(list) == 0:
		in.add(Settings, Weak, v.File, "it has no prefixes, so nothing leaves by the nodes of its line", "one prefix on each line, # begins a comment")
	}
	return list, err == nil
}

// exitsOf looks at the nodes of a line.
func (in *inspection) exitsOf(where string, v exits.Via) {
	type trouble struct{ text, advice string }
	var list []trouble
	for _, name := range v.Exits {
		h, known := in.net.Hosts[name]
		switch {
		case !known:
			advice := fmt.Sprintf("correct the name, or import the host file of %s", name)
			var names []string
			for other := range in.net.Hosts {
				names = append(names, string(other))
			}
			slices.Sort(names)
			if meant := nearest.To(string(name), names); meant != "" {
				advice = "did you mean " + meant + "?"
			}
			list = append(list, trouble{fmt.Sprintf("Via names %s, of which there is no host file", name), advice})
		case h.Key == nil:
			list = append(list, trouble{fmt.Sprintf("%s has no Ed25519 key here: a node of tinc 1.0 is no exit node", name), "name a node that runs tincan"})
		case !in.granted(name, roster.CapExit):
			list = append(list, trouble{fmt.Sprintf("the owners have not made %s an exit node, so it is not used", name), fmt.Sprintf("where an owner's key is: tincan admit %s --exit", name)})
		}
	}
	switch all := len(list) == len(v.Exits); {
	case len(v.Exits) == 0:
		in.add(Settings, Breaks, where, fmt.Sprintf("Via = %s names only this node itself, so everything that it is about is refused", v), "name another node, or take the line out on this one")
	case all:
		for _, t := range list {
			in.add(Settings, Breaks, where, t.text+"; everything that the line is about is refused", t.advice)
		}
	default:
		for _, t := range list {
			in.add(Settings, Weak, where, t.text, t.advice)
		}
	}
}

// most is how many prefixes of one kind are told of.
const most = 3

// overlaps looks at prefixes that are about the VPN itself, or about networks around this machine.
func (in *inspection) overlaps(where string, prefixes, networks []netip.Prefix) {
	var vpn []netip.Prefix
	for _, p := range in.net.Settings.Ifconfig {
		vpn = append(vpn, p.Masked())
	}
	said := 0
	tell := func(level Level, format string, args ...any) {
		if said++; said <= most {
			in.add(Settings, level, where, fmt.Sprintf(format, args...), "take it out of the line or file")
		}
	}
	owners := map[netip.Prefix]string{}
	for _, name := range slices.Sorted(maps.Keys(in.net.Hosts)) {
		for _, sub := range in.net.Hosts[name].Subnets {
			if p := sub.Prefix(); p.IsValid() && subnet.Private(p) {
				owners[p.Masked()] = string(name)
			}
		}
	}
	for _, p := range prefixes {
		within := func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }
		if i := slices.IndexFunc(networks, within); i >= 0 {
			tell(Note, "%v has no effect: it is in %v, the network of this machine, which stays reachable directly", p, networks[i])
			continue
		}
		taken := false
		for q, name := range owners {
			if within(q) && !taken {
				taken = true
				tell(Weak, "%v takes packets away from %s, which has %v in the VPN", p, name, q)
			}
		}
		if i := slices.IndexFunc(vpn, p.Overlaps); i >= 0 && !taken {
			tell(Note, "%v overlaps with the VPN's own %v: what belongs to a node stays in the VPN, the rest leaves by the exit node", p, vpn[i])
		}
	}
	if said > most {
		in.add(Settings, Note, where, fmt.Sprintf("%d more prefixes of this line are about the VPN itself or the network of this machine", said-most), "")
	}
}

// exit looks at whether this machine can be an exit node.
func (in *inspection) exit(m machine) {
	s := in.net.Settings
	if s.Exit == config.ExitOff {
		for _, v := range []string{"ExitConnections", "ExitRate", "ExitDNS"} {
			if in.given(v) {
				in.add(Settings, Note, in.line(v), v+" has no effect: this node is no exit node", "write Exit = yes, or take the line out")
			}
		}
		return
	}
	where := in.line("Exit")
	switch {
	case s.Mode != route.ByAddress:
		in.stops(where, "an exit node needs Mode = router", "write Exit = no, or change Mode")
	case s.Sandbox == config.SandboxHigh:
		in.stops(where, "Sandbox = high runs no programs, and an exit node needs nft", "write Sandbox = normal, or Exit = no")
	case m.gateway != nil:
		advice := "write Exit = no, or change that; the node would not start"
		var h interface{ Hint() string }
		if errors.As(m.gateway, &h) {
			advice = h.Hint()
		}
		in.stops(where, fmt.Sprintf("this machine cannot be an exit node: %v", m.gateway), advice)
	}
	if !in.granted(in.net.Name, roster.CapExit) {
		in.add(Settings, in.wouldBe(Breaks), where, "the owners have not made this node an exit node, so others do not leave by it", fmt.Sprintf("where an owner's key is: tincan admit %s --exit", in.net.Name))
	}
	if s.ExitDNS != "" {
		if _, ok := gateway.ResolverAt(s.ExitDNS); !ok {
			in.add(Settings, Weak, in.line("ExitDNS"), fmt.Sprintf("ExitDNS = %.60s is no address of another machine, and is not used", s.ExitDNS), "write the address of a DNS server that others can ask through this machine")
		}
	}
}

// door looks at whether devices can come in here.
func (in *inspection) door() {
	s := in.net.Settings
	if !s.Door {
		if in.given("DoorPort") {
			in.add(Settings, Note, in.line("DoorPort"), "DoorPort has no effect: this node is no door", "write Door = yes, or take the line out")
		}
		return
	}
	where := in.line("Door")
	switch {
	case s.Mode != route.ByAddress || s.DeviceType == config.DeviceTAP:
		in.stops(where, "a door for devices needs Mode = router and no tap interface: devices have addresses and no Ethernet", "write Door = no, or Mode = router")
	case s.Port == strconv.Itoa(s.DoorPort):
		in.stops(where, fmt.Sprintf("DoorPort = %d is the Port of the network itself, which takes UDP there, too", s.DoorPort), "choose another DoorPort, such as 51820")
	}
	switch {
	case in.signed() == nil:
		in.add(Settings, Breaks, where, "Door = yes has no effect: only signed networks have devices, and this one is open", "make it a signed network: tincan roster adopt; or write Door = no")
	case s.Roster != config.RosterSigned:
		in.add(Settings, Breaks, where, "the door stays shut while Roster = warn", "write Roster = signed when the log warns of nobody any more")
	case !in.granted(in.net.Name, roster.CapDoor):
		in.add(Settings, Breaks, where, "the owners have not made this node a door, so it stays shut", fmt.Sprintf("where an owner's key is: tincan admit %s --door", in.net.Name))
	case in.id.Key == nil:
		in.add(Settings, Breaks, where, "a door needs an Ed25519 key, for which the doors' secret is sealed", "make one: tincan tinc generate-ed25519-keys, then admit this node again")
	}
}

package check

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// soon is how long before the end of a membership it is told of.
const soon = 14 * 24 * time.Hour

// members looks at the roster, if the network is a signed one.
func (in *inspection) members(now time.Time) {
	in.secrets()
	n, l := in.net, in.layout
	var pin roster.ID
	if text := n.Settings.NetworkID; text != "" {
		var err error
		if pin, err = roster.ParseID(text); err != nil {
			in.add(Members, Breaks, l.TincConf(), "NetworkID: "+err.Error(), "")
			return
		}
	}
	r, found, err := members.Load(l, pin)
	in.roster = r
	switch {
	case err != nil:
		in.add(Members, Breaks, l.Roster(), err.Error(), "move the file away: a node that knows NetworkID fetches the roster from its neighbours")
		return
	case r == nil:
		return // an open network
	case n.Settings.Roster == config.RosterOpen:
		in.add(Members, Note, l.TincConf(), "there is a roster, which is not used: Roster = open", "")
		return
	case r.State().Root.IsZero():
		in.add(Members, Note, l.Roster(), "the roster has not arrived yet; until then the node believes everybody", "start the node beside one that has it")
		return
	}
	if found.Left != nil {
		in.add(Members, Note, l.RosterNew(), fmt.Sprintf("it is left out: %v", found.Left), "delete it: a running node fetches what is missing from its neighbours")
	}
	if found.Bad > 0 {
		in.add(Members, Note, l.Roster(), fmt.Sprintf("%d lines are no valid statements, and are left out", found.Bad), "a running node fetches what is missing from its neighbours")
	}
	s := r.State()
	if s.TooNew() {
		in.add(Members, Weak, l.Roster(), "it holds critical statements of a newer version", "update this program")
	}
	in.ownMembership(s, now)
	in.strangers(s, now)
}

// secrets looks at what owners keep.
func (in *inspection) secrets() {
	for _, path := range []string{in.layout.OwnerKey(), in.layout.Roster(), in.layout.RosterNew()} {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && confdir.HasModes {
			in.add(Members, Weak, path, fmt.Sprintf("it can be read by others than its owner (mode %04o)", info.Mode().Perm()), "chmod 600 "+path)
		}
	}
	if _, err := os.Stat(in.layout.RecoveryKey()); !errors.Is(err, fs.ErrNotExist) {
		in.add(Members, Weak, in.layout.RecoveryKey(), "the recovery key is still on this machine: whoever has it can replace the owners", "write it down, keep it apart from all machines, and delete the file")
	}
}

// wouldBe is the level of what a signed network refuses: with Roster = warn it works for now.
func (in *inspection) wouldBe(level Level) Level {
	if in.net.Settings.Roster == config.RosterWarn {
		return Weak
	}
	return level
}

// ownMembership looks at whether the others take this node.
func (in *inspection) ownMembership(s *roster.State, now time.Time) {
	name, m := in.net.Name, s.Member(in.net.Name)
	var own keys.PublicKey
	if in.id.Key != nil {
		own = in.id.Key.Public()
	}
	admit := fmt.Sprintf("where an owner's key is: tincan admit %s --key %v", name, own)
	switch {
	case in.id.Key != nil && s.Removed(own) != nil:
		in.add(Members, Breaks, "", "this node was removed from the network, or has left it", "it needs a new key and a new invitation")
	case m == nil:
		in.add(Members, in.wouldBe(Breaks), "", fmt.Sprintf("%s is no member of the network, so members refuse this node", name), admit)
	case in.id.Key != nil && m.Key != own:
		in.add(Members, in.wouldBe(Breaks), "", "the roster has another key for this node, so members refuse it", admit)
	case m.Ended(now.Unix()):
		in.add(Members, in.wouldBe(Breaks), "", "the membership of this node has ended", admit)
	case m.NotAfter != 0 && m.Ended(now.Add(soon).Unix()):
		in.add(Members, Weak, "", "the membership of this node ends at "+time.Unix(m.NotAfter, 0).Local().Format("2006-01-02 15:04"), admit)
	default:
		mode := "members refuse everybody else"
		if in.net.Settings.Roster == config.RosterWarn {
			mode = "who is no member is only warned of"
		}
		in.add(Members, OK, "", fmt.Sprintf("this node is one of %d members of the network %s; %s", len(s.Members), roster.Fingerprint(s.Network), mode), "")
		for _, one := range in.net.Own.Subnets {
			if one.Prefix().IsValid() && !m.Granted(one) {
				in.add(Members, Weak, in.layout.Host(name), fmt.Sprintf("Subnet = %v was not granted to this node, so the others do not believe it", one),
					fmt.Sprintf("where an owner's key is: tincan admit %s with --subnet for each subnet that it has", name))
			}
		}
	}
}

// strangers looks at host files that the roster contradicts.
func (in *inspection) strangers(s *roster.State, now time.Time) {
	removed := map[node.Name]bool{}
	for _, x := range s.Removals {
		removed[x.Name] = x.Name != ""
	}
	var stock, still []string // members that run tinc 1.0, and removed nodes whose host files are here
	for _, m := range s.Members {
		if m.Key == (keys.PublicKey{}) {
			stock = append(stock, string(m.Name))
		}
	}
	warns := in.net.Settings.Roster == config.RosterWarn
	for _, name := range slices.Sorted(maps.Keys(in.net.Hosts)) {
		h, m := in.net.Hosts[name], s.Member(name)
		where := in.layout.Host(name)
		refused := "it is refused"
		if warns {
			refused = "a signed network would refuse it"
		}
		switch {
		case m == nil && removed[name]:
			still = append(still, string(name))
			in.add(Members, in.wouldBe(Note), where, fmt.Sprintf("%s was removed from the network; %s", name, refused), "the file has no effect; delete it")
		case m == nil && slices.Contains(in.net.Settings.ConnectTo, name) && !warns:
			in.add(Members, Weak, in.layout.Roster(), fmt.Sprintf("this node is to connect to %s, which by this file is no member of the network", name),
				fmt.Sprintf("if other members have it in tincan members, the file is an old copy or was cut off: stop the node, set NetworkID = %v in tinc.conf, delete the file, and start the node again", s.Network))
		case m == nil:
			in.add(Members, in.wouldBe(Note), where, fmt.Sprintf("%s is no member of the network; %s", name, refused), "where an owner's key is: tincan admit "+string(name))
		case m.Ended(now.Unix()):
			in.add(Members, in.wouldBe(Note), where, fmt.Sprintf("the membership of %s has ended; %s", name, refused), "where an owner's key is: tincan admit "+string(name))
		case h.Key != nil && m.Key != (keys.PublicKey{}) && *h.Key != m.Key:
			in.add(Members, in.wouldBe(Note), where, fmt.Sprintf("%s has another key here than in the roster, which counts", name), "take the key out of the file, or admit the node with its new key")
		case h.Key == nil && h.RSAKey != nil && h.RSAKey.Hash() != m.RSA:
			in.add(Members, in.wouldBe(Note), where, fmt.Sprintf("%s has another RSA key here than in the roster, so this one does not count", name), "get its host file again")
		}
	}
	if len(still) > 0 && len(stock) > 0 {
		in.add(Members, Note, "", fmt.Sprintf("%s run tinc 1.0, which knows no roster: they exclude %s only when its host file is deleted there", strings.Join(stock, ", "), strings.Join(still, ", ")), "delete it there, too")
	}
}

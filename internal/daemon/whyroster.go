package daemon

import (
	"fmt"
	"slices"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/members"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// Codes of reasons that are about who belongs to a signed network.
const (
	whyNoRoster     = "no-roster-yet"
	whyOldRoster    = "roster-may-be-old"
	whySelfOutside  = "this-node-not-a-member"
	whyNotMember    = "not-a-member"
	whyRemoved      = "removed-member"
	whyPending      = "waits-for-approval"
	whyEnded        = "membership-ended"
	whyNotGranted   = "subnet-not-granted"
	whyWouldRefuse  = "would-be-refused"
	maxUngranted    = 5
	admitWhereOwner = "where an owner's key is: tincan "
)

// whyRoster adds what the roster says against a node, or against this one. In an open network that is nothing.
func (b *backend) whyRoster(name node.Name, r *control.WhyReport) {
	s := b.d.membership.current()
	mode := b.d.network().Settings.Roster
	if s == nil || mode == config.RosterOpen {
		return
	}
	say := func(code, change, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if mode == config.RosterWarn {
			code, text = whyWouldRefuse, text+"; a signed network would refuse it, and this one only warns"
		} else {
			r.Good = false
		}
		r.Reasons = append(r.Reasons, control.WhyReason{Code: code, Text: text})
		if mode != config.RosterWarn { // it counts more than what the core suggests, which knows host files only
			r.Change = change
		}
	}
	if !s.Whole() {
		r.Reasons = append(r.Reasons, control.WhyReason{Code: whyNoRoster, Text: "this node does not have the roster yet, and believes everybody until a neighbour has sent it"})
		if p := b.notLetIn(); p != nil {
			r.Good, r.Change = false, p.Change
		}
		return
	}
	state, now, self := s.State(), time.Now().Unix(), b.d.network().Name
	if m := state.Member(self); b.d.id.Key != nil && (m == nil || m.Key != b.d.id.Key.Public() || m.Ended(now)) {
		say(whySelfOutside, admitWhereOwner+"admit "+string(self), "this node is no member of the network with its key, so members refuse it")
	}
	if p := b.notLetIn(); p != nil {
		say(p.Code, p.Change, "%s", p.Text)
	}
	if name == self {
		return
	}
	code, text := against(state, name, now)
	if code != "" && mode != config.RosterWarn { // to the core it is a node whose host file is missing
		r.Reasons = slices.DeleteFunc(r.Reasons, func(x control.WhyReason) bool { return x.Code == "removed" })
	}
	switch code {
	case "":
		b.whyUngranted(state.Member(name), say)
	case whyRemoved:
		say(code, "a removed key never comes back; make a new one on that machine, and invite it again", "%s", text)
	case whyPending:
		say(code, admitWhereOwner+"approve "+string(name), "%s", text)
	default:
		say(code, admitWhereOwner+"admit "+string(name), "%s", text)
	}
}

// notLetIn is what the matter may be with a node that has no connection in a signed network: it has never had the roster, or an
// old one. nil: neither.
func (b *backend) notLetIn() *control.Problem {
	s := b.d.membership.current()
	if s == nil || b.d.network().Settings.Roster == config.RosterOpen {
		return nil
	}
	connected := false
	b.d.core.call(func(m *mesh.Mesh) {
		connected = slices.ContainsFunc(m.Conns(), func(c mesh.ConnInfo) bool { return c.Active })
	})
	if connected {
		return nil
	}
	if s.Whole() {
		return oldRoster(b.d.network(), s.State(), b.d.opts.Layout)
	}
	name := b.d.network().Name
	return &control.Problem{
		Code: whyNoRoster, Text: "no member of the network has let this node in yet, so it does not have the roster",
		Change: fmt.Sprintf("if it was invited with --approve: %sapprove %s; else see %s netcheck", admitWhereOwner, name, b.d.command()),
	}
}

// outside is why a node is no member of a signed network, as a code; "" if it is one, or the network is open.
func (b *backend) outside(name node.Name) (code string) {
	if s := b.d.membership.signed(); s != nil {
		code, _ = against(s.State(), name, time.Now().Unix())
	}
	return code
}

// against is what the roster says against a node; "" if it is a member.
func against(s *roster.State, name node.Name, now int64) (code, text string) {
	if m := s.Member(name); m != nil {
		if m.Ended(now) {
			return whyEnded, fmt.Sprintf("the membership of %s has ended", name)
		}
		return "", ""
	}
	for _, m := range s.Pending {
		if m.Name == name {
			return whyPending, fmt.Sprintf("%s was admitted by %s under an invitation that an owner has to approve, and waits for that", name, members.Who(s, m.By))
		}
	}
	for _, x := range s.Removals {
		if x.Name == name && x.Left() {
			return whyRemoved, fmt.Sprintf("%s has left the network", name)
		} else if x.Name == name {
			return whyRemoved, fmt.Sprintf("%s was removed from the network by %s%s", name, members.Who(s, x.By), because(x.Reason))
		}
	}
	return whyNotMember, fmt.Sprintf("%s is no member of the network", name)
}

// whyUngranted tells of subnets in the host file of a member that it was not granted: what it announces of them is refused.
func (b *backend) whyUngranted(m *roster.Membership, say func(code, change, format string, args ...any)) {
	h, _, err := confdir.LoadHost(b.d.opts.Layout, m.Name, nil)
	if err != nil {
		return
	}
	told := 0
	for _, s := range h.Subnets {
		if s.Prefix().IsValid() && !m.Granted(s) && told < maxUngranted {
			told++
			say(whyNotGranted, fmt.Sprintf("%sadmit %s --subnet %v, with --subnet for each of the others that it has", admitWhereOwner, m.Name, s), "the subnet %v of %s was not granted to it, so nobody believes it", s, m.Name)
		}
	}
}

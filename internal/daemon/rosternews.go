package daemon

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/members"
	"tincan/internal/report"
	"tincan/internal/roster"
)

// rosterNews tells what is different about the roster of the network. The zero value is ready.
type rosterNews struct {
	mu     sync.Mutex
	before *roster.State // nil: there was none, or a part of one
}

// see takes in the present state, and returns what has happened since the one before. A roster that has just arrived as a whole
// is no news.
func (n *rosterNews) see(s *roster.State, whole bool) []events.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !whole {
		s = nil
	}
	before := n.before
	n.before = s
	if before == nil || s == nil || before == s || before.Network != s.Network {
		return nil
	}
	return rosterChanges(before, s)
}

// rosterChanges is what has happened between two states.
func rosterChanges(before, now *roster.State) (list []events.Event) {
	add := func(e events.Event, format string, args ...any) {
		e.Reason = control.OneLine(e.Reason)
		e.Text = control.OneLine(fmt.Sprintf(format, args...))
		list = append(list, e)
	}
	was, is := people(before), people(now)
	for _, m := range now.Members {
		if old := was[roster.Identity(m.Key, m.RSA)]; old == nil || old.pending {
			add(events.Event{Event: events.MemberJoined, Node: m.Name, By: members.Who(now, m.By), Fingerprint: roster.Fingerprint(roster.Identity(m.Key, m.RSA))},
				"%s is a member now, by %s", m.Name, members.Who(now, m.By))
		}
	}
	for _, m := range now.Pending {
		if was[roster.Identity(m.Key, m.RSA)] == nil {
			add(events.Event{Event: events.MemberPending, Node: m.Name, By: members.Who(now, m.By), Fingerprint: roster.Fingerprint(roster.Identity(m.Key, m.RSA))},
				"%s waits for the approval of an owner", m.Name)
		}
	}
	for _, m := range append(slices.Clone(before.Members), before.Pending...) {
		id := roster.Identity(m.Key, m.RSA)
		if is[id] != nil {
			continue
		}
		e := events.Event{Event: events.MemberRemoved, Node: m.Name, Fingerprint: roster.Fingerprint(id)}
		switch x := now.Removed(id); {
		case x == nil:
			add(e, "%s is no member any more: what admitted it does not count any more", m.Name)
		case x.Left():
			e.Event = events.MemberLeft
			add(e, "%s has left the network", m.Name)
		case was[id].pending:
			e.By, e.Reason = members.Who(now, x.By), x.Reason
			add(e, "%s was refused by %s%s", m.Name, e.By, because(x.Reason))
		default:
			e.By, e.Reason = members.Who(now, x.By), x.Reason
			add(e, "%s was removed by %s%s", m.Name, e.By, because(x.Reason))
		}
	}
	for _, c := range now.Conflicts {
		if c.Reason == roster.ReasonUses && !slices.ContainsFunc(before.Conflicts, func(x roster.Conflict) bool { return x.Statement == c.Statement }) {
			add(events.Event{Event: events.InvitationReused, Node: c.Name, Fingerprint: roster.Fingerprint(c.Key)},
				"an invitation was used more often than it may: %s is no member by it", c.Name)
		}
	}
	if changes := report.OwnerChanges(before.Owners, now.Owners); len(changes) > 0 {
		add(events.Event{Event: events.OwnersChanged}, "the owners have changed: %s", strings.Join(changes, "; "))
	}
	old, _ := before.Policy("")
	if text, _ := now.Policy(""); text != old {
		e := events.Event{Event: events.PolicyChanged}
		if p := now.SignedPolicy(""); p != nil {
			e.By = members.Who(now, p.By)
		}
		if text == "" {
			add(e, "the network has no access policy any more, by %s", e.By)
		} else {
			add(e, "the network has a new access policy, by %s", e.By)
		}
	}
	return list
}

// person is somebody that a state knows.
type person struct{ pending bool }

// people are members and newcomers by their key.
func people(s *roster.State) map[[32]byte]*person {
	all := make(map[[32]byte]*person, len(s.Members)+len(s.Pending))
	for _, m := range s.Pending {
		all[roster.Identity(m.Key, m.RSA)] = &person{pending: true}
	}
	for _, m := range s.Members {
		all[roster.Identity(m.Key, m.RSA)] = &person{}
	}
	return all
}

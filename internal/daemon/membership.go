package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/keys"
	"tincan/internal/members"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
)

// membership is the roster of the network as this node has it, if the network is a signed one. It is read at
// the start; one that is made or accepted later begins to count with a reload.
type membership struct {
	d *Daemon

	mu      sync.Mutex
	ctx     context.Context  // of run; nil before
	service *members.Service // nil: the network is open
	aside   *roster.Roster   // of which a part is in the file beside the roster, at the start; see takeBack
	network roster.ID        // its id
	ended   sync.WaitGroup
	near    []node.Name // with whom it is exchanged
	news    rosterNews
}

// ErrExpelled is why a node ends whose key was removed from the network.
var ErrExpelled = errors.New("this node was removed from the network")

// load reads the roster, if there is one that counts.
func (m *membership) load(n *confdir.Network) error {
	if n.Settings.Roster == config.RosterOpen {
		return nil
	}
	var pin roster.ID
	if text := n.Settings.NetworkID; text != "" {
		var err error
		if pin, err = roster.ParseID(text); err != nil {
			return config.Problem{Where: m.d.opts.Layout.TincConf(), Text: "NetworkID: " + err.Error()}
		}
	}
	l := m.d.opts.Layout
	r, found, err := members.Load(l, pin)
	if err != nil {
		return &Hinted{err, "the other members have the same roster: move the file away, and set NetworkID to the network's id (tincan roster show, on another member)"}
	}
	if found.Left != nil {
		m.d.log.printf(0, mesh.Warning, "left out: %v; the neighbours are asked for what is missing", found.Left)
	}
	if found.Bad > 0 {
		m.d.log.printf(0, mesh.Warning, "%s: %d lines are no statements; the neighbours are asked for what is missing", l.Roster(), found.Bad)
	}
	if r != nil {
		if found.Aside {
			m.aside = r
		}
		if p := oldRoster(n, r.State(), l); p != nil {
			m.d.log.printf(0, mesh.Warning, "%s; hint: %s", p.Text, p.Change)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.begin(r)
	}
	return nil
}

// takeBack puts into the roster what the node had to write beside it when it ran last. Nobody else runs here now, and the rights that it
// had not then are there for this once. Without them the file stays, and counts.
func (m *membership) takeBack() {
	if m.aside == nil {
		return
	}
	if err := members.Save(m.d.opts.Layout, m.aside); err != nil {
		m.d.log.failed(1, mesh.Info, err)
	}
	m.aside = nil
}

// oldRoster is what speaks for it that the file of the roster is an old copy, or was cut off: this node is to connect to nodes that
// are no members by it. nil: nothing.
func oldRoster(n *confdir.Network, s *roster.State, l confdir.Layout) *control.Problem {
	if n.Settings.Roster != config.RosterSigned || s.Root.IsZero() {
		return nil
	}
	var strangers []string
	for _, name := range n.Settings.ConnectTo {
		if s.Member(name) == nil {
			strangers = append(strangers, string(name))
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	return &control.Problem{
		Code: whyOldRoster,
		Text: fmt.Sprintf("this node is to connect to %s, which by its roster is no member of the network", strings.Join(strangers, ", ")),
		Change: fmt.Sprintf("if other members have it in tincan members, %s is an old copy or was cut off: stop the node, set NetworkID = %v in tinc.conf, delete that file, and start the node again: it fetches the roster from its neighbours",
			rosterFiles(l), s.Network),
	}
}

// rosterFiles names the files that a roster consists of.
func rosterFiles(l confdir.Layout) string {
	if _, err := os.Lstat(l.RosterNew()); err == nil {
		return l.Roster() + " with " + l.RosterNew()
	}
	return l.Roster()
}

// begin begins to keep a roster. m.mu is held.
func (m *membership) begin(r *roster.Roster) {
	d := m.d
	m.network = r.Network()
	m.service = members.New(members.Config{
		Self: d.network().Name, Files: func() confdir.Layout { return d.opts.Layout },
		Send: func(out reconcile.Out) { d.core.event(mesh.SendRoster{To: out.To, Data: out.Data, Urgent: out.Urgent}) },
		Changed: func(s *roster.State, whole bool) {
			d.core.event(m.changed(s, whole))
			for _, e := range m.news.see(s, whole) {
				d.happened(e)
			}
		},
		Failed: func(err error) {
			if err != nil {
				d.log.failed(0, mesh.Error, err)
			}
		},
	}, r)
	m.news.see(m.service.State(), m.service.Whole())
	if m.ctx != nil {
		m.start()
	}
}

// start runs the service. m.mu is held.
func (m *membership) start() {
	s := m.service
	s.SetNeighbours(m.near, nil)
	m.ended.Go(func() { s.Run(m.ctx) })
}

// run keeps the roster until ctx ends.
func (m *membership) run(ctx context.Context) {
	m.mu.Lock()
	m.ctx = ctx
	if m.service != nil {
		m.start()
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.ended.Wait()
}

// reload takes over what the configuration says now. A roster that is there stays.
func (m *membership) reload(n *confdir.Network) error {
	if m.current() == nil {
		if err := m.load(n); err != nil {
			return err
		}
	}
	if s := m.current(); s != nil {
		if id := n.Settings.NetworkID; id != "" && !strings.EqualFold(id, s.State().Network.String()) {
			m.d.log.printf(0, mesh.Warning, "changed, but not in effect before a restart: NetworkID")
		}
		m.d.core.event(m.changed(s.State(), s.Whole()))
	}
	return nil
}

// current is the running service, nil if the network is open.
func (m *membership) current() *members.Service {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.service
}

// enforcing is the service if its roster is whole and is used, be it only for warnings, nil else.
func (m *membership) enforcing() *members.Service {
	s := m.current()
	if s == nil || !s.Whole() || m.d.network().Settings.Roster == config.RosterOpen {
		return nil
	}
	return s
}

// signed is the service if its roster decides who belongs to the network, nil else.
func (m *membership) signed() *members.Service {
	if s := m.enforcing(); s != nil && m.d.network().Settings.Roster == config.RosterSigned {
		return s
	}
	return nil
}

// judgeHost says what the roster has against a host file that others have sent (keydist.Store).
func (m *membership) judgeHost(name node.Name, data []byte) (signed bool, err error) {
	s := m.signed()
	if s == nil {
		return false, nil
	}
	return true, members.JudgeHost(s.State(), name, data, time.Now())
}

// changed is what the protocol core is told of a state. A part of a roster does not count. It also puts the policy in force.
func (m *membership) changed(s *roster.State, whole bool) mesh.RosterChanged {
	defer m.d.naming.members()
	mode := m.d.network().Settings.Roster
	switch {
	case mode == config.RosterOpen || !whole:
		m.d.rules.set(m.d, nil)
		m.d.devices.set(nil)
		return mesh.RosterChanged{Fetching: mode != config.RosterOpen}
	case mode == config.RosterWarn:
		m.d.rules.set(m.d, nil)
		m.d.devices.set(nil)
		return mesh.RosterChanged{State: s, Mode: mesh.RosterWarns}
	}
	m.d.devices.set(s)
	m.d.rules.set(m.d, s)
	return mesh.RosterChanged{State: s}
}

// now is what the protocol core is told at its start.
func (m *membership) now() mesh.RosterChanged {
	if s := m.current(); s != nil {
		return m.changed(s.State(), s.Whole())
	}
	return mesh.RosterChanged{}
}

// The protocol core's news. None of this blocks.

// neighbours: the roster is to be exchanged with these nodes from now on, with some over a new connection.
func (m *membership) neighbours(names, anew []node.Name) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.near = names
	if m.service != nil {
		m.service.SetNeighbours(names, anew)
	}
}

// received: a neighbour has sent a message about the roster.
func (m *membership) received(from node.Name, data []byte) {
	if s := m.current(); s != nil {
		s.Receive(from, data)
	}
}

// wasExpelled tells whether this node's key was removed as far as its own file knows, and says so.
func (m *membership) wasExpelled() bool {
	s := m.current()
	if s == nil || m.d.id.Key == nil {
		return false
	}
	x := s.State().Removed(m.d.id.Key.Public())
	if x == nil || m.d.network().Settings.Roster != config.RosterSigned {
		return false
	}
	m.sayExpelled(mesh.Expelled{By: x.By, Reason: x.Reason})
	if x.By != m.d.id.Key.Public() {
		m.d.log.printf(0, mesh.Notice, "hint: if other members have this node in tincan members, that was taken back after %s was written: set NetworkID = %v in tinc.conf, delete that file, and start the node again",
			rosterFiles(m.d.opts.Layout), s.State().Network)
	}
	return true
}

// expelled: this node's key was removed.
func (m *membership) expelled(e mesh.Expelled) {
	m.sayExpelled(e)
	m.d.fail(ErrExpelled)
}

func (m *membership) sayExpelled(e mesh.Expelled) {
	who := "an owner"
	if m.d.id.Key != nil && e.By == m.d.id.Key.Public() {
		m.d.log.printf(0, mesh.Notice, "this node has left the network; it ends, and its files stay")
	} else {
		if s := m.current(); s != nil {
			who = nameOf(s.State(), e.By)
		}
		m.d.log.printf(0, mesh.Error, "this node was removed from the network by %s%s; it ends, and its files stay", who, because(e.Reason))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", reason)
}

// nameOf is the name of an owner.
func nameOf(s *roster.State, key keys.PublicKey) string {
	for _, o := range s.Owners.Owners {
		if o.Key == key {
			return string(o.Name)
		}
	}
	return roster.Fingerprint(key)
}

// What the control socket asks (control.RosterKeeper).

// submitTime is how long the control socket waits until statements are on disk.
const submitTime = 5 * time.Second

// errNoRoster: there is nothing that a statement could be added to.
var errNoRoster = errors.New("this node has no roster: the network is an open one")

// AddStatements adds signed statements.
func (b *backend) AddStatements(raws [][]byte) (outcome string, err error) {
	s := b.d.membership.current()
	if s == nil {
		return "", errNoRoster
	}
	ctx, cancel := context.WithTimeout(context.Background(), submitTime)
	defer cancel()
	results, err := s.Submit(ctx, raws)
	var refused error
	for _, result := range results {
		outcome = result.Outcome.String()
		refused = errors.Join(refused, result.Err())
	}
	if err != nil && refused == nil && len(results) > 0 && !errors.Is(err, members.ErrEnded) {
		err = fmt.Errorf("it is in force and passed on, but not stored yet, which is tried again: %w", err)
	}
	return outcome, errors.Join(err, refused)
}

// Members is what the roster says.
func (b *backend) Members() any {
	s := b.d.membership.current()
	if s == nil {
		return members.View{Mode: config.RosterOpen.String()}
	}
	v := members.NewView(s.State(), b.d.network().Name, b.d.network().Settings.Roster.String(), time.Now())
	v.Fetching = !s.Whole()
	v.See(b.d.seen.now)
	b.d.devices.see(&v)
	b.d.core.call(func(m *mesh.Mesh) { v.Unanswered(m.Silent()) })
	return v
}

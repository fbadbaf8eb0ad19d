package mesh

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/graph"
	"tincan/internal/keys"
	"tincan/internal/mesh/timer"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// What a signed network does with its roster (package roster; decision 035).
//
// To the other parts a member is a node with a host file, whatever lies on this machine's disk: its key is that of the
// roster, and who is no member has none. So nobody logs in, gets a session or is asked for its key who does not belong
// here. What neighbours say about nodes is believed, and passed on, only if those are members, and about subnets only if
// they were granted. What is said about somebody who is not a member yet waits for a moment, because his admission may be
// on its way.
//
// An empty roster governs nothing: the statements that begin the network have not arrived.

// RosterMode says what the roster is used for.
type RosterMode uint8

// Modes of a roster.
const (
	RosterEnforced RosterMode = iota // only members take part
	RosterWarns                      // the log says what would be refused
)

// RosterChanged is news of who belongs to the network. State does not change any more; nil: the network is open.
type RosterChanged struct {
	State *roster.State
	Mode  RosterMode
	// Fetching: there is a roster, of which this node has only a part. State is nil then.
	Fetching bool
}

// SendRoster asks to send a message about the roster to a node, in vain if it cannot be had: to a neighbour over the
// connection, to another node of [RosterNeighbours] inside the session.
type SendRoster struct {
	To     node.Name
	Data   []byte // 1 to [wire.MaxRoster] bytes
	Urgent bool
}

// RosterNeighbours says with whom the roster is to be exchanged from now on, in order.
type RosterNeighbours struct {
	Names []node.Name
	Anew  []node.Name // those to whom there is another connection than before
}

// RosterReceived is a message about the roster. Who it is from is certain.
type RosterReceived struct {
	From node.Name
	Data []byte
}

// RosterIn: a record of type 16 from Node was opened.
type RosterIn struct {
	Node node.Name
	Data []byte
}

// SendRecord seals and sends a record of that type to Node, as a packet of its size would go.
type SendRecord struct {
	Node node.Name
	Type byte
	Data []byte
}

// Expelled says that this node does not belong to the network any more: its key was removed.
type Expelled struct {
	By     keys.PublicKey // who removed it; its own key if it has left
	Reason string
}

const (
	// heldFor is how long news about somebody who is no member wait for his admission, and maxHeld how many of one
	// neighbour.
	heldFor = 30 * time.Second
	maxHeld = 128
	// keptFor is how long somebody stays a member who is none any more without having been removed: when owners change,
	// their statements about members may arrive after the change.
	keptFor = 10 * time.Second
)

// keptMember is somebody who was a member a moment ago.
type keptMember struct {
	*roster.Membership
	until time.Time
}

// heldNews is a flooded request about somebody who is no member.
type heldNews struct {
	conn   ConnID
	text   string
	names  []node.Name   // of an edge both, in order; of a subnet its owner
	subnet subnet.Subnet // zero: it is about an edge
	until  time.Time
	struck bool // it was believed before; such are as many as there may be in the mesh
}

// roll is who belongs to the network.
type roll struct {
	*env
	*directory

	state    *roster.State // nil: the network is open
	mode     RosterMode
	files    map[node.Name]Host // what the host files say; nil: there is no roster, and host files are all that counts
	held     []heldNews
	granting grants // of members; zero: the roster is not enforced
	kept     map[node.Name]keptMember
	end      *timer.Timer // when the next membership ends
	gone     bool         // Expelled was emitted

	near     []node.Name        // with whom the roster is exchanged, neighbours and others
	far      map[node.Name]bool // of these, the others
	anew     []node.Name        // of these, whose connection is new
	changed  bool               // connections, or what partners there are, have changed
	fetching bool               // this node has only a part of the roster
	islands  uint64             // the search for paths after which far was worked out

	reach interface { // who is reached
		proofsChanged()
		searchesSoFar() uint64
	}
	keyring interface { // host files and keys
		applyHost(name node.Name, known bool, h Host)
		disown(p *peer)
	}
	links interface { // connections
		activeConn(id ConnID) *conn
		activeConns() []*conn
		send(c *conn, text []byte)
		sendFirst(c *conn, text []byte)
		dropAll(why map[*peer]string)
	}
	topology interface { // what is announced
		strike(p *peer) []graph.Edge
		addEdgeWithNewNonce(e graph.Edge) []byte
		news(c *conn, text string)
	}
	subnets interface { // who owns what
		addedSubnet(owner node.Name, s subnet.Subnet) subnetRequest
		dropUngranted(p *peer) map[subnet.Subnet]node.Name
	}
}

// enforced tells whether only members take part.
func (r *roll) enforced() bool {
	return r.state != nil && r.mode == RosterEnforced && !r.state.Root.IsZero()
}

// member is the member called name, nil if there is none now.
func (r *roll) member(name node.Name) *roster.Membership {
	m := r.state.Member(name)
	if m == nil {
		if kept, ok := r.kept[name]; ok && r.now.Before(kept.until) {
			m = kept.Membership
		}
	}
	if m != nil && !m.Ended(r.now.Unix()) {
		return m
	}
	return nil
}

// mustProve tells whether a node has to prove that it is there before anybody believes it: in a signed network of few members,
// if it has a key by which it can.
func (r *roll) mustProve(name node.Name) bool {
	if !r.enforced() || len(r.state.Members) > maxProving {
		return false
	}
	m := r.member(name)
	return m != nil && m.Key != (keys.PublicKey{})
}

// keep keeps those members of the state before, with some of whose names something has changed, who have got lost without
// having been removed.
func (r *roll) keep(before *roster.State, names []node.Name) {
	for name := range r.kept {
		if !r.lost(r.kept[name].Membership) || !r.now.Before(r.kept[name].until) {
			delete(r.kept, name)
		}
	}
	if before == nil || r.state == nil || before.Network != r.state.Network {
		return
	}
	some := false
	for _, name := range names {
		m := before.Member(name)
		if _, ok := r.kept[name]; !ok && m != nil && r.lost(m) {
			if r.kept == nil {
				r.kept = map[node.Name]keptMember{}
			}
			r.kept[name] = keptMember{m, r.now.Add(keptFor)}
			some = true
		}
	}
	if some {
		r.after(keptFor, func() { r.applyAll(r.enforced()) })
	}
}

// lost tells whether m is no member any more, and was not removed.
func (r *roll) lost(m *roster.Membership) bool {
	removed := func(key [32]byte) bool { return key != [32]byte{} && r.state.Removed(key) != nil }
	return r.state != nil && r.state.Member(m.Name) == nil && !removed(m.Key) && !removed(m.RSA)
}

// isMember tells whether name may take part.
func (r *roll) isMember(name node.Name) bool {
	return !r.enforced() || name == r.cfg.Name || r.member(name) != nil
}

// governs tells whether there is a roster, enforced or not.
func (r *roll) governs() bool { return r.files != nil }

// hostFile takes note of what the host file of a node says, and returns what counts.
func (r *roll) hostFile(name node.Name, known bool, h Host) (bool, Host) {
	if !r.governs() {
		return known, h
	}
	if known {
		r.files[name] = h
	} else {
		delete(r.files, name)
	}
	return r.hostOf(name)
}

// hostFiles is [roll.hostFile] for all files at once.
func (r *roll) hostFiles(hosts map[node.Name]Host) map[node.Name]Host {
	if !r.governs() {
		return hosts
	}
	r.files = maps.Clone(hosts)
	count := map[node.Name]Host{}
	for name := range hosts {
		if known, h := r.hostOf(name); known {
			count[name] = h
		}
	}
	for _, p := range r.order {
		if known, h := r.hostOf(p.name); known {
			count[p.name] = h
		}
	}
	return count
}

// hostOf is what counts as the host file of a node, and whether there is one.
func (r *roll) hostOf(name node.Name) (bool, Host) {
	h, known := r.files[name]
	if !r.enforced() || name == r.cfg.Name {
		return known, h
	}
	m := r.member(name)
	if m == nil {
		return false, Host{}
	}
	h.Key = nil
	if m.Key != (keys.PublicKey{}) {
		key := m.Key
		h.Key = &key
	}
	if h.RSAKey != nil && h.RSAKey.Hash() != m.RSA {
		h.RSAKey = nil
	}
	return true, h
}

// change takes over another state of the roster.
func (r *roll) change(e RosterChanged) {
	if r.fetching != e.Fetching {
		r.fetching, r.changed = e.Fetching, true
	}
	if r.state == nil && e.State == nil {
		return
	}
	if r.files == nil {
		r.changed = true // it has other partners now
		r.files = map[node.Name]Host{}
		for _, p := range r.order {
			if p.known() {
				r.files[p.name] = *p.host()
			}
		}
	}
	was, before, mode := r.enforced(), r.state, r.mode
	r.state, r.mode = e.State, e.Mode
	names := r.state.Differing(before)
	if !r.state.SameDevices(before) { // what doors may announce; who is none any more differs
		names = append(names, doors(r.state)...)
	}
	for name := range r.kept { // it may have been removed now
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	r.keep(before, names)
	r.setTimer()
	if before == nil || r.state == nil || before.Network != r.state.Network || was != r.enforced() || mode != r.mode {
		r.applyAll(was)
	} else {
		r.apply(names, was)
	}
	r.reach.proofsChanged()
	if r.state == nil {
		r.files, r.held, r.changed = nil, nil, true
		return
	}
	r.lookAtSelf()
	r.release()
}

// applyAll has everything follow from the roster as it is now.
func (r *roll) applyAll(wasEnforced bool) {
	r.publishGrants(r.grantees())
	var names, files []node.Name
	for _, p := range r.order {
		names = append(names, p.name)
	}
	for name := range r.files {
		if r.nodes[name] == nil {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	r.apply(append(names, files...), wasEnforced)
}

// apply has everything follow that concerns some names.
func (r *roll) apply(names []node.Name, wasEnforced bool) {
	for _, name := range r.publishGrants(names) {
		if p := r.nodes[name]; p != nil {
			r.holdSubnets(p, r.subnets.dropUngranted(p))
		}
	}
	r.expel(names)
	for _, name := range names {
		p := r.nodes[name]
		if p == r.self {
			continue
		}
		known, h := r.hostOf(name)
		_, file := r.files[name]
		switch {
		case p == nil && known && file: // of whom nothing was known but a file that did not count
			r.keyring.applyHost(name, known, h)
		case p == nil, r.enforced() && !known:
		case wasEnforced || r.enforced():
			if !r.sameHost(p, known, h) {
				h.Cached = p.host().Cached
				r.keyring.applyHost(p.name, known, h)
			}
			r.holdSubnets(p, r.subnets.dropUngranted(p))
		default:
			r.warn(p)
		}
	}
}

// sameHost tells whether what counts as the host file of p is the same as before, as far as the roster decides.
func (r *roll) sameHost(p *peer, known bool, h Host) bool {
	is := p.host()
	return p.known() == known && sameKey(is.Key, h.Key) &&
		(is.RSAKey == h.RSAKey || is.RSAKey != nil && h.RSAKey != nil && is.RSAKey.Equal(*h.RSAKey))
}

// expel ends everything with those of some names who are no members, in this turn, and the connections with those who have
// logged in with another key than the member of that name.
func (r *roll) expel(names []node.Name) {
	if !r.enforced() {
		return
	}
	why := map[*peer]string{}
	var gone []*peer
	for _, name := range names {
		p := r.nodes[name]
		switch {
		case p == nil || p == r.self:
		case r.member(name) == nil:
			gone = append(gone, p)
			why[p] = "it " + r.whyNot(name)
			if p.known() || p.conn() != nil || p.reachable() {
				r.logf(0, Warning, "%s %s: connections and sessions with it end", name, r.whyNot(name))
			}
		case r.isAnother(p):
			why[p] = "the member of this name has another key"
		}
	}
	r.links.dropAll(why)
	for _, p := range gone {
		r.keyring.disown(p)
		subnets, edges := r.subnets.dropUngranted(p), r.topology.strike(p)
		r.touch(p)
		if r.removal(p.name) != nil {
			continue
		}
		// Its admission may be on its way: other nodes may have heard of that before they announced it.
		r.holdSubnets(p, subnets)
		for _, e := range edges {
			r.holdStruck(e.By, heldNews{text: string(r.topology.addEdgeWithNewNonce(e)), names: []node.Name{e.From, e.To}})
		}
	}
}

// isAnother tells whether p has logged in with another key than that of the member of its name.
func (r *roll) isAnother(p *peer) bool {
	c := p.conn()
	if c == nil {
		return false
	}
	_, h := r.hostOf(p.name)
	if c.isLegacy() {
		is := p.host().RSAKey
		return is == nil || h.RSAKey == nil || !is.Equal(*h.RSAKey)
	}
	return !sameKey(p.key(), h.Key)
}

// holdSubnets holds what was known of subnets of p that it was not granted, by the neighbour that each came from.
func (r *roll) holdSubnets(p *peer, subnets map[subnet.Subnet]node.Name) {
	for _, s := range slices.SortedFunc(maps.Keys(subnets), subnet.Compare) {
		r.holdStruck(subnets[s], heldNews{text: string(r.subnets.addedSubnet(p.name, s).Append(nil)), names: []node.Name{p.name}, subnet: s})
	}
}

// holdStruck holds what was believed until now, as if the neighbour called by said it again.
func (r *roll) holdStruck(by node.Name, h heldNews) {
	if p := r.nodes[by]; p != nil && p.conn() != nil {
		h.conn, h.until, h.struck = p.conn().id, r.now.Add(heldFor), true
		r.held = append(r.held, h)
	}
}

// removal is the removal of the node called name, nil if there is none.
func (r *roll) removal(name node.Name) *roster.RemovedKey {
	if i := slices.IndexFunc(r.state.Removals, func(x *roster.RemovedKey) bool { return x.Name == name }); i >= 0 {
		return r.state.Removals[i]
	}
	return nil
}

// whyNot tells why name is no member.
func (r *roll) whyNot(name node.Name) string {
	removal := r.removal(name)
	switch m := r.state.Member(name); {
	case m != nil && m.Ended(r.now.Unix()):
		return "is no member of the network any more: its membership has ended"
	case m == nil && removal != nil && removal.Left():
		return "has left the network"
	case m == nil && removal != nil:
		return "was removed from the network"
	}
	return "is no member of the network"
}

// warn says what would be refused of p if the roster was enforced.
func (r *roll) warn(p *peer) {
	if r.state == nil || r.state.Root.IsZero() || !p.known() && p.conn() == nil && !p.reachable() {
		return
	}
	m := r.member(p.name)
	switch {
	case m == nil:
		r.logf(0, Warning, "roster: %s %s; a signed network would refuse it", p.name, r.whyNot(p.name))
	case p.key() != nil && *p.key() != m.Key:
		r.logf(0, Warning, "roster: %s has another key here than in the roster; a signed network would refuse it", p.name)
	}
}

// setTimer sees to it that memberships end in time.
func (r *roll) setTimer() {
	if r.end != nil {
		r.timers.Cancel(r.end)
		r.end = nil
	}
	if r.state == nil {
		return
	}
	now, next := r.now.Unix(), int64(0)
	for _, m := range r.state.Members {
		if m.NotAfter >= now && m.NotAfter != 0 && (next == 0 || m.NotAfter < next) {
			next = m.NotAfter
		}
	}
	if next != 0 {
		wait := min(time.Duration(next+1-now)*time.Second, 24*time.Hour)
		r.end = r.after(wait, func() {
			r.end = nil
			r.setTimer()
			r.applyAll(r.enforced())
		})
	}
}

// lookAtSelf sees whether this node belongs to the network itself.
func (r *roll) lookAtSelf() {
	if r.state.Root.IsZero() || r.cfg.Key == nil {
		return
	}
	key := r.cfg.Key.Public()
	x := r.state.Removed(key)
	if x != nil && !r.enforced() {
		r.logf(0, Warning, "roster: this node was removed from the network; in a signed network it would end now, and be let in by nobody")
		return
	}
	if x != nil && !r.gone {
		r.gone = true
		r.emit(Expelled{By: x.By, Reason: x.Reason})
		return
	}
	if m := r.member(r.cfg.Name); m == nil || m.Key != key {
		r.logf(0, Warning, "the roster does not know this node, so members refuse it; an owner can admit it: tincan admit %s", r.cfg.Name)
	}
}

// admits tells whether news that came over c about some nodes may be believed. If they are no members yet it may wait.
func (r *roll) admits(c *conn, text string, names ...node.Name) bool {
	if !r.enforced() {
		return true
	}
	i := slices.IndexFunc(names, func(n node.Name) bool { return !r.isMember(n) })
	if i < 0 {
		return true
	}
	r.refused(c, "news about %s, who %s", names[i], r.whyNot(names[i]))
	r.hold(heldNews{conn: c.id, text: text, names: slices.Clone(names)})
	return false
}

// grants tells whether the news that came over c, that owner has s, may be believed. If not yet, it may wait.
func (r *roll) grants(c *conn, text string, owner node.Name, s subnet.Subnet) bool {
	switch {
	case r.granted(owner, s):
		return true
	case !r.isMember(owner):
		r.refused(c, "news about %s, who %s", owner, r.whyNot(owner))
	default:
		r.refused(c, "subnet %s of %s, which was not granted to it", s, owner)
	}
	r.hold(heldNews{conn: c.id, text: text, names: []node.Name{owner}, subnet: s})
	return false
}

// granted tells whether owner may announce s: whether the narrowest subnet that was granted and has s in it was granted to
// owner. MAC addresses, which are learned, are everybody's.
func (r *roll) granted(owner node.Name, s subnet.Subnet) bool {
	if !r.enforced() || owner == r.cfg.Name || !s.Prefix().IsValid() {
		return true
	}
	return r.member(owner) != nil && r.granting.narrowest(s.Prefix(), owner)
}

// grantees are all who have grants, or had them.
func (r *roll) grantees() []node.Name {
	names := slices.Collect(maps.Keys(r.granting.of))
	if r.enforced() {
		for _, m := range r.state.Members {
			names = append(names, m.Name)
		}
		names = slices.AppendSeq(names, maps.Keys(r.kept))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// publishGrants works out what was granted to some names, and tells the data plane what has changed. It returns who was
// granted a wider subnet than one that is new.
func (r *roll) publishGrants(names []node.Name) (wider []node.Name) {
	if !r.enforced() {
		if r.granting.of != nil {
			r.granting = grants{}
			r.emit(ChangeGrants{Open: true})
		}
		return nil
	}
	var e ChangeGrants
	first := r.granting.of == nil
	if first {
		r.granting = grants{of: map[node.Name][]netip.Prefix{}, to: map[netip.Prefix][]node.Name{}}
	}
	for _, name := range names {
		set, gone := r.granting.change(name, r.member(name), r.state.Devices)
		for _, p := range set {
			e.Set = append(e.Set, Owned{Subnet: subnet.FromPrefix(p), Owner: name})
			wider = r.granting.appendWider(wider, p)
		}
		for _, p := range gone {
			e.Gone = append(e.Gone, Owned{Subnet: subnet.FromPrefix(p), Owner: name})
		}
	}
	if first || len(e.Set)+len(e.Gone) > 0 {
		r.emit(e)
	}
	slices.Sort(wider)
	return slices.Compact(wider)
}

// grants are which addresses were granted to whom.
type grants struct {
	of map[node.Name][]netip.Prefix
	to map[netip.Prefix][]node.Name
}

// doors are the members of a state that may announce the addresses of devices.
func doors(s *roster.State) (names []node.Name) {
	if s != nil {
		for _, m := range s.Members {
			if m.Capabilities&roster.CapDoor != 0 {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// change takes over what m, nil if it is no member, called name, has: its subnets, and if it is a door the addresses of devices. It
// returns what is new and what is gone.
func (g grants) change(name node.Name, m *roster.Membership, devices []*roster.SignedDevice) (set, gone []netip.Prefix) {
	var now []netip.Prefix
	has := map[netip.Prefix]bool{}
	add := func(list []subnet.Subnet) {
		for _, s := range list {
			if p := s.Prefix().Masked(); p.IsValid() && !has[p] {
				has[p] = true
				now = append(now, p)
			}
		}
	}
	if m != nil {
		add(m.Subnets)
		if m.Capabilities&roster.CapDoor != 0 {
			for _, d := range devices {
				add(d.Subnets)
			}
		}
	}
	before, had := g.of[name], map[netip.Prefix]bool{}
	for _, p := range before {
		had[p] = true
	}
	for _, p := range now {
		if !had[p] {
			set = append(set, p)
			g.to[p] = append(g.to[p], name)
		}
	}
	for _, p := range before {
		if !has[p] {
			gone = append(gone, p)
			if g.to[p] = slices.DeleteFunc(g.to[p], func(n node.Name) bool { return n == name }); len(g.to[p]) == 0 {
				delete(g.to, p)
			}
		}
	}
	if g.of[name] = now; now == nil {
		delete(g.of, name)
	}
	return set, gone
}

// appendWider appends to list who was granted subnets that p is a part of.
func (g grants) appendWider(list []node.Name, p netip.Prefix) []node.Name {
	for bits := p.Bits() - 1; bits >= 0; bits-- {
		wider, _ := p.Addr().Prefix(bits)
		list = append(list, g.to[wider]...)
	}
	return list
}

// narrowest tells whether the narrowest of the grants that p lies in is one of name's.
func (g grants) narrowest(p netip.Prefix, name node.Name) bool {
	for bits := p.Bits(); bits >= 0; bits-- {
		wider, _ := p.Addr().Prefix(bits)
		if names, ok := g.to[wider]; ok {
			return slices.Contains(names, name)
		}
	}
	return false
}

// refused counts what was not believed.
func (r *roll) refused(c *conn, format string, args ...any) { r.limitExceeded(c, format, args...) }

// hold keeps news for the case that its nodes are about to be admitted. A removed node never is, with that key.
func (r *roll) hold(news heldNews) {
	r.held = slices.DeleteFunc(r.held, func(h heldNews) bool { return r.now.After(h.until) })
	mine, oldest := 0, -1
	for i, h := range r.held {
		switch {
		case h.conn != news.conn:
		case h.text == news.text:
			return
		case !h.struck:
			if mine++; oldest < 0 {
				oldest = i
			}
		}
	}
	if mine >= maxHeld {
		r.held = slices.Delete(r.held, oldest, oldest+1)
	}
	news.until = r.now.Add(heldFor)
	r.held = append(r.held, news)
}

// withdrawn: somebody says that an edge or, with one name, a subnet is no more. What was held of it says nothing any more.
func (r *roll) withdrawn(s subnet.Subnet, names ...node.Name) {
	if len(r.held) > 0 {
		r.held = slices.DeleteFunc(r.held, func(h heldNews) bool { return h.subnet == s && slices.Equal(h.names, names) })
	}
}

// release takes in what was held about nodes that are members now.
func (r *roll) release() {
	held := r.held
	r.held = nil
	for _, h := range held {
		c := r.links.activeConn(h.conn)
		switch {
		case c == nil || r.now.After(h.until):
		case slices.ContainsFunc(h.names, func(n node.Name) bool { return !r.isMember(n) }),
			h.subnet != subnet.Subnet{} && !r.granted(h.names[0], h.subnet):
			r.held = append(r.held, h)
		default:
			r.topology.news(c, h.text)
		}
	}
}

// The exchange of rosters.

// exchanges tells whether the node at the other end of c takes messages about the roster.
func (r *roll) exchanges(c *conn) bool {
	return r.cfg.RosterExchange && c.exchangesRosters()
}

// linked: c has been activated.
func (r *roll) linked(c *conn) {
	r.changed = true
	if r.exchanges(c) {
		r.anew = append(r.anew, c.peer.name)
	}
}

// unlinked: a connection has ended.
func (r *roll) unlinked() { r.changed = true }

// publishNeighbours says with whom the roster is exchanged, if that has changed.
func (r *roll) publishNeighbours() {
	searches := r.reach.searchesSoFar()
	if !r.changed && r.islands == searches {
		return
	}
	r.changed, r.islands = false, searches
	var near []node.Name
	for _, c := range r.links.activeConns() {
		if r.exchanges(c) {
			near = append(near, c.peer.name)
		}
	}
	r.far = map[node.Name]bool{}
	for _, name := range r.farPartners() {
		if !slices.Contains(near, name) {
			r.far[name] = true
		}
	}
	near = slices.AppendSeq(near, maps.Keys(r.far))
	slices.Sort(near)
	if len(r.anew) > 0 || !slices.Equal(near, r.near) {
		r.emit(RosterNeighbours{Names: near, Anew: r.anew})
	}
	r.near, r.anew = near, nil
}

// send sends a message to a neighbour.
func (r *roll) send(e SendRoster) {
	p := r.nodes[e.To]
	if p == nil || len(e.Data) == 0 || len(e.Data) > wire.MaxRoster {
		return
	}
	if c := p.conn(); c != nil && r.exchanges(c) {
		send := r.links.send
		if e.Urgent {
			send = r.links.sendFirst
		}
		send(c, wire.Roster{Data: string(e.Data)}.Append(nil))
		return
	}
	switch {
	case !r.far[e.To] || !p.reachable() || p.session().hopByHop():
	case p.session().ready():
		r.emit(SendRecord{Node: p.name, Type: wire.TypeRoster, Data: e.Data})
	default: // the exchange begins again by itself
		p.session().begin()
	}
}

// received takes in a message of a neighbour.
func (r *roll) received(c *conn, text string) error {
	m, err := wire.ParseRoster(text)
	if err != nil {
		return err
	}
	if c.peer.roll.messages.Take(rosterLimit, r.now) {
		r.emit(RosterReceived{From: c.peer.name, Data: []byte(m.Data)})
	}
	return nil
}

// receivedFar takes in a message that came in a session. Only those to whom we would send one are listened to.
func (r *roll) receivedFar(e RosterIn) {
	if p := r.nodes[e.Node]; p != nil && r.far[e.Node] && len(e.Data) > 0 && len(e.Data) <= wire.MaxRoster && p.roll.messages.Take(rosterLimit, r.now) {
		r.emit(RosterReceived{From: e.Node, Data: e.Data})
	}
}

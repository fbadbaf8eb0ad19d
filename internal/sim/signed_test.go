package sim

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// TestRandomSignedNetworks makes signed networks by chance, in which for some minutes everything happens that their rosters are for:
// partitions with removals on both sides, nodes that return, disks that are set back or lost, an invitation used on both
// sides, an owner that signs contradictions, a member that forges and withholds. All that time nobody speaks with somebody of whom
// he has heard that he was removed. In the end all honest members have the same roster.
func TestRandomSignedNetworks(t *testing.T) {
	first, last := uint64(1), seeds(200)
	switch {
	case testing.Short():
		last = 10
	case *seedFlag != 0:
		first, last = *seedFlag, *seedFlag
	case *seedsFlag != 0:
		first, last = *fromFlag, *fromFlag+*seedsFlag-1
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("repeat with: go test ./internal/sim -run TestRandomSignedNetworks -seed %d -v", seed)
				}
			}()
			n := newRepublic(t, seed)
			n.trouble(40 * time.Second)
			n.heal()
			n.agree(5 * time.Minute)
			if n.chance(0.5) {
				n.expelTheThief()
				n.agree(5 * time.Minute)
			}
		})
	}
}

// republic is a signed network that was made by chance.
type republic struct {
	t       *testing.T
	w       *World
	network roster.ID
	ann     *keys.PrivateKey // the first owner, who is honest
	eve     *keys.PrivateKey // the second, who may be not
	thief   bool             // she is not

	hosts   []*Host // with a roster, honest
	strange []*Host // who are not members yet
	stock   []*Host
	mallory *liar          // nil: there is none
	bad     map[*Host]bool // removed, and does not accept it
	gone    map[*Host]bool // has stopped for good
	side    map[*Host]int  // of the partition
	old     map[*Host][]*roster.Roster
	again   map[[2]*Host]time.Time // when a host last knew a member with the name of another, whose key was removed
	urls    []*keys.PrivateKey
	seen    [][]byte // statements that mallory knows
}

func (n *republic) chance(p float64) bool { return n.w.Rand.Float64() < p }

func newRepublic(t *testing.T, seed uint64) *republic {
	w := New(seed)
	n := &republic{
		t: t, w: w, ann: keys.FromSeed([32]byte{1}), eve: keys.FromSeed([32]byte{2}), thief: seed%2 == 0,
		bad: map[*Host]bool{}, gone: map[*Host]bool{}, side: map[*Host]int{}, old: map[*Host][]*roster.Roster{}, again: map[[2]*Host]time.Time{},
	}
	if *seedFlag != 0 {
		w.Log = func(h *Host, l mesh.Log) { t.Logf("%s %s: %s", w.Now.Format("04:05.000"), h.Name, l.Text) }
	}
	w.Delay = func(_, _ *Host) time.Duration { return time.Duration(5+w.Rand.IntN(60)) * time.Millisecond }
	w.TCP = func(a, b *Host) bool { return n.side[a] == n.side[b] }
	w.UDP = w.TCP
	w.OnEffect = n.watch

	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{Threshold: 1, Owners: []roster.Owner{
		{Key: n.ann.Public(), Rights: roster.AllRights, Name: "ann"}, {Key: n.eve.Public(), Rights: roster.AllRights, Name: "eve"},
	}}}, n.ann)
	n.must(err)
	n.network = id
	file := roster.New(id)
	file.Merge([][]byte{raw})
	member := func(h *Host) *Host {
		raws, err := file.SignMember(n.member(h), 0, n.ann)
		n.must(err)
		file.Merge(raws)
		return h
	}
	for i := range 4 + w.Rand.IntN(4) {
		n.hosts = append(n.hosts, member(w.Add(node.Name(fmt.Sprintf("n%d", i)))))
	}
	for i := range w.Rand.IntN(3) {
		h := member(w.Add(node.Name(fmt.Sprintf("stock%d", i))))
		h.Plain = true
		n.stock = append(n.stock, h)
	}
	if n.chance(0.5) {
		h := member(w.Add("mallory"))
		n.mallory = newLiar(h, n.network)
		h.Exchange = n.mallory
	}
	for i := range 3 {
		n.strange = append(n.strange, w.Add(node.Name(fmt.Sprintf("new%d", i))))
	}
	all := n.everybody()
	for _, h := range all {
		h.Configure = auto
		for _, o := range all {
			if h != o {
				h.Knows(o, true)
			}
		}
	}
	for _, id := range file.IDs() {
		n.seen = append(n.seen, file.Get(id))
	}
	for _, h := range n.hosts {
		h.Keep(file.Clone())
	}
	for _, h := range all {
		if !slices.Contains(n.strange, h) {
			n.start(h)
		}
	}
	w.Run(5 * time.Second)
	return n
}

func (n *republic) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// everybody is all hosts in an order that does not change.
func (n *republic) everybody() (all []*Host) {
	for _, name := range slices.Sorted(maps.Keys(n.w.hosts)) {
		all = append(all, n.w.hosts[name])
	}
	return all
}

func (n *republic) member(h *Host) roster.Member {
	return roster.Member{Name: h.Name, Key: h.Key.Public(), Grant: roster.Grant{
		Subnets: []subnet.Subnet{subnet.FromPrefix(h.Subnet())}, Capabilities: roster.CapInvite,
	}}
}

// start starts a host, which dials two of the others.
func (n *republic) start(h *Host) {
	if h.Up || n.gone[h] {
		return
	}
	var dials []node.Name
	for range 2 {
		if o := n.hosts[n.w.Rand.IntN(len(n.hosts))]; o != h {
			dials = append(dials, o.Name)
		}
	}
	h.Expelled = nil
	h.Start(dials...)
}

// honest are the hosts that run, and keep to what the roster says.
func (n *republic) honest() (list []*Host) {
	for _, h := range n.hosts {
		if h.Up && !n.bad[h] && !n.gone[h] {
			list = append(list, h)
		}
	}
	return list
}

func (n *republic) any(list []*Host) *Host { return list[n.w.Rand.IntN(len(list))] }

// ---------------------------------------------------------------- what must not be

// removed tells whether h has heard that x was removed.
func (n *republic) removed(h, x *Host) bool {
	return h.Keeper != nil && !n.bad[h] && h.Heard != nil && x != nil && h.Heard.Removed(x.Key.Public()) != nil
}

// named tells whether h knows a member with the name of x, by another key, or did so a moment ago: a member who gets lost without
// having been removed is kept for ten seconds.
func (n *republic) named(h, x *Host) bool {
	const kept = 11 * time.Second
	if h.Heard.Member(x.Name) != nil {
		n.again[[2]*Host{h, x}] = n.w.Now
	}
	last, ok := n.again[[2]*Host{h, x}]
	return ok && n.w.Now.Sub(last) < kept
}

// watch looks at everything that a protocol core wants done.
func (n *republic) watch(h *Host, e mesh.Effect) {
	name, to := "", (*Host)(nil)
	switch e := e.(type) {
	case mesh.Send:
		if l := h.links[e.Conn]; l != nil && !l.closed {
			name, to = "a request: "+e.Text, l.other.host
		}
	case mesh.Secure:
		name, to = "a handshake", n.w.hosts[e.Node]
		if to != nil && e.PeerKey != to.Key.Public() {
			return
		}
	case mesh.SendProbe:
		name, to = "a probe", n.w.hosts[e.Node]
	case mesh.SendEcho:
		name, to = "an echo", n.w.hosts[e.Node]
	case mesh.SendRecord:
		name, to = "a record", n.w.hosts[e.Node]
	case mesh.Dial:
		if to = n.w.hosts[e.Node]; n.thief {
			return // who has given the name to another key
		}
		name = "a connection"
	default:
		return
	}
	if n.removed(h, to) {
		n.t.Errorf("%s: %s has heard of the removal of %s, and sends it %s", n.w.Now.Format("04:05.000"), h.Name, to.Name, name)
	}
}

// check looks at who has to do with whom.
func (n *republic) check() {
	for _, h := range n.honest() {
		for _, x := range n.everybody() {
			if h == x || !n.removed(h, x) || n.named(h, x) {
				continue
			}
			if p := h.peers[x.Name]; p.Reachable || p.Tunnel != nil || h.connected(x.Name) {
				n.t.Errorf("%s: %s has heard of the removal of %s, and still has to do with it: %+v", n.w.Now.Format("04:05.000"), h.Name, x.Name, p)
			}
		}
	}
}

// run lets time pass in steps.
func (n *republic) run(d time.Duration) {
	end := n.w.Now.Add(d)
	for n.w.Now.Before(end) && !n.t.Failed() {
		n.w.Run(min(100*time.Millisecond, end.Sub(n.w.Now)))
		n.expelled()
		n.check()
	}
}

// expelled: who is told of its removal stops, or begins again with an older roster.
func (n *republic) expelled() {
	for _, h := range n.hosts {
		if h.Expelled == nil || !h.Up {
			continue
		}
		h.Kill()
		h.Expelled = nil
		if old := n.old[h]; len(old) > 0 && (n.bad[h] || n.chance(0.5)) {
			n.bad[h] = true
			h.Keep(old[0].Clone())
			n.w.After(time.Duration(1+n.w.Rand.IntN(5000))*time.Millisecond, func() { n.start(h) })
		} else {
			n.gone[h] = true
		}
	}
}

// ---------------------------------------------------------------- what happens

// trouble lets things happen for a while.
func (n *republic) trouble(d time.Duration) {
	w := n.w
	acts := []func(){
		n.part, n.part, n.join, n.kill, n.kill, n.setBack, n.loseDisk, n.remember, n.remember,
		n.removal, n.removal, n.admission, n.invitation, n.invitation, n.redeem, n.redeem, n.redeem, n.policy, n.leave, n.packets, n.packets,
	}
	if n.thief {
		acts = append(acts, n.contradict, n.contradict, n.jump, n.flood, n.fork, n.purge, n.future)
	}
	if n.mallory != nil {
		acts = append(acts, n.forge, n.forge, n.forge, n.garbage, n.garbage, n.lies)
	}
	n.remember()
	for end := w.Now.Add(d); w.Now.Before(end) && !n.t.Failed(); {
		if len(n.honest()) > 1 {
			acts[w.Rand.IntN(len(acts))]()
		}
		n.run(time.Duration(w.Rand.IntN(5000)) * time.Millisecond)
	}
}

func (n *republic) part() {
	for _, h := range n.everybody() {
		n.side[h] = n.w.Rand.IntN(2)
	}
}

func (n *republic) join() { clear(n.side) }

// kill kills a node, which comes back after a while.
func (n *republic) kill() {
	if h := n.any(n.everybody()); h.Up {
		h.Kill()
		n.w.After(time.Duration(1+n.w.Rand.IntN(10000))*time.Millisecond, func() { n.start(h) })
	}
}

// remember copies the disks of all.
func (n *republic) remember() {
	for _, h := range n.honest() {
		n.old[h] = append(n.old[h], h.Keeper.Roster().Clone())
	}
}

// setBack has a node begin with its disk as it was earlier.
func (n *republic) setBack() {
	if h := n.any(n.honest()); len(n.old[h]) > 0 {
		h.Kill()
		file, bad, err := roster.Decode(n.old[h][n.w.Rand.IntN(len(n.old[h]))].Encode(nil))
		if err != nil || bad > 0 {
			n.t.Fatal(err, bad)
		}
		h.Keep(file)
		n.start(h)
	}
}

// loseDisk has a node begin with nothing but the id of the network.
func (n *republic) loseDisk() {
	h := n.any(n.honest())
	h.Kill()
	h.Keep(roster.New(n.network))
	n.start(h)
}

// sign has an owner sign something at a host.
func (n *republic) sign(h *Host, make func(r *roster.Roster) ([][]byte, error)) {
	if raws, err := make(h.Keeper.Roster()); err == nil {
		n.seen = append(n.seen, raws...)
		h.Submit(raws...)
	}
}

// removal removes somebody, on one side of a partition or the other. Some stay, so that there is somebody to agree.
func (n *republic) removal() {
	honest := n.honest()
	victim := n.any(n.everybody())
	if len(honest) > 3 || !slices.Contains(honest, victim) {
		n.sign(n.any(honest), func(r *roster.Roster) ([][]byte, error) { return r.SignRemoval(victim.Key.Public(), "", n.ann) })
	}
}

// admission admits somebody, or changes what it has.
func (n *republic) admission() {
	h := n.any(n.everybody())
	n.sign(n.any(n.honest()), func(r *roster.Roster) ([][]byte, error) { return r.SignMember(n.member(h), 0, n.ann) })
	n.welcome(h)
}

// welcome starts a newcomer, who knows the id of the network.
func (n *republic) welcome(h *Host) {
	if i := slices.Index(n.strange, h); i >= 0 {
		n.strange = slices.Delete(n.strange, i, i+1)
		n.hosts = append(n.hosts, h)
		h.Keep(roster.New(n.network))
		n.start(h)
	}
}

func (n *republic) invitation() {
	url := keys.FromSeed([32]byte{3, byte(len(n.urls))})
	n.urls = append(n.urls, url)
	h := n.any(n.honest())
	signer := n.ann
	if n.chance(0.3) {
		signer = h.Key
	}
	n.sign(h, func(r *roster.Roster) ([][]byte, error) {
		raw, err := r.SignInvitation(roster.Invitation{Uses: 1, Created: n.w.Now.Unix(), Approval: n.chance(0.2)}, 0, url, signer)
		return [][]byte{raw}, err
	})
}

// redeem lets a newcomer use an invitation at some member. Often it is one that another has used, elsewhere.
func (n *republic) redeem() {
	if len(n.urls) == 0 || len(n.strange) == 0 {
		return
	}
	url, h := n.urls[n.w.Rand.IntN(len(n.urls))], n.any(n.strange)
	at := n.any(n.honest())
	q := roster.Request{Name: h.Name, Key: h.Key.Public(), Invitation: url.Public()}
	raw, err := at.Keeper.Roster().Admit(q, q.Sign(n.network, url), nil, n.w.Now.Unix(), at.Key)
	if err != nil {
		return
	}
	n.seen = append(n.seen, raw)
	at.Submit(raw)
	n.welcome(h)
}

func (n *republic) policy() {
	n.sign(n.any(n.honest()), func(r *roster.Roster) ([][]byte, error) {
		raw, err := r.SignPolicy("", fmt.Sprintf("allow * -> * tcp:%d\n", n.w.Rand.IntN(1000)), n.ann)
		return [][]byte{raw}, err
	})
}

// leave lets a node leave the network.
func (n *republic) leave() {
	if honest := n.honest(); len(honest) > 3 {
		h := n.any(honest)
		raw, err := roster.Leave(n.network, h.Name, h.Key)
		n.must(err)
		h.Submit(raw)
	}
}

// packets lets everybody talk. Nobody may hear anything of somebody of whose removal he has heard.
func (n *republic) packets() {
	all := n.everybody()
	for _, a := range all {
		b := n.any(all)
		if a == b || !a.Up {
			continue
		}
		n.w.Send(a, b, 64, func(r Trace) {
			for _, name := range r.Hops[1:] {
				if h := n.w.hosts[name]; n.removed(h, a) && h.Up && !n.named(h, a) {
					n.t.Errorf("%s: a packet of %s to %s went through %s, which has heard of its removal: %v", n.w.Now.Format("04:05.000"), a.Name, b.Name, name, r.Hops)
				}
			}
		})
	}
}

// ---------------------------------------------------------------- an owner who is a thief

// put gives a statement of eve's to a host, as if it had come from somewhere.
func (n *republic) put(serial uint64, c roster.Content) {
	raw, err := roster.Sign(n.network, serial, 0, c, n.eve)
	n.must(err)
	n.seen = append(n.seen, raw)
	n.any(n.honest()).Submit(raw)
}

// contradict says two things with the same serial number, each to somebody else.
func (n *republic) contradict() {
	serial, victim := uint64(1+n.w.Rand.IntN(5)), n.any(n.everybody())
	for i := range 2 {
		m := n.member(victim)
		m.Groups = []string{fmt.Sprint("g", i)}
		n.put(serial, &m)
		n.put(serial, &roster.Policy{Text: fmt.Sprintf("allow * -> * tcp:%d\n", i)})
	}
}

// jump uses up the serial numbers.
func (n *republic) jump() {
	m := n.member(n.any(n.everybody()))
	if n.chance(0.3) {
		m.Key = keys.FromSeed([32]byte{4, byte(n.w.Rand.IntN(5))}).Public()
	}
	n.put(math.MaxUint64, &m)
}

// flood signs hundreds of statements.
func (n *republic) flood() {
	var raws [][]byte
	for i := range 40 {
		raw, err := roster.Sign(n.network, 1, 0, &roster.Unknown{Type: 77, Subject: fmt.Appendf(nil, "%d", n.w.Rand.IntN(1000)), Body: []byte("x")}, n.eve)
		n.must(err)
		raws = append(raws, raw)
		if i%4 == 0 {
			k := keys.FromSeed([32]byte{5, byte(i)}).Public()
			raw, err = roster.Sign(n.network, 1, 0, &roster.Member{Name: node.Name(fmt.Sprintf("ghost%d", i)), Key: k}, n.eve)
			n.must(err)
			raws = append(raws, raw)
		}
	}
	n.any(n.honest()).Submit(raws...)
}

// fork signs several lists of owners after the same one, and gives them to different hosts.
func (n *republic) fork() {
	parent := n.any(n.honest()).Keeper.State().List
	if parent.IsZero() {
		return
	}
	for i := range 2 + n.w.Rand.IntN(4) {
		l := roster.OwnerList{Threshold: 1, Owners: []roster.Owner{{Key: n.eve.Public(), Rights: roster.AllRights, Name: node.Name(fmt.Sprint("eve", i))}}}
		if n.chance(0.5) {
			l.Owners = append(l.Owners, roster.Owner{Key: n.ann.Public(), Rights: roster.AllRights, Name: "ann"})
		}
		n.put(uint64(1+n.w.Rand.IntN(3)), &roster.Owners{Parent: parent, OwnerList: l})
	}
}

// purge removes somebody.
func (n *republic) purge() {
	if len(n.honest()) > 3 {
		n.put(1, &roster.Removal{Key: n.any(n.everybody()).Key.Public()})
	}
}

// future signs what only a newer program understands.
func (n *republic) future() {
	s := roster.Unknown{Type: 78, Subject: []byte("future"), Body: []byte("x")}
	n.put(uint64(1+n.w.Rand.IntN(3)), &s)
}

// ---------------------------------------------------------------- a member who lies

// liar is an Exchange that takes everything for good, hides and withholds some of it, and gives something else instead.
type liar struct {
	*notes
	h    *Host
	last []reconcile.Out
}

func newLiar(h *Host, network roster.ID) *liar {
	l := &liar{notes: &notes{items: map[reconcile.ID][]byte{}}, h: h}
	l.rec = reconcile.New(h.Name, reconcile.Network(network[:8]), l)
	return l
}

func (l *liar) Get(id reconcile.ID) []byte {
	switch l.h.w.Rand.IntN(10) {
	case 0:
		return nil
	case 1:
		return []byte("something else")
	}
	return l.items[id]
}

func (l *liar) Offer(item []byte) (reconcile.Verdict, reconcile.Change) {
	it := reconcile.ItemOf(item, l.h.w.Rand.IntN(2) == 0)
	if l.h.w.Rand.IntN(3) == 0 {
		return reconcile.Accepted, reconcile.Change{} // nobody hears of it from here
	}
	l.items[it.ID] = item
	return reconcile.Accepted, reconcile.Change{Added: []reconcile.Item{it}}
}

func (l *liar) Flush(now time.Time) (out []reconcile.Out) {
	for _, o := range l.rec.Flush() {
		if l.h.w.Rand.IntN(10) > 0 {
			out = append(out, o)
		}
		l.last = append(l.last[max(0, len(l.last)-20):], o)
	}
	return out
}

// plant has the liar offer an item to all its neighbours.
func (l *liar) plant(raw []byte) {
	it := reconcile.ItemOf(raw, l.h.w.Rand.IntN(2) == 0)
	l.items[it.ID] = raw
	l.rec.Changed(l.h.now(), reconcile.Change{Added: []reconcile.Item{it}})
	if l.h.Up {
		l.h.Exchanged()
	}
}

// forge offers what looks like statements: damaged, of another network, by somebody who may not, and old ones.
func (n *republic) forge() {
	w, key := n.w, n.mallory.h.Key
	for range 10 {
		raw := slices.Clone(n.seen[w.Rand.IntN(len(n.seen))])
		victim := n.any(n.everybody()).Key.Public()
		var c roster.Content
		switch w.Rand.IntN(9) {
		case 0:
			raw = raw[:w.Rand.IntN(len(raw))]
		case 1:
			raw[w.Rand.IntN(len(raw))] ^= 1 << w.Rand.IntN(8)
		case 2: // as it was
		case 3:
			c = &roster.Removal{Key: victim}
		case 4:
			c = &roster.Member{Name: "friend", Key: keys.FromSeed([32]byte{6}).Public()}
		case 5:
			c = &roster.Owners{Parent: n.any(n.honest()).Keeper.State().List, OwnerList: roster.OwnerList{
				Threshold: 1, Owners: []roster.Owner{{Key: key.Public(), Rights: roster.AllRights, Name: "mallory"}},
			}}
		case 6:
			c = &roster.Policy{Text: "allow * -> *\n"}
		case 7: // a real invitation, with a time of her choice
			if len(n.urls) == 0 {
				continue
			}
			url := n.urls[w.Rand.IntN(len(n.urls))]
			q := roster.Request{Name: "friend", Key: keys.FromSeed([32]byte{7, byte(w.Rand.IntN(3))}).Public(), Invitation: url.Public()}
			c = &roster.Admission{Name: q.Name, Key: q.Key, Invitation: q.Invitation, Time: w.Now.Unix() - int64(w.Rand.IntN(300)), Proof: q.Sign(n.network, url)}
		case 8:
			c = &roster.Unknown{Type: 99, Subject: []byte{byte(w.Rand.IntN(256))}, Body: []byte("x")}
		}
		if c != nil {
			serial := uint64(w.Rand.IntN(4))
			if _, ok := c.(*roster.Admission); ok {
				serial = 0
			}
			forged, err := roster.Sign(n.network, serial, 0, c, key)
			if err != nil {
				continue
			}
			raw = forged
		}
		if len(raw) > 0 {
			n.mallory.plant(raw)
		}
	}
}

// garbage sends messages that are none, and old ones that were damaged.
func (n *republic) garbage() {
	w, h := n.w, n.mallory.h
	for range 20 {
		data := make([]byte, 1+w.Rand.IntN(200))
		for i := range data {
			data[i] = byte(w.Rand.Uint32())
		}
		if k := len(n.mallory.last); k > 0 && n.chance(0.8) {
			data = slices.Clone(n.mallory.last[w.Rand.IntN(k)].Data)
			for range w.Rand.IntN(3) {
				data[w.Rand.IntN(len(data))] ^= byte(w.Rand.Uint32())
			}
		}
		if near := n.mallory.near; len(near) > 0 && h.Up {
			h.event(mesh.SendRoster{To: near[w.Rand.IntN(len(near))], Data: data})
		}
	}
}

// lies are those of open networks.
func (n *republic) lies() {
	for range 5 {
		for _, text := range lie(n.w.Rand, n.hosts) {
			n.mallory.h.says(text)
		}
	}
}

// ---------------------------------------------------------------- the end

// heal ends the trouble.
func (n *republic) heal() {
	clear(n.side)
	n.run(11 * time.Second)
	for _, h := range n.everybody() {
		if !slices.Contains(n.strange, h) {
			n.start(h)
		}
		if h.Up {
			h.event(mesh.Retry{})
		}
	}
}

// expelTheThief lets ann replace eve, and keep nothing of what she has signed.
func (n *republic) expelTheThief() {
	n.sign(n.any(n.honest()), func(r *roster.Roster) ([][]byte, error) {
		c := roster.Change{
			Owners: roster.OwnerList{Threshold: 1, Owners: []roster.Owner{{Key: n.ann.Public(), Rights: roster.AllRights, Name: "ann"}}},
			Drop:   map[roster.ID]bool{},
		}
		for _, id := range r.IDs() {
			if r.Statement(id).Signer == n.eve.Public() {
				c.Drop[id] = true
			}
		}
		return r.SignOwners(c, n.ann)
	})
}

// agree waits until all honest nodes that hear each other have the same roster.
func (n *republic) agree(limit time.Duration) {
	n.t.Helper()
	end := n.w.Now.Add(limit)
	why := ""
	for n.w.Now.Before(end) && !n.t.Failed() {
		n.run(2 * time.Second)
		if why = n.disagreement(); why == "" {
			return
		}
	}
	if !n.t.Failed() {
		n.t.Errorf("after %v: %s", limit, why)
		for _, h := range n.honest() {
			n.t.Logf("%s: %v, connections %+v", h.Name, h.Keeper.Neighbours(n.w.Now), h.Core.Conns())
		}
	}
}

// disagreement says who differs, "" if nobody does.
func (n *republic) disagreement() string {
	rest := n.honest()
	for len(rest) > 0 {
		group := []*Host{rest[0]}
		rest = rest[1:]
		for i := 0; i < len(group); i++ {
			for j := len(rest) - 1; j >= 0; j-- {
				if accepts(group[i], rest[j]) && accepts(rest[j], group[i]) {
					group = append(group, rest[j])
					rest = slices.Delete(rest, j, j+1)
				}
			}
		}
		if why := n.differ(group); why != "" {
			return why
		}
	}
	return ""
}

// accepts tells whether a listens to b.
func accepts(a, b *Host) bool { return a.Heard == nil || a.Heard.MemberByKey(b.Key.Public()) != nil }

// differ says who of a group does not have, or does not use, all that anybody in the group has.
func (n *republic) differ(group []*Host) string {
	all := roster.New(n.network)
	for _, h := range group {
		var raws [][]byte
		for _, id := range h.Keeper.Roster().IDs() {
			if all.Get(id) == nil {
				raws = append(raws, h.Keeper.Roster().Get(id))
			}
		}
		all.Merge(raws)
	}
	for _, h := range group {
		if !slices.Equal(h.Keeper.Roster().IDs(), all.IDs()) {
			return fmt.Sprintf("%s lacks %s, and has beyond that %s", h.Name, minusRoster(all, h.Keeper.Roster()), minusRoster(h.Keeper.Roster(), all))
		}
		if h.Heard == nil && len(group) > 1 && !all.State().Root.IsZero() {
			return fmt.Sprintf("%s has the whole roster and does not use it", h.Name)
		}
	}
	return ""
}

// minusRoster describes what a has and b has not.
func minusRoster(a, b *roster.Roster) (out []string) {
	for _, id := range a.IDs() {
		if s := a.Statement(id); b.Get(id) == nil {
			out = append(out, fmt.Sprintf("%v serial %d %+v", s.Content.Kind(), s.Serial, s.Content))
		}
	}
	return out
}

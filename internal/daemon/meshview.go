package daemon

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// A view of the whole mesh: who reaches whom and how. Each node knows its own paths; while somebody looks, it asks the others for theirs,
// a few at a time, by echoes, which go end to end. Of nodes of tinc there are the edges that they announce.

const (
	maxMeshNodes = 500              // in a view; those that are reachable first
	viewTime     = 30 * time.Second // nobody has looked for so long: the others are not asked any more, and forgotten
	askTurn      = time.Second      // those whose time has come are asked together: to wake costs more than to ask
	askHurry     = 250 * time.Millisecond
	maxTurn      = 16 // nodes in a turn; if more wait, the next one comes soon
	askWithin    = 3 * time.Second
	askEach      = 150 * time.Millisecond // for each node in the mesh: one is asked again after that times their number
	askSoonest   = 5 * time.Second
	askLatest    = time.Minute
	maxAsking    = 64 // nodes at a time
	maxParts     = 32 // of an answer
	maxLost      = 3  // parts of it that are asked for again, because no answer came
	ownFor       = time.Second
	edgesFor     = 5 * time.Second
	whoFor       = 5 * time.Second // who tells its paths is looked up again after that
	toldFor      = 2 * time.Second // others are told the same for so long
	maxQuestions = 64              // of others that wait
)

// meshView is both sides: it asks others, and answers them.
type meshView struct {
	d         *Daemon
	past      meshPast
	questions chan mesh.PathsAsked
	wake      chan struct{} // somebody looks; room for one

	mu      sync.Mutex
	looked  time.Time
	serial  uint64
	rows    map[node.Name]*viewRow
	ownAt   time.Time
	edgesAt time.Time
	tell    []node.Name // who tells its paths
	tellAt  time.Time

	// asking is for a moment only: the protocol core takes it.
	asking  sync.Mutex
	last    uint64
	waiting map[uint64]waitingPart
	open    int         // questions without an answer
	answers []*question // that have one
}

// viewRow is the paths of one node.
type viewRow struct {
	list   []wire.PathEntry
	edges  bool // they are edges that were announced
	at     time.Time
	serial uint64    // that it is new since
	parts  []node.ID // the ids after which its parts began last time
	next   time.Time // when the node may be asked again
	fails  int       // in a row
}

// question is what one node is asked, in parts. Where they begin is known from the last time, so that all are asked at once.
type question struct {
	node  node.Name
	parts []pathsPart
	open  int // parts without an answer
	lost  int // answers that did not come in time
	err   error
	at    time.Time // when the last answer came
}

// pathsPart is a part of the paths of a node: those to the nodes after an id.
type pathsPart struct {
	after node.ID
	told  bool // list and more are known
	list  []wire.PathEntry
	more  bool // there are others after these
}

type waitingPart struct {
	of   *question
	part int
}

func newMeshView(d *Daemon) *meshView {
	return &meshView{
		d: d, questions: make(chan mesh.PathsAsked, maxQuestions), wake: make(chan struct{}, 1),
		rows: map[node.Name]*viewRow{}, waiting: map[uint64]waitingPart{},
	}
}

// asked: another node wants to know our paths. It does not wait.
func (v *meshView) asked(q mesh.PathsAsked) {
	select {
	case v.questions <- q:
	default: // it asks again
	}
}

// told: another node has said its paths, or has not. It does not wait, and asks for what is missing at once.
func (v *meshView) told(t mesh.PathsTold) {
	v.asking.Lock()
	defer v.asking.Unlock()
	w, ok := v.waiting[t.ID]
	if !ok {
		return
	}
	delete(v.waiting, t.ID)
	q, part := w.of, &w.of.parts[w.part]
	q.open--
	q.at = time.Now()
	err := t.Err
	switch {
	case err == nil:
		part.list, err = wire.ParsePaths(t.Data)
		part.more, part.told = t.More, true
	case errors.Is(err, mesh.ErrNoAnswer) && q.lost < maxLost:
		q.lost++ // it is asked for again with what else is missing
		err = nil
	}
	if q.err == nil {
		q.err = err
	}
	if q.open > 0 {
		return
	}
	if after, missing := q.missing(); missing && q.err == nil {
		e := v.part(q, after)
		if v.d.core.report(e) {
			return
		}
		delete(v.waiting, e.ID)
		q.err = errStopping // or too busy, which is no better
	}
	v.open--
	v.answers = append(v.answers, q)
}

// part has a node asked for its paths after an id. v.asking is held.
func (v *meshView) part(q *question, after node.ID) mesh.AskPaths {
	v.last++
	v.waiting[v.last] = waitingPart{q, len(q.parts)}
	q.parts = append(q.parts, pathsPart{after: after})
	q.open++
	return mesh.AskPaths{ID: v.last, Node: q.node, After: after, Timeout: askWithin}
}

// follow calls f with the ids after which parts begin, one after the other, as far as they go on where another one ends. It returns
// whether they go on to the end, and if not, the id after which something is missing.
func (q *question) follow(f func(after node.ID)) (after node.ID, whole bool) {
	for {
		end, known := after, false
		for i := range q.parts {
			p := &q.parts[i]
			if !p.told || bytes.Compare(p.after[:], after[:]) > 0 {
				continue
			}
			known = known || p.after == after
			if !p.more || len(p.list) == 0 {
				if f != nil {
					f(after)
				}
				return after, true
			}
			if last := p.list[len(p.list)-1].To; bytes.Compare(last[:], end[:]) > 0 {
				end = last
			}
		}
		if end == after {
			return after, known // it does not go on where it was: that is all
		}
		if f != nil {
			f(after)
		}
		after = end
	}
}

// missing is the id after which something is missing; false if nothing is, or if it would be too much.
func (q *question) missing() (after node.ID, missing bool) {
	after, whole := q.follow(nil)
	return after, !whole && len(q.parts) < maxParts
}

// list is all paths that were told, and where its parts begin.
func (q *question) list() (list []wire.PathEntry, parts []node.ID) {
	for i := range q.parts {
		list = append(list, q.parts[i].list...)
	}
	byID := func(a, b wire.PathEntry) int { return bytes.Compare(a.To[:], b.To[:]) }
	slices.SortStableFunc(list, byID)
	list = slices.CompactFunc(list, func(a, b wire.PathEntry) bool { return a.To == b.To })
	q.follow(func(after node.ID) { parts = append(parts, after) })
	return list[:min(len(list), maxMeshNodes)], parts
}

// answer answers other nodes until ctx ends.
func (v *meshView) answer(ctx context.Context) {
	var own []wire.PathEntry
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-v.questions:
			if now := time.Now(); now.Sub(at) > toldFor {
				own, at = v.own((&backend{v.d}).nodes()), now
			}
			i, found := slices.BinarySearchFunc(own, q.After, func(e wire.PathEntry, id node.ID) int { return bytes.Compare(e.To[:], id[:]) })
			if found {
				i++
			}
			data, n := wire.AppendPaths(nil, own[i:], q.Room)
			v.d.core.call(func(m *mesh.Mesh) {
				m.Handle(now(), mesh.TellPaths{Node: q.Node, Number: q.Number, Size: q.Size, More: i+n < len(own), Data: data})
			})
		}
	}
}

// own is how this node reaches others, in the order of their ids.
func (v *meshView) own(nodes iter.Seq[mesh.NodeInfo]) (list []wire.PathEntry) {
	now := time.Now()
	for n := range nodes {
		if n.Self || !n.Reachable {
			continue
		}
		e := wire.PathEntry{To: n.ID, Age: wire.UnknownSince}
		path, via, by := control.PathOf(n.Name, control.FirstHop(n.FirstHop))
		switch path {
		case control.PathUDP:
			e.Path, e.MTU = wire.PathUDP, max(n.MTU-control.FrameHeader, 0)
		case control.PathTCP:
			e.Path = wire.PathTCP
		case control.PathRelayed:
			e.Path, e.Via = wire.PathRelayed, via.ID()
			if by == control.TransportTCP {
				e.Path = wire.PathRelayedTCP
			}
		case control.PathNoKey:
			e.Path = wire.PathNoKey
		default:
			continue
		}
		if e.Path == wire.PathUDP || e.Path == wire.PathRelayed {
			e.RTT, e.Loss = n.RTT, int(math.Round(n.Loss*1000))
		}
		if since := v.d.pathWatch.since(n.Name); !since.IsZero() && e.Path != wire.PathNoKey {
			e.Age = uint32(max(now.Sub(since), 0) / time.Second)
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b wire.PathEntry) int { return bytes.Compare(a.To[:], b.To[:]) })
	return list
}

// look asks other nodes while somebody looks, until ctx ends.
func (v *meshView) look(ctx context.Context) {
	for ctx.Err() == nil {
		list, wait := v.due(time.Now())
		if wait < 0 { // nobody looks
			select {
			case <-v.wake:
			case <-ctx.Done():
			}
			continue
		}
		v.ask(list)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// toAsk is a node, and the ids after which parts of its answer are expected to begin.
type toAsk struct {
	node  node.Name
	parts []node.ID
}

// due are the nodes to ask now, which count as asked, and how long to wait after that; a negative time if nobody looks.
func (v *meshView) due(now time.Time) (list []toAsk, wait time.Duration) {
	v.mu.Lock()
	v.collect()
	idle := now.Sub(v.looked) > viewTime
	if idle {
		clear(v.rows)
		v.ownAt, v.edgesAt, v.tellAt = time.Time{}, time.Time{}, time.Time{}
	}
	old := now.Sub(v.tellAt) > whoFor
	v.mu.Unlock()
	if idle {
		return nil, -1
	}
	var tell []node.Name
	if old {
		b := &backend{v.d}
		for n := range b.nodes() {
			if !n.Self && (n.Reachable || n.Claimed) && n.Options.Has(wire.Echoes) && len(tell) < maxMeshNodes {
				tell = append(tell, n.Name)
			}
		}
	}
	v.asking.Lock()
	room := maxAsking - v.open
	v.asking.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	if old {
		v.tell, v.tellAt = tell, now
	}
	var names []node.Name
	for _, n := range v.tell {
		r := v.rows[n]
		if r == nil {
			r = &viewRow{}
			v.rows[n] = r
		}
		if !r.next.After(now) {
			names = append(names, n)
		}
	}
	wait = askTurn
	if len(names) > maxTurn {
		slices.SortStableFunc(names, func(a, b node.Name) int { return v.rows[a].next.Compare(v.rows[b].next) })
		names, wait = names[:maxTurn], askHurry
	}
	for _, n := range names[:max(min(len(names), room), 0)] {
		r := v.rows[n]
		r.next = now.Add(min(max(time.Duration(len(v.tell))*askEach, askSoonest), askLatest))
		list = append(list, toAsk{n, r.parts})
	}
	return list, wait
}

// ask asks nodes for all of their paths.
func (v *meshView) ask(list []toAsk) {
	var events []mesh.AskPaths
	v.asking.Lock()
	for _, a := range list {
		q := &question{node: a.node}
		events = append(events, v.part(q, node.ID{}))
		for _, after := range a.parts {
			if !after.IsZero() {
				events = append(events, v.part(q, after))
			}
		}
		v.open++
	}
	v.asking.Unlock()
	if len(events) > 0 {
		v.d.core.call(func(m *mesh.Mesh) {
			for _, e := range events {
				m.Handle(now(), e)
			}
		})
	}
}

// collect takes in what nodes have told. v.mu is held.
func (v *meshView) collect() {
	v.asking.Lock()
	answers := v.answers
	v.answers = nil
	v.asking.Unlock()
	for _, q := range answers {
		r := v.rows[q.node]
		switch {
		case r == nil: // nobody looks any more
		case q.err != nil:
			r.fails++
			r.parts = nil
			r.next = q.at.Add(min(askSoonest<<min(r.fails, 5), askLatest))
		default:
			v.serial++
			list, parts := q.list()
			*r = viewRow{list: list, parts: parts, at: q.at, serial: v.serial, next: r.next}
		}
	}
}

// report is the view as it is, with the rows that are new after a serial.
func (v *meshView) report(after uint64) control.MeshReport {
	now := time.Now()
	nodes := v.nodes()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looked = now
	poke(v.wake)
	return v.reportOf(now, after, nodes)
}

// reportOf is the view of nodes. v.mu is held.
func (v *meshView) reportOf(now time.Time, after uint64, nodes []mesh.NodeInfo) control.MeshReport {
	index := indexOf(nodes)
	self := v.d.network().Name
	v.collect()
	v.refresh(now, self, nodes)
	if after > v.serial { // of another run
		after = 0
	}
	r := control.MeshReport{Time: now.UTC().Truncate(time.Millisecond), Serial: v.serial, Nodes: make([]control.MeshNode, len(nodes)), Rows: []control.MeshRow{}}
	for i, n := range nodes {
		row := v.rows[n.Name]
		source := control.MeshNone
		switch {
		case n.Self:
			source = control.MeshSelf
		case row == nil || row.at.IsZero() || !n.Reachable:
		case row.edges:
			source = control.MeshEdges
		default:
			source = control.MeshTold
		}
		r.Nodes[i] = control.MeshNode{Name: n.Name, Reachable: n.Reachable, Source: source}
		if source != control.MeshNone && row != nil && row.serial > after {
			r.Rows = append(r.Rows, row.form(i, index))
		}
	}
	return r
}

// nodes are those of the view, by name.
func (v *meshView) nodes() (list []mesh.NodeInfo) {
	b := &backend{v.d}
	for n := range b.nodes() {
		list = append(list, n)
	}
	if len(list) > maxMeshNodes {
		rank := func(n mesh.NodeInfo) int {
			switch {
			case n.Self:
				return 0
			case n.Reachable:
				return 1
			}
			return 2
		}
		slices.SortStableFunc(list, func(a, b mesh.NodeInfo) int { return cmp.Compare(rank(a), rank(b)) })
		list = list[:maxMeshNodes]
		slices.SortFunc(list, func(a, b mesh.NodeInfo) int { return cmp.Compare(a.Name, b.Name) })
	}
	return list
}

// refresh takes in our own paths, and the edges of nodes that do not tell theirs. v.mu is held.
func (v *meshView) refresh(now time.Time, self node.Name, nodes []mesh.NodeInfo) {
	if now.Sub(v.ownAt) > ownFor {
		v.ownAt = now
		v.serial++
		v.rows[self] = &viewRow{list: v.own(slices.Values(nodes)), at: now, serial: v.serial}
	}
	if now.Sub(v.edgesAt) <= edgesFor {
		return
	}
	v.edgesAt = now
	silent := map[node.Name]bool{}
	for _, n := range nodes {
		row := v.rows[n.Name]
		if !n.Self && n.Reachable && (!n.Options.Has(wire.Echoes) || row != nil && (row.edges || row.fails > 1 && row.at.IsZero())) {
			silent[n.Name] = true
		}
	}
	lists := map[node.Name][]wire.PathEntry{}
	v.d.core.call(func(m *mesh.Mesh) {
		for _, e := range m.Edges() {
			if silent[e.From] && len(lists[e.From]) < maxMeshNodes {
				lists[e.From] = append(lists[e.From], wire.PathEntry{To: e.To.ID(), RTT: time.Duration(e.Weight) * time.Millisecond, Age: wire.UnknownSince})
			}
		}
	})
	for name := range silent {
		row := v.rows[name]
		if row == nil {
			row = &viewRow{}
			v.rows[name] = row
		}
		if row.at.IsZero() || !slices.Equal(row.list, lists[name]) {
			v.serial++
			row.list, row.edges, row.at, row.serial = lists[name], true, now, v.serial
		}
	}
}

// pathLetters are the letters of paths in a row, by their number on the wire; 0 is an edge.
const pathLetters = "eutrRk"

// form is the row of node number i. index is the numbers of nodes by their ids.
func (r *viewRow) form(i int, index map[node.ID]int) control.MeshRow {
	n := len(r.list)
	row := control.MeshRow{Node: i, Time: r.at.UTC().Truncate(time.Millisecond), To: make([]int, 0, n), RTT: make([]int, 0, n)}
	path := make([]byte, 0, n)
	via, loss, mtu, since := make([]int, 0, n), make([]int, 0, n), make([]int, 0, n), make([]int64, 0, n)
	relays, lost, sizes, ages := false, false, false, false
	for _, e := range r.list {
		to, known := index[e.To]
		if !known || to == i {
			continue
		}
		relay, age := -1, int64(-1)
		if e.Path == wire.PathRelayed || e.Path == wire.PathRelayedTCP {
			if number, known := index[e.Via]; known {
				relay, relays = number, true
			}
		}
		if e.Age != wire.UnknownSince {
			age, ages = int64(e.Age), true
		}
		lost, sizes = lost || e.Loss > 0, sizes || e.MTU > 0
		row.To, row.RTT = append(row.To, to), append(row.RTT, int(e.RTT.Microseconds()))
		path = append(path, pathLetters[e.Path])
		via, loss, mtu, since = append(via, relay), append(loss, e.Loss), append(mtu, e.MTU), append(since, age)
	}
	row.Path = string(path)
	if relays {
		row.Via = via
	}
	if lost {
		row.Loss = loss
	}
	if sizes {
		row.MTU = mtu
	}
	if ages {
		row.Since = since
	}
	return row
}

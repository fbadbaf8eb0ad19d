package daemon

import (
	"bytes"
	"cmp"
	"context"
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
	askPause     = 50 * time.Millisecond
	askWithin    = 3 * time.Second
	askEach      = 100 * time.Millisecond // for each node in the mesh: one is asked again after that times their number
	askSoonest   = 5 * time.Second
	askLatest    = time.Minute
	maxAsking    = 4 // nodes at a time
	ownFor       = time.Second
	edgesFor     = 5 * time.Second
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

	asking  sync.Mutex
	last    uint64
	waiting map[uint64]chan mesh.PathsTold
}

// viewRow is the paths of one node.
type viewRow struct {
	list   []wire.PathEntry
	edges  bool // they are edges that were announced
	at     time.Time
	serial uint64    // that it is new since
	next   time.Time // when the node may be asked again
	fails  int       // in a row
}

func newMeshView(d *Daemon) *meshView {
	return &meshView{
		d: d, questions: make(chan mesh.PathsAsked, maxQuestions), wake: make(chan struct{}, 1),
		rows: map[node.Name]*viewRow{}, waiting: map[uint64]chan mesh.PathsTold{},
	}
}

// asked: another node wants to know our paths. It does not wait.
func (v *meshView) asked(q mesh.PathsAsked) {
	select {
	case v.questions <- q:
	default: // it asks again
	}
}

// told: another node has said its paths, or has not. It does not wait.
func (v *meshView) told(t mesh.PathsTold) {
	v.asking.Lock()
	defer v.asking.Unlock()
	if c := v.waiting[t.ID]; c != nil {
		delete(v.waiting, t.ID)
		c <- t // it has room for one
	}
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
	var all sync.WaitGroup
	defer all.Wait()
	free := make(chan struct{}, maxAsking)
	for ctx.Err() == nil {
		pause := askSoonest
		switch name, wait := v.next(time.Now()); {
		case wait < 0: // nobody looks
			select {
			case <-v.wake:
			case <-ctx.Done():
			}
			continue
		case name == "":
			pause = wait
		default:
			pause = askPause
			select {
			case free <- struct{}{}:
				all.Go(func() {
					defer func() { <-free }()
					v.ask(ctx, name)
				})
			case <-ctx.Done():
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// next is the node to ask now, which counts as asked; "" and how long to wait if there is none; a negative time if nobody looks.
func (v *meshView) next(now time.Time) (name node.Name, wait time.Duration) {
	v.mu.Lock()
	idle := now.Sub(v.looked) > viewTime
	if idle {
		clear(v.rows)
		v.ownAt, v.edgesAt, v.tellAt = time.Time{}, time.Time{}, time.Time{}
	}
	old := now.Sub(v.tellAt) > toldFor
	v.mu.Unlock()
	if idle {
		return "", -1
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
	v.mu.Lock()
	defer v.mu.Unlock()
	if old {
		v.tell, v.tellAt = tell, now
	}
	var best *viewRow
	for _, n := range v.tell {
		r := v.rows[n]
		if r == nil {
			r = &viewRow{}
			v.rows[n] = r
		}
		if best == nil || r.next.Before(best.next) {
			best, name = r, n
		}
	}
	if best == nil {
		return "", askSoonest
	}
	if left := best.next.Sub(now); left > 0 {
		return "", min(max(left, askPause), askSoonest)
	}
	best.next = now.Add(min(max(time.Duration(len(v.tell))*askEach, askSoonest), askLatest))
	return name, 0
}

// ask asks a node for all of its paths.
func (v *meshView) ask(ctx context.Context, name node.Name) {
	var list []wire.PathEntry
	var err error
	for after, more := (node.ID{}), true; more && len(list) < maxMeshNodes; after = list[len(list)-1].To {
		var part []wire.PathEntry
		part, more, err = v.askPart(ctx, name, after)
		if err != nil || len(part) == 0 || len(list) > 0 && bytes.Compare(part[0].To[:], after[:]) <= 0 {
			break // the last: it does not go on where it was
		}
		list = append(list, part...)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.rows[name]
	if r == nil {
		return // nobody looks any more
	}
	if err != nil {
		r.fails++
		r.next = time.Now().Add(min(askSoonest<<min(r.fails, 5), askLatest))
		return
	}
	v.serial++
	*r = viewRow{list: list, at: time.Now(), serial: v.serial, next: r.next}
}

// askPart asks a node for its paths to the nodes after one.
func (v *meshView) askPart(ctx context.Context, name node.Name, after node.ID) (list []wire.PathEntry, more bool, err error) {
	answer := make(chan mesh.PathsTold, 1)
	v.asking.Lock()
	v.last++
	id := v.last
	v.waiting[id] = answer
	v.asking.Unlock()
	defer func() {
		v.asking.Lock()
		defer v.asking.Unlock()
		delete(v.waiting, id)
	}()
	q := mesh.AskPaths{ID: id, Node: name, After: after, Timeout: askWithin}
	if !v.d.core.call(func(m *mesh.Mesh) { m.Handle(now(), q) }) {
		return nil, false, errStopping
	}
	select {
	case t := <-answer:
		if t.Err != nil {
			return nil, false, t.Err
		}
		list, err = wire.ParsePaths(t.Data)
		return list, t.More, err
	case <-ctx.Done():
		return nil, false, ctx.Err()
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

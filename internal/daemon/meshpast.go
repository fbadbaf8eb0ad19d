package daemon

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

// The view of the mesh as it was in the last hour: the paths of this node each minute, and those of others as far as somebody has
// looked. It costs what a look at the own paths costs, once a minute, and a bounded amount of memory.

const (
	pastEvery = time.Minute
	pastRare  = 5 * time.Minute // between large ones
	pastLarge = 128 << 10       // bytes of one that is large
	pastFor   = time.Hour
	maxPast   = 8 << 20 // bytes of all
)

// meshPast remembers views.
type meshPast struct {
	mu    sync.Mutex
	views []pastView // the oldest first
	bytes int
}

// pastView is a view as it was.
type pastView struct {
	at    time.Time
	nodes []control.MeshNode
	rows  []pastRow
}

type pastRow struct {
	node  uint16
	at    time.Time
	paths []pastPath
}

// pastPath is one path in 12 bytes. Loss is in half percents; the MTU is not kept.
type pastPath struct {
	to, via    uint16 // noRelay: none
	rtt        uint32 // microseconds
	path, loss uint8
}

const noRelay = math.MaxUint16

// size is roughly how many bytes it takes.
func (p *pastView) size() int {
	n := 64 + 48*len(p.nodes)
	for _, r := range p.rows {
		n += 64 + 12*len(r.paths)
	}
	return n
}

// remember keeps the view from time to time until ctx ends.
func (v *meshView) remember(ctx context.Context) {
	t := time.NewTicker(pastEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			v.past.add(now, func() control.MeshReport { return v.now(now) })
		}
	}
}

// now is the view without asking for more: that of those who look, or else only the paths of this node.
func (v *meshView) now(now time.Time) control.MeshReport {
	nodes := v.nodes()
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.looked) <= viewTime {
		return v.reportOf(now, 0, nodes)
	}
	index := indexOf(nodes)
	r := control.MeshReport{Nodes: make([]control.MeshNode, len(nodes))}
	for i, n := range nodes {
		r.Nodes[i] = control.MeshNode{Name: n.Name, Reachable: n.Reachable, Source: control.MeshNone}
		if n.Self {
			r.Nodes[i].Source = control.MeshSelf
			r.Rows = append(r.Rows, (&viewRow{list: v.own(slices.Values(nodes)), at: now}).form(i, index))
		}
	}
	return r
}

func indexOf(nodes []mesh.NodeInfo) map[node.ID]int {
	index := make(map[node.ID]int, len(nodes))
	for i, n := range nodes {
		index[n.ID] = i
	}
	return index
}

// add keeps a view that look makes, if it is time for another one.
func (p *meshPast) add(now time.Time, look func() control.MeshReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.views); n > 0 && p.views[n-1].size() > pastLarge && now.Sub(p.views[n-1].at) < pastRare-pastEvery/2 {
		return
	}
	r := look()
	view := pastView{at: now, nodes: r.Nodes}
	if n := len(p.views); n > 0 && slices.Equal(p.views[n-1].nodes, r.Nodes) {
		view.nodes = p.views[n-1].nodes
	}
	for _, row := range r.Rows {
		view.rows = append(view.rows, keepRow(row))
	}
	p.views = append(p.views, view)
	p.bytes += view.size()
	for len(p.views) > 1 && (p.bytes > maxPast || now.Sub(p.views[0].at) > pastFor) {
		p.bytes -= p.views[0].size()
		p.views = slices.Delete(p.views, 0, 1)
	}
}

func keepRow(row control.MeshRow) pastRow {
	kept := pastRow{node: uint16(row.Node), at: row.Time, paths: make([]pastPath, len(row.To))}
	for i, to := range row.To {
		x := pastPath{to: uint16(to), via: noRelay, path: row.Path[i], rtt: uint32(min(uint64(row.RTT[i]), math.MaxUint32))}
		if row.Via != nil && row.Via[i] >= 0 {
			x.via = uint16(row.Via[i])
		}
		if row.Loss != nil {
			x.loss = uint8((min(row.Loss[i], 1000) + 4) / 5)
		}
		kept.paths[i] = x
	}
	return kept
}

func (r *pastRow) form() control.MeshRow {
	row := control.MeshRow{Node: int(r.node), Time: r.at, To: []int{}, RTT: []int{}}
	path := make([]byte, 0, len(r.paths))
	for _, x := range r.paths {
		via := -1
		if x.via != noRelay {
			via = int(x.via)
		}
		path = append(path, x.path)
		row.To, row.Via = append(row.To, int(x.to)), append(row.Via, via)
		row.RTT, row.Loss = append(row.RTT, int(x.rtt)), append(row.Loss, int(x.loss)*5)
	}
	row.Path = string(path)
	return row
}

// times are when views were kept, the oldest first.
func (p *meshPast) times() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]time.Time, 0, len(p.views))
	for _, v := range p.views {
		list = append(list, v.at.UTC().Truncate(time.Millisecond))
	}
	return list
}

// at is the last view that was kept until a time, or else the oldest one; false if there is none.
func (p *meshPast) at(t time.Time) (control.MeshReport, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.views) == 0 {
		return control.MeshReport{}, false
	}
	i, found := slices.BinarySearchFunc(p.views, t, func(v pastView, t time.Time) int { return v.at.UTC().Truncate(time.Millisecond).Compare(t) })
	if !found {
		i = max(i-1, 0)
	}
	v := &p.views[i]
	r := control.MeshReport{Time: v.at.UTC().Truncate(time.Millisecond), Nodes: v.nodes, Rows: make([]control.MeshRow, len(v.rows))}
	for i := range v.rows {
		r.Rows[i] = v.rows[i].form()
	}
	return r, true
}

package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/mesh"
	"tincan/internal/node"
)

const (
	// pathLook is the shortest time between two looks at paths that have changed.
	pathLook = time.Second
	// pathSettled is how long a path must last until people are told of it.
	pathSettled = 3 * time.Second
)

// pathWatch follows which paths packets take to others, since when, and tells of changes that last.
type pathWatch struct {
	hops  func(names []node.Name) map[node.Name]mesh.FirstHop // asks the protocol core; it may wait
	tell  func(events.Event)
	clock func() time.Time
	wake  chan struct{} // room for one

	mu      sync.Mutex
	changed map[node.Name]struct{} // to be looked at
	paths   map[node.Name]*watchedPath
}

// watchedPath is the path to one node.
type watchedPath struct {
	hop   mesh.FirstHop // packets go there now; of an idle one it is that of the last packets
	since time.Time     // of hop
	told  mesh.FirstHop // the last one that has lasted; zero: none
}

func newPathWatch(hops func([]node.Name) map[node.Name]mesh.FirstHop, tell func(events.Event)) *pathWatch {
	return &pathWatch{
		hops: hops, tell: tell, clock: time.Now, wake: make(chan struct{}, 1),
		changed: map[node.Name]struct{}{}, paths: map[node.Name]*watchedPath{},
	}
}

// published: the paths to these nodes may have changed. It does not wait.
func (w *pathWatch) published(peers []mesh.PeerState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range peers {
		w.changed[peers[i].Node] = struct{}{}
	}
	poke(w.wake)
}

// down: a node cannot be reached any more. Its next path is not a change of this one.
func (w *pathWatch) down(name node.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.paths, name)
}

// since is since when packets take the path to a node that they take now; zero if there is none.
func (w *pathWatch) since(name node.Name) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.paths[name]; p != nil {
		return p.since
	}
	return time.Time{}
}

// run looks at what has changed until ctx ends.
func (w *pathWatch) run(ctx context.Context) {
	for {
		var settle <-chan time.Time // when the next path has lasted
		if at := w.due(); !at.IsZero() {
			settle = time.After(max(at.Sub(w.clock()), pathLook))
		}
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			select { // more may change at the same time
			case <-ctx.Done():
				return
			case <-time.After(pathLook):
			}
		case <-settle:
		}
		w.look()
	}
}

// look takes in what has changed, and tells of what has lasted.
func (w *pathWatch) look() {
	w.mu.Lock()
	names := make([]node.Name, 0, len(w.changed))
	for name := range w.changed {
		names = append(names, name)
	}
	clear(w.changed)
	w.mu.Unlock()
	hops := w.hops(names)
	now := w.clock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, hop := range hops {
		p := w.paths[name]
		switch {
		case hop.Node == "": // idle: whatever comes next is compared with what was before
		case p == nil:
			w.paths[name] = &watchedPath{hop: hop, since: now}
		case p.hop != hop:
			p.hop, p.since = hop, now
		}
	}
	for name, p := range w.paths {
		if p.hop == p.told || now.Sub(p.since) < pathSettled {
			continue
		}
		if p.told != (mesh.FirstHop{}) {
			w.tell(pathChanged(name, p.told, p.hop))
		}
		p.told = p.hop
	}
}

// due is when the next path will have lasted, zero if none has changed.
func (w *pathWatch) due() (at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.paths {
		if end := p.since.Add(pathSettled); p.hop != p.told && (at.IsZero() || end.Before(at)) {
			at = end
		}
	}
	return at
}

// pathChanged is the event of another path to a node.
func pathChanged(name node.Name, before, now mesh.FirstHop) events.Event {
	e := events.Event{Event: events.PathChanged, Node: name}
	e.Path, e.Via, e.Transport = control.PathOf(name, control.FirstHop(now))
	e.Before, e.BeforeVia, _ = control.PathOf(name, control.FirstHop(before))
	how := func(hop mesh.FirstHop) string {
		transport := "TCP"
		if hop.UDP {
			transport = "UDP"
		}
		if hop.Node == name {
			return "directly by " + transport
		}
		return fmt.Sprintf("through %s (%s)", hop.Node, transport)
	}
	e.Text = fmt.Sprintf("packets for %s go %s, and not %s", name, how(now), how(before))
	return e
}

// firstHops asks the protocol core where packets go first.
func (c *core) firstHops(names []node.Name) map[node.Name]mesh.FirstHop {
	out := make(map[node.Name]mesh.FirstHop, len(names))
	for len(names) > 0 {
		some := names[:min(len(names), atATime)]
		names = names[len(some):]
		c.call(func(m *mesh.Mesh) {
			for _, name := range some {
				out[name] = m.FirstHop(name)
			}
		})
	}
	return out
}

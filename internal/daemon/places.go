package daemon

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/mesh"
	"tincan/internal/netwatch"
	"tincan/internal/node"
)

// places remembers which carriers have worked with which nodes, for each network where this machine has been, also over a restart.
type places struct {
	file  func() string
	ours  func(dev string) bool // whether an interface is that of the VPN
	wake  chan struct{}         // room for one
	where func(func(string) bool) string

	mu    sync.Mutex
	known map[string]*placeMemory // by [netwatch.Place]
}

// placeMemory is what is remembered of one network.
type placeMemory struct {
	Nodes map[node.Name]nodeMemory `json:"nodes"`
	Last  int64                    `json:"last"` // when it was changed last, in seconds of the Unix time
}

// nodeMemory is what has worked with one node, in the words of Carriers.
type nodeMemory struct {
	Link string `json:"link,omitempty"` // tcp or tls
	Form string `json:"form,omitempty"` // masked or udp
}

func (m nodeMemory) worked() mesh.Worked {
	return mesh.Worked{Link: carrierOf(m.Link, mesh.ByTCP, mesh.ByTLS), Form: carrierOf(m.Form, mesh.ByMasked, mesh.ByUDP)}
}

func memoryOf(w mesh.Worked) nodeMemory {
	return nodeMemory{Link: w.Link.String(), Form: w.Form.String()}
}

// carrierOf is the one of some that a word is for.
func carrierOf(word string, some ...mesh.Carrier) mesh.Carrier {
	for _, c := range some {
		if c.String() == word {
			return c
		}
	}
	return mesh.NoCarrier
}

const (
	placesFile    = ".places" // in the directory cache; no node has a name like that
	maxPlaces     = 64        // networks
	maxPlaceNodes = 256
	maxPlacesSize = 1 << 20
)

func newPlaces(l *confdir.Layout, ours func(string) bool) *places {
	p := &places{
		file: func() string { return filepath.Join(l.Cache(), placesFile) }, ours: ours, wake: make(chan struct{}, 1),
		where: netwatch.Place, known: map[string]*placeMemory{},
	}
	var read map[string]*placeMemory
	if raw, err := files.Read(p.file(), maxPlacesSize); err == nil && json.Unmarshal(raw, &read) == nil {
		for where, x := range read {
			if x != nil && x.Nodes != nil && len(p.known) < maxPlaces && len(x.Nodes) <= maxPlaceNodes {
				p.known[where] = x
			}
		}
	}
	return p
}

// worked is what has worked when this machine was last where it is now.
func (p *places) worked() map[node.Name]mesh.Worked {
	p.mu.Lock()
	none := len(p.known) == 0
	p.mu.Unlock()
	if none { // as nearly always: to find out where this machine is takes a look at all of its interfaces
		return nil
	}
	where := p.where(p.ours)
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.known[where]
	if x == nil {
		return nil
	}
	out := make(map[node.Name]mesh.Worked, len(x.Nodes))
	for n, m := range x.Nodes {
		out[n] = m.worked()
	}
	return out
}

// save takes over what the protocol core has learned of the network where this machine is now.
func (p *places) save(e mesh.SaveWorked) {
	where := p.where(p.ours)
	if where == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x, forgotten := p.known[where], e.Worked == (mesh.Worked{})
	if x == nil {
		if forgotten {
			return
		}
		if len(p.known) >= maxPlaces {
			delete(p.known, slices.MinFunc(slices.Collect(maps.Keys(p.known)), func(a, b string) int { return int(p.known[a].Last - p.known[b].Last) }))
		}
		x = &placeMemory{Nodes: map[node.Name]nodeMemory{}}
		p.known[where] = x
	}
	x.Last = time.Now().Unix()
	if delete(x.Nodes, e.Node); !forgotten && len(x.Nodes) < maxPlaceNodes {
		x.Nodes[e.Node] = memoryOf(e.Worked)
	}
	if len(x.Nodes) == 0 {
		delete(p.known, where)
	}
	poke(p.wake)
}

// run writes until ctx ends, and then what is left.
func (p *places) run(ctx context.Context) {
	for {
		select {
		case <-p.wake:
			p.write()
		case <-ctx.Done():
			select {
			case <-p.wake:
				p.write()
			default:
			}
			return
		}
	}
}

// write writes the file. What cannot be written is found out again.
func (p *places) write() {
	p.mu.Lock()
	raw, err := json.Marshal(p.known)
	p.mu.Unlock()
	if err == nil {
		_ = files.Write(p.file(), raw, 0o600)
	}
}

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

// places remembers which nodes were reached by carriers and not by TCP, for each network where this machine has been, also
// over a restart.
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
	Carried []node.Name `json:"carried"`
	Last    int64       `json:"last"` // when it was changed last, in seconds of the Unix time
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
			if x != nil && len(p.known) < maxPlaces {
				x.Carried = x.Carried[:min(len(x.Carried), maxPlaceNodes)]
				p.known[where] = x
			}
		}
	}
	return p
}

// carried are the nodes that were reached by carriers when this machine was last where it is now.
func (p *places) carried() map[node.Name]bool {
	where := p.where(p.ours)
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.known[where]
	if x == nil {
		return nil
	}
	out := make(map[node.Name]bool, len(x.Carried))
	for _, n := range x.Carried {
		out[n] = true
	}
	return out
}

// save takes over what the protocol core has learned of the network where this machine is now.
func (p *places) save(e mesh.SaveCarried) {
	where := p.where(p.ours)
	if where == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.known[where]
	if x == nil {
		if !e.Carried {
			return
		}
		if len(p.known) >= maxPlaces {
			delete(p.known, slices.MinFunc(slices.Collect(maps.Keys(p.known)), func(a, b string) int { return int(p.known[a].Last - p.known[b].Last) }))
		}
		x = &placeMemory{}
		p.known[where] = x
	}
	x.Last = time.Now().Unix()
	x.Carried = slices.DeleteFunc(slices.Clone(x.Carried), func(n node.Name) bool { return n == e.Node })
	if e.Carried && len(x.Carried) < maxPlaceNodes {
		x.Carried = append(x.Carried, e.Node)
	}
	if len(x.Carried) == 0 {
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

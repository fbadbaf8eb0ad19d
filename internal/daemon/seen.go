package daemon

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/node"
)

// seen remembers when other nodes were reachable last, also over a restart.
type seen struct {
	file func() string
	wake chan struct{} // room for one

	mu   sync.Mutex
	last map[node.Name]time.Time
	up   map[node.Name]struct{} // they are reachable now
}

const (
	seenFile = ".seen"         // in the directory cache; no node has a name like that
	maxSeen  = 4096            // nodes
	seenWait = 3 * time.Second // so that many changes are one write
	seenEach = time.Hour       // how often the nodes that stay reachable are noted, for the case of a crash
)

func newSeen(l *confdir.Layout) *seen {
	s := &seen{
		file: func() string { return filepath.Join(l.Cache(), seenFile) },
		wake: make(chan struct{}, 1), up: map[node.Name]struct{}{},
	}
	data, _ := os.ReadFile(s.file()) // without it nobody has been seen
	s.last = parseSeen(data)
	return s
}

// HasSeenOthers tells whether the node of a directory has ever reached another one.
func HasSeenOthers(l confdir.Layout) bool { return len(newSeen(&l).last) > 0 }

// LastSeen is when the node of a directory last reached the others, as far as that was written down.
func LastSeen(l confdir.Layout) map[node.Name]time.Time { return newSeen(&l).last }

// parseSeen reads lines NAME SECONDS; strange ones are left out.
func parseSeen(data []byte) map[node.Name]time.Time {
	list := map[node.Name]time.Time{}
	for line := range bytes.Lines(data) {
		words := bytes.Fields(line)
		if len(words) != 2 || len(list) == maxSeen {
			continue
		}
		name, err := node.ParseName(string(words[0]))
		at, e := strconv.ParseInt(string(words[1]), 10, 64)
		if err == nil && e == nil && at > 0 && at < 1<<40 {
			list[name] = time.Unix(at, 0)
		}
	}
	return list
}

// node: another node has become reachable, or unreachable. It does not wait.
func (s *seen) node(name node.Name, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[name] = time.Now()
	if up {
		s.up[name] = struct{}{}
	} else {
		delete(s.up, name)
	}
	poke(s.wake)
}

// at is when a node was reachable last; zero: never, as far as this machine knows.
func (s *seen) at(name node.Name) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[name]
}

// now is when a node was reachable last, and whether it is.
func (s *seen) now(name node.Name) (last time.Time, reachable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, up := s.up[name]; up {
		return time.Now(), true
	}
	return s.last[name], false
}

// run writes until ctx ends, and then what is left.
func (s *seen) run(ctx context.Context) {
	each := time.NewTicker(seenEach)
	defer each.Stop()
	for {
		select {
		case <-s.wake:
			select {
			case <-time.After(seenWait):
			case <-ctx.Done():
			}
			s.write()
		case <-each.C:
			s.write()
		case <-ctx.Done():
			s.write()
			return
		}
	}
}

// write writes the file. A loss of it does no harm, so an error is nobody's business.
func (s *seen) write() {
	s.mu.Lock()
	now := time.Now()
	for name := range s.up {
		s.last[name] = now
	}
	type entry struct {
		name node.Name
		at   time.Time
	}
	var list []entry
	for name, at := range s.last {
		list = append(list, entry{name, at})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.name, b.name)) })
	for len(list) > maxSeen { // those that were away for longest
		delete(s.last, list[len(list)-1].name)
		list = list[:len(list)-1]
	}
	s.mu.Unlock()
	if len(list) == 0 {
		return
	}
	var b []byte
	for _, e := range list {
		b = fmt.Appendf(b, "%s %d\n", e.name, e.at.Unix())
	}
	_ = confdir.WriteFile(s.file(), b, confdir.FileMode)
}

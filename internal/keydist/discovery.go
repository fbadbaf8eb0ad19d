package keydist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
)

// The discovery of tinc-boot's second generation: every node shows a list of
// names with versions, and serves the host files. A version is the number
// of starts of its node.
//
// The original believes any node about any other. Here a node is believed about
// itself only, and the key that is known has to be in what it says.

const discoveryInterval = 5 * time.Second

// entry is one element of the list.
type entry struct {
	Name    node.Name
	Version int64
}

// Started counts a start of the own node.
func (s *Store) Started() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load().Starts++
	s.dirty = true
	s.flush()
}

// version is the version of a host file.
func (s *Store) version(name node.Name) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == s.Self {
		return s.load().Starts
	}
	return s.load().Files[name].Version
}

func (s *Store) setVersion(name node.Name, v int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.load()
	f := st.Files[name]
	f.Version = v
	st.Files[name], s.dirty = f, true
}

// discoveryHandler answers at port 18655: /hosts and /host/NAME?after=VERSION.
func (m *Monitor) discoveryHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hosts", func(w http.ResponseWriter, _ *http.Request) {
		list := []entry{}
		names, _ := m.cfg.Store.Names()
		for _, name := range names {
			if node.Normalise(string(name)) == string(name) { // others could not be asked for
				list = append(list, entry{name, m.cfg.Store.version(name)})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		_ = e.Encode(list)
	})
	mux.HandleFunc("/host/", func(w http.ResponseWriter, r *http.Request) {
		name, err := node.ParseName(node.Normalise(strings.TrimPrefix(r.URL.Path, "/host/")))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
		version := m.cfg.Store.version(name)
		data, err := m.cfg.Store.Read(name)
		if err != nil || version <= after {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("X-Name", string(name))
		h.Set("X-Version", strconv.FormatInt(version, 10))
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(data)))
		m.sign(w, r, name, data)
		_, _ = w.Write(data)
	})
	return mux
}

// discover asks p for news about itself, again and again.
func (m *Monitor) discover(ctx context.Context, p *peer) {
	for failed := 0; ctx.Err() == nil; {
		err := errors.New("it has no address of its own in the VPN")
		for _, at := range m.places(p) {
			if err = m.poll(ctx, p, at); err == nil {
				break
			}
		}
		wait := discoveryInterval
		if failed++; err == nil {
			failed = 0
		} else if failed > 3 { // most likely it is not of that generation
			wait = m.pauseBetween(failed)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// pauseBetween is the pause after so many failed polls in a row.
func (m *Monitor) pauseBetween(failed int) time.Duration {
	return min(longestPause, discoveryInterval<<min(failed-3, 10))
}

func (m *Monitor) poll(ctx context.Context, p *peer, at netip.Addr) error {
	if err := m.routed(p.name, at); err != nil {
		return err
	}
	text, _, err := m.get(ctx, at, DiscoveryPort, "/hosts")
	if err != nil {
		return err
	}
	version, err := versionIn(text, p.name)
	if err != nil || version <= m.cfg.Store.version(p.name) {
		return err
	}
	data, header, err := m.get(ctx, at, DiscoveryPort, "/host/"+string(p.name)+"?after=-1")
	if err != nil {
		return err
	}
	if header.Get("X-Name") != string(p.name) {
		return fmt.Errorf("asked for %s it sends %.40q", p.name, header.Get("X-Name"))
	}
	if err := m.take(p, at, data, header); err != nil {
		m.logf(1, "%v", err)
	}
	m.cfg.Store.setVersion(p.name, version) // also of what was refused: it will not get better
	return nil
}

// versionIn finds the version of a node in a list; 0 if it is not there.
func versionIn(text []byte, name node.Name) (int64, error) {
	var list []struct {
		Name    string
		Version int64
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("its list of nodes cannot be read: %w", err)
	}
	for _, e := range list {
		if e.Name == string(name) {
			return e.Version, nil
		}
	}
	return 0, nil
}

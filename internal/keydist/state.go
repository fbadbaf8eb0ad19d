package keydist

import (
	"cmp"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/node"
)

// state is what is kept beside the host files, in CONFBASE/cache. Without it files look as if
// a person had written them, learned keys are asked for again, and what was deleted is not known as that.
type state struct {
	Starts  int64                `json:"starts"` // of this node, for the second generation
	Files   map[node.Name]file   `json:"files"`
	Changes map[node.Name]change `json:"changes"`

	Hosts   map[node.Name]bool       `json:"hosts"`   // host files that were here at last
	Removed map[node.Name]int64      `json:"removed"` // those that were deleted, and when, Unix time
	Learned map[node.Name]learnedKey `json:"learned"` // keys without a host file
	LetIn   map[node.Name]int64      `json:"letIn"`   // newcomers that others are told about, and since when, Unix time

	Received map[node.Name]string `json:"received,omitempty"` // at the join; sums as in file
}

type file struct {
	Sum     string `json:"sum"`     // of what was stored, SHA-256
	Seen    int64  `json:"seen"`    // when the node confirmed it, Unix time
	Version int64  `json:"version"` // in the second generation's count

	By node.Name `json:"by,omitempty"` // on whose word alone it was written, see vouch.go
}

type change struct {
	From  node.Name `json:"from"`
	Since int64     `json:"since"`
}

const (
	stateName = "keys.json" // not the name of a node: its neighbours in cache/ are
	maxState  = 4 << 20
)

func (s *Store) statePath() string { return filepath.Join(s.Layout.Cache(), stateName) }

// made makes a map that is not there.
func made[V any](m *map[node.Name]V) {
	if *m == nil {
		*m = map[node.Name]V{}
	}
}

// load returns the state, read from the disk at the first time. The lock is held.
func (s *Store) load() *state {
	if s.state != nil {
		return s.state
	}
	s.state = &state{}
	if info, err := os.Stat(s.statePath()); err == nil && info.Size() <= maxState {
		if data, err := os.ReadFile(s.statePath()); err == nil && json.Unmarshal(data, s.state) != nil {
			*s.state = state{}
		}
	}
	made(&s.state.Files)
	made(&s.state.Changes)
	made(&s.state.Hosts)
	made(&s.state.Removed)
	made(&s.state.Learned)
	made(&s.state.LetIn)
	onlyNames(s.state.LetIn)
	made(&s.state.Received)
	onlyNames(s.state.Received)
	onlyNames(s.state.Hosts)
	onlyNames(s.state.Removed)
	onlyNames(s.state.Learned)
	maps.DeleteFunc(s.state.Changes, func(n node.Name, c change) bool {
		_, bad := node.ParseName(string(n))
		_, badFrom := node.ParseName(string(c.From))
		return bad != nil || badFrom != nil
	})
	return s.state
}

// onlyNames drops what is not about a node: the file may have been written by anything.
func onlyNames[V any](m map[node.Name]V) {
	maps.DeleteFunc(m, func(n node.Name, _ V) bool {
		_, err := node.ParseName(string(n))
		return err != nil
	})
}

// Flush writes down what is remembered, if it has changed.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
}

// flush writes the state down. If that fails the next call tries it again.
func (s *Store) flush() error {
	if !s.dirty {
		return nil
	}
	for name := range s.state.Files { // of nodes that a person has removed
		if _, err := os.Lstat(s.Layout.Host(name)); os.IsNotExist(err) {
			delete(s.state.Files, name)
			delete(s.state.Received, name)
		}
	}
	data, err := json.MarshalIndent(s.state, "", " ")
	if err == nil {
		_ = files.MakeDir(s.Layout.Cache(), 0o755)
		err = confdir.WriteFile(s.statePath(), append(data, '\n'), confdir.FileMode)
	}
	s.dirty = err != nil
	return err
}

func sortedNames[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

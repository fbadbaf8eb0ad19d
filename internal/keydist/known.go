package keydist

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// Beside the host files themselves it is remembered which there have been, and which keys
// were learned through the mesh. A host file that was here and is gone was deleted by the owner of
// this machine: nothing but the owner brings it back.

// MaxLearned bounds the learned keys that are kept. Those that were used longest ago give way.
const MaxLearned = 1000

// learnedKey is a key that was learned through the mesh.
type learnedKey struct {
	Key  string    `json:"key"`
	By   node.Name `json:"by,omitempty"` // who vouches for it
	Used int64     `json:"used"`         // Unix time
}

// LearnedKey is a key that was learned through the mesh, and no part of a host file.
type LearnedKey struct {
	Node node.Name
	Key  keys.PublicKey
	By   node.Name // who vouches for it, "" nobody
	Used time.Time
}

// Removal is a node whose host file the owner of this machine has deleted.
type Removal struct {
	Node  node.Name
	Since time.Time // when that was noticed
}

// errRemoved: nobody but the owner brings the file back.
var errRemoved = errors.New("its host file was deleted here; it comes back by import, accept or an invitation")

// Survey compares the host files that there are with those that there were. New are those that
// something else than this store has written since. The files that stood on the word of a node whose file is gone
// are deleted with it: dropped.
func (s *Store) Survey() (fresh, dropped []node.Name, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.Names()
	if err != nil {
		return nil, nil, err
	}
	st := s.load()
	there := make(map[node.Name]bool, len(names))
	s.owned = nil // somebody may have edited them
	for _, n := range names {
		there[n] = true
		if n != s.Self && !st.Hosts[n] && len(st.Hosts) > 0 { // not what was here before this began
			fresh = append(fresh, n)
		}
	}
	for n := range st.Hosts {
		if !there[n] && n != s.Self {
			s.gone(n)
			dropped = append(dropped, s.dropVouched(n)...)
		}
	}
	for _, n := range names {
		if !slices.Contains(dropped, n) {
			s.present(n)
		}
	}
	s.flush()
	return fresh, dropped, nil
}

// present takes note that a node has a host file; the lock is held.
func (s *Store) present(n node.Name) {
	st := s.load()
	if _, removed := st.Removed[n]; removed {
		delete(st.Removed, n)
		s.dirty = true
	}
	if !st.Hosts[n] {
		st.Hosts[n], s.dirty = true, true
	}
}

// gone takes note that a host file was deleted; the lock is held.
func (s *Store) gone(n node.Name) {
	st := s.load()
	delete(st.Hosts, n)
	delete(st.Learned, n)
	delete(s.owned, n)
	if len(st.Removed) < maxPeers {
		st.Removed[n] = time.Now().Unix()
	}
	s.dirty = true
}

// deleted tells whether the host file of a node was here, and its owner has deleted it. The lock is held.
func (s *Store) deleted(n node.Name) bool {
	st := s.load()
	if _, ok := st.Removed[n]; ok {
		return true
	}
	if !st.Hosts[n] {
		return false
	}
	if _, err := os.Lstat(s.Layout.Host(n)); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.gone(n)
	return true
}

// errNobody: there is nothing to remove.
var errNobody = errors.New("no node of that name is known here")

// Remove removes a node as if its owner had deleted its host file: that file, if there is one, what has been learned,
// and the addresses at which it was reached. seen says that the node is known by other means.
func (s *Store) Remove(n node.Name, seen bool) error {
	if n == s.Self {
		return fmt.Errorf("%s is this node itself", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Lock != nil {
		s.Lock.Lock()
		defer s.Lock.Unlock()
	}
	st := s.load()
	_, learned := st.Learned[n]
	_, removed := st.Removed[n]
	err := files.Remove(s.Layout.Host(n))
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil && !learned && !seen && !removed:
		return fmt.Errorf("%s: %w", n, errNobody)
	}
	_ = files.Remove(s.Layout.CacheOf(n))
	s.drop(n)
	s.gone(n)
	s.flush()
	return nil
}

// Removed lists the nodes whose host files have been deleted here, by name.
func (s *Store) Removed() []Removal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Removal
	for _, n := range sortedNames(s.load().Removed) {
		out = append(out, Removal{n, time.Unix(s.state.Removed[n], 0)})
	}
	return out
}

// Learned lists the keys that were learned, by name.
func (s *Store) Learned() []LearnedKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []LearnedKey
	for _, n := range sortedNames(s.load().Learned) {
		l := s.state.Learned[n]
		if k, err := keys.ParsePublicKey(l.Key); err == nil && !s.state.Hosts[n] {
			out = append(out, LearnedKey{n, k, l.By, time.Unix(l.Used, 0)})
		}
	}
	return out
}

// Learn keeps a key that was learned, unless the node has a host file or was removed. It is written down
// by [Store.Flush].
func (s *Store) Learn(n node.Name, k keys.PublicKey, by node.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learn(n, k, by)
}

// learn is Learn; the lock is held.
func (s *Store) learn(n node.Name, k keys.PublicKey, by node.Name) error {
	if n == s.Self {
		return errOwn
	}
	if s.deleted(n) {
		return fmt.Errorf("the key of %s is not kept: %w", n, errRemoved)
	}
	st := s.load()
	if _, ok := st.Learned[n]; !ok && len(st.Learned) >= MaxLearned {
		oldest := slices.MinFunc(sortedNames(st.Learned), func(a, b node.Name) int { return cmp.Compare(st.Learned[a].Used, st.Learned[b].Used) })
		delete(st.Learned, oldest)
		_ = files.Remove(s.Layout.CacheOf(oldest))
	}
	st.Learned[n] = learnedKey{Key: k.String(), By: by, Used: time.Now().Unix()}
	s.dirty = true
	return nil
}

// Unlearn forgets the learned key of a node, which is written down by [Store.Flush].
func (s *Store) Unlearn(n node.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.load().Learned[n]; ok {
		delete(s.state.Learned, n)
		s.dirty = true
	}
}

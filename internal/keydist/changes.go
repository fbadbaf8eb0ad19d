package keydist

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/hostfile"
	"tincan/internal/node"
)

// Change is another key for a node than the one that is known. Only a person
// can know whether the node was reinstalled or somebody plays its part.
type Change struct {
	Node    node.Name
	From    node.Name // who said so: the node itself, or another that knows it
	Known   string    // fingerprints, as hostfile.Fingerprint makes them
	Offered string
	Since   time.Time
}

// maxChanges bounds what waits for a person.
const maxChanges = 100

// ErrNoChange: no other key waits for this node.
var ErrNoChange = errors.New("nobody offers another key for this node")

func (s *Store) pending(name node.Name) string { return filepath.Join(s.changedDir(), string(name)) }

// Suspect keeps a host file with another key for a person to look at. It reports
// whether that is news.
func (s *Store) Suspect(name, from node.Name, data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.load()
	if s.deleted(name) {
		return false
	}
	if old, err := readSmall(s.pending(name)); err == nil && hostfile.Compare(old, data) == hostfile.Same {
		return false
	}
	if _, ok := st.Changes[name]; !ok && len(st.Changes) >= maxChanges {
		return false
	}
	if confdir.MakeDir(s.changedDir(), 0o755) != nil || confdir.WriteFile(s.pending(name), bytes.Clone(data), confdir.FileMode) != nil {
		return false
	}
	st.Changes[name] = change{From: from, Since: time.Now().Unix()}
	s.dirty = true
	s.flush()
	return true
}

// drop forgets another key that was offered for name. The lock is held.
func (s *Store) drop(name node.Name) {
	st := s.load()
	if _, ok := st.Changes[name]; !ok {
		return
	}
	delete(st.Changes, name)
	s.dirty = true
	_ = files.Remove(s.pending(name))
	_ = files.Remove(s.changedDir()) // if it is empty
}

// Changes lists what waits for a person, by name.
func (s *Store) Changes() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Change
	for _, name := range sortedNames(s.load().Changes) {
		data, err := readSmall(s.pending(name))
		if err != nil {
			continue
		}
		known, err := s.Read(name)
		if l, ok := s.state.Learned[name]; ok && err != nil {
			known = fmt.Appendf(nil, "Ed25519PublicKey = %s\n", l.Key)
		}
		c := s.state.Changes[name]
		out = append(out, Change{
			Node: name, From: c.From, Since: time.Unix(c.Since, 0),
			Known: hostfile.Fingerprint(known), Offered: hostfile.Fingerprint(data),
		})
	}
	return out
}

// Accept makes the other key that was offered for name the known one, or lets a node come back whose
// host file was deleted. What was known before is kept beside it, as changed/NAME.before.
func (s *Store) Accept(name node.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = nil // another process may have added something
	if _, ok := s.load().Removed[name]; ok {
		delete(s.state.Removed, name)
		s.dirty = true
		s.flush()
		return nil
	}
	data, err := readSmall(s.pending(name))
	if errors.Is(err, fs.ErrNotExist) || name == s.Self {
		return fmt.Errorf("%s: %w", name, ErrNoChange)
	}
	if err != nil {
		return err
	}
	clean, _, err := hostfile.Check(name, data, hostfile.Policy{AllowWide: true})
	if err != nil {
		return err
	}
	if s.Lock != nil {
		s.Lock.Lock()
		defer s.Lock.Unlock()
	}
	if old, err := s.Read(name); err == nil {
		if err := confdir.WriteFile(s.pending(name)+".before", old, confdir.FileMode); err != nil {
			return err
		}
	}
	if err := s.write(name, clean); err != nil {
		return err
	}
	s.drop(name)
	s.flush()
	return nil
}

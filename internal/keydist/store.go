package keydist

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/hostfile"
	"tincan/internal/node"
)

// Store is the directory of host files, seen as something that other machines
// may add to. What is stored has been checked before (package hostfile). Its
// rules, for a file that a node offers:
//
//   - the own host file is never touched;
//   - a node without a host file gets one, unless its file was here and has been deleted;
//   - a file with the keys that are known replaces one that this store has
//     written, or that holds nothing but a key learned from the mesh, and leaves
//     alone what a person has written (unless Replace is set);
//   - a file with another key changes nothing. It is kept in CONFBASE/changed
//     until a person accepts it, see [Store.Accept];
//   - in a signed network the roster decides: only files of members are taken,
//     and only with the keys that they have there.
//
// A Store is safe for concurrent use.
type Store struct {
	Layout  confdir.Layout
	Self    node.Name
	Replace bool        // take over every file with the known key, as tinc-boot does
	Lock    sync.Locker // held while a host file is written; nil: nobody else writes
	// Roster says what the roster of a signed network has against a host file of a node; signed tells that there is one, and
	// that it alone decides about keys. nil: the network is open.
	Roster func(name node.Name, data []byte) (signed bool, err error)

	mu    sync.Mutex
	state *state
	dirty bool
	owned map[node.Name][]netip.Prefix // subnets in the host files; nil: not read yet
}

// Outcome is what became of a host file that was offered.
type Outcome uint8

const (
	Stored     Outcome = iota + 1 // it is new, and was written
	Unchanged                     // it says what is there already
	Edited                        // it differs from what a person has written, which stays
	KeyChanged                    // it has another key, and waits for a person
)

var (
	errOwn  = errors.New("that is this node's own host file, which nobody else may change")
	errMany = fmt.Errorf("there are more than %d host files", maxPeers)
)

// Read returns the host file of a node; fs.ErrNotExist if there is none.
func (s *Store) Read(name node.Name) ([]byte, error) {
	return readSmall(s.Layout.Host(name))
}

// readSmall reads a file of at most the size that a body may have.
func readSmall(path string) ([]byte, error) {
	data, err := files.Read(path, maxBody)
	if errors.As(err, new(*files.NotRegularError)) { // a directory, say
		return nil, fs.ErrNotExist
	}
	return data, err
}

// Offer takes a checked host file of name that came from from.
func (s *Store) Offer(name, from node.Name, data []byte) (Outcome, error) {
	if name == s.Self {
		return 0, errOwn
	}
	signed := false
	if s.Roster != nil {
		var err error
		if signed, err = s.Roster(name, data); err != nil {
			return 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Lock != nil {
		s.Lock.Lock()
		defer s.Lock.Unlock()
	}
	old, err := s.Read(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !signed && s.deleted(name):
		return 0, errRemoved
	case errors.Is(err, fs.ErrNotExist):
		if n, err := s.count(); err != nil || n >= maxPeers {
			return 0, errors.Join(err, errMany)
		}
		return Stored, s.write(name, data)
	case err != nil:
		return 0, err
	}
	st := s.load()
	if ed, _ := hostfile.Key(data); ed != nil && s.vouched(name, old) { // what the node has proven itself counts more
		return Stored, s.write(name, data)
	}
	switch hostfile.Compare(old, data) {
	case hostfile.Changed:
		if signed { // the other key is the wrong one
			return Stored, s.write(name, data)
		}
		return KeyChanged, nil
	case hostfile.Fewer:
		s.confirm(name, old)
		return Unchanged, nil
	}
	s.drop(name) // whoever offered another key does not any more
	switch {
	case bytes.Equal(old, data):
		s.confirm(name, data)
		return Unchanged, nil
	case s.Replace, onlyLearned(old), st.Files[name].Sum == sum(old):
		return Stored, s.write(name, data)
	}
	f := st.Files[name]
	f.Seen = time.Now().Unix() // its keys are right, so this need not be repeated soon
	st.Files[name], s.dirty = f, true
	if hostfile.Equivalent(old, data) {
		return Unchanged, nil
	}
	return Edited, nil
}

// write stores a host file; the lock is held.
func (s *Store) write(name node.Name, data []byte) error {
	if err := confdir.WriteFile(s.Layout.Host(name), data, confdir.FileMode); err != nil {
		return err
	}
	if s.owned != nil {
		s.owned[name] = prefixes(data)
	}
	s.confirm(name, data)
	s.present(name)
	return nil
}

func (s *Store) confirm(name node.Name, data []byte) {
	st := s.load()
	f := st.Files[name]
	if s := sum(data); f.Sum != s {
		f.Sum, f.By = s, ""
	}
	f.Seen = time.Now().Unix()
	st.Files[name], s.dirty = f, true
}

// confirmed tells whether the node itself has offered the keys of its host file
// not longer ago than age.
func (s *Store) confirmed(name node.Name, age time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.load().Files[name]
	if !ok || time.Since(time.Unix(f.Seen, 0)) > age {
		return false
	}
	_, err := os.Stat(s.Layout.Host(name))
	return err == nil
}

// onlyLearned tells whether a host file holds nothing but keys.
func onlyLearned(data []byte) bool {
	for _, v := range []string{"Address", "Port", "Subnet", "Weight", "IndirectData", "TCPOnly", "PMTU"} {
		if len(config.Values(data, v)) > 0 {
			return false
		}
	}
	return true
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// Names lists the nodes that have a host file, the own one included.
func (s *Store) Names() ([]node.Name, error) {
	entries, err := os.ReadDir(s.Layout.Hosts())
	var out []node.Name
	for _, e := range entries {
		// What stands in the directory is data as well: only real names count.
		if name, err := node.ParseName(e.Name()); err == nil && !e.IsDir() {
			out = append(out, name)
		}
	}
	return out, err
}

func (s *Store) count() (int, error) {
	names, err := s.Names()
	return len(names), err
}

// owner tells which other node has exactly this subnet in its host file.
func (s *Store) owner(except node.Name, p netip.Prefix) (node.Name, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owned == nil {
		s.survey()
	}
	for name, list := range s.owned {
		if name != except && slices.Contains(list, p) {
			return name, true
		}
	}
	return "", false
}

// holder tells which other node has this subnet, or one around it, in its host file. A subnet that is wider than 16 bits
// (IPv6: 48) is a route to other networks, and holds only what is the same.
func (s *Store) holder(except node.Name, p netip.Prefix) (node.Name, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owned == nil {
		s.survey()
	}
	least := 16
	if p.Addr().Is6() {
		least = 48
	}
	for _, name := range sortedNames(s.owned) {
		if name != except && slices.ContainsFunc(s.owned[name], func(q netip.Prefix) bool {
			return q == p || q.Bits() >= least && q.Bits() <= p.Bits() && q.Contains(p.Addr())
		}) {
			return name, true
		}
	}
	return "", false
}

// survey reads who has which subnets; the lock is held.
func (s *Store) survey() {
	s.owned = map[node.Name][]netip.Prefix{}
	names, _ := s.Names()
	for _, name := range names {
		if data, err := s.Read(name); err == nil {
			s.owned[name] = prefixes(data)
		}
	}
}

func prefixes(data []byte) []netip.Prefix {
	var out []netip.Prefix
	for _, sub := range hostfile.Subnets(data) {
		if p := sub.Prefix(); p.IsValid() {
			out = append(out, p.Masked())
		}
	}
	return out
}

// Index puts a line "ConnectTo = NAME" in front of tinc.conf for each node whose
// host file has an address, and returns the nodes that had none.
func (s *Store) Index() (added []node.Name, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.survey()
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	err = confdir.Edit(s.Layout.TincConf(), func(conf []byte) ([]byte, error) {
		present := config.Values(conf, "ConnectTo")
		for _, name := range names {
			if name == s.Self || slices.Contains(present, string(name)) {
				continue
			}
			if data, err := s.Read(name); err == nil && hostfile.Public(data) {
				conf = append(fmt.Appendf(nil, "ConnectTo = %s\n", name), conf...)
				added = append(added, name)
			}
		}
		return conf, nil
	})
	if err != nil {
		return nil, fmt.Errorf("adding ConnectTo lines: %w", err)
	}
	return added, nil
}

// modified is the time of the last change of a host file, zero if there is none.
func (s *Store) modified(name node.Name) time.Time {
	info, err := os.Stat(s.Layout.Host(name))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (s *Store) changedDir() string { return filepath.Join(s.Layout.ConfBase, "changed") }

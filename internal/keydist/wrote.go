package keydist

import "tincan/internal/node"

// Received notes that host files, as they are on the disk now, came from others at a join: with an
// invitation, or from a boot node. No daemon may run in the directory yet.
func (s *Store) Received(names ...node.Name) error {
	if len(names) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		data, err := s.Read(name)
		if err != nil {
			return err
		}
		s.load().Received[name] = sum(data)
	}
	s.dirty = true
	return s.flush()
}

// Wrote tells whether what is in the host file of a node is what others have told us, and no person
// has changed it.
func (s *Store) Wrote(name node.Name) bool {
	data, err := s.Read(name)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.load().Files[name]
	return ok && f.Sum == sum(data) || s.load().Received[name] == sum(data)
}

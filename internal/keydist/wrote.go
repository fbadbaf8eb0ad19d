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
	s.mu.Lock()
	st := s.load()
	wrote, received := st.Files[name].Sum, st.Received[name]
	s.mu.Unlock()
	if wrote == "" && received == "" {
		return false // whatever is in the file
	}
	data, err := s.Read(name)
	if err != nil {
		return false
	}
	now := sum(data)
	return now == wrote || now == received
}

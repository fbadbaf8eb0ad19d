package keydist

import "tincan/internal/node"

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
	return ok && f.Sum == sum(data)
}

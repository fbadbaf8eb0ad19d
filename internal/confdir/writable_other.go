//go:build !linux

package confdir

import "os"

// writableDir tells whether files can be created in dir.
func writableDir(dir string) bool {
	f, err := os.CreateTemp(dir, ".tincan-")
	if err != nil {
		return false
	}
	f.Close()
	return os.Remove(f.Name()) == nil
}

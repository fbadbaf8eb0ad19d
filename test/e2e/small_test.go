//go:build linux

package e2e

import (
	"os"
	"path/filepath"
)

func chmod(path string, mode os.FileMode) error { return os.Chmod(path, mode) }

func remove(path string) error { return os.Remove(path) }

// file returns the text of a file below the directory of the network, "" if
// there is none.
func (n *node) file(name string) string {
	b, _ := n.ReadFile(filepath.Join(confBase, name))
	return string(b)
}

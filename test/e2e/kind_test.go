//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
)

// kind is the program that a node runs.
type kind int

const (
	tincan kind = iota
	tinc11
)

// tincDir is where a real tinc 1.1 is, "" if there is none.
var tincDir = os.Getenv("TINC11_DIR")

func (k kind) daemon() []string {
	if k == tinc11 {
		return []string{filepath.Join(tincDir, "sbin", "tincd"), "-n", "home", "-D", "-d3"}
	}
	return []string{os.Getenv(binaryVar), "-n", "home", "up", "--debug=3"}
}

// tinc runs the real "tinc -n home ARGS".
func (n *node) tinc(args ...string) string {
	n.w.Helper()
	out, err := n.Run(filepath.Join(tincDir, "sbin", "tinc"), append([]string{"-n", "home"}, args...)...)
	n.w.must(err)
	return strings.TrimSpace(out)
}

// dump asks the node's own program to dump something.
func (n *node) dump(what string) string {
	n.w.Helper()
	if n.kind == tinc11 {
		return n.tinc("dump", what)
	}
	return n.tincan("dump", what)
}

//go:build linux

package e2e

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// kind is the program that a node runs.
type kind int

const (
	tincan kind = iota
	tinc11
	tinc10
	tincand // tincan called as tincd, as it would be in the place of tinc
)

// tincDir is where a real tinc 1.1 is, "" if there is none.
var tincDir = os.Getenv("TINC11_DIR")

// oldTincd is the daemon of tinc 1.0. TINCD names it; otherwise it is that which Debian installs.
var oldTincd = cmp.Or(os.Getenv("TINCD"), "/usr/sbin/tincd")

func (k kind) String() string {
	return [...]string{"tincan", "tinc 1.1", "tinc 1.0", "tincan as tincd"}[k]
}

// real says whether it is the real tinc, which wants a script to configure its interface.
func (k kind) real() bool { return k == tinc10 || k == tinc11 }

func (k kind) daemon() []string {
	if k == tinc10 {
		return []string{oldTincd, "-n", "home", "-D", "-d3"}
	}
	if k == tincand {
		return []string{os.Getenv(binaryVar), "tincd", "-n", "home", "-D", "-d3"}
	}
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

// oldDumps says how tinc 1.0 is asked for a list, and how the list begins and ends.
var oldDumps = map[string]struct {
	signal     syscall.Signal
	title, end string
}{
	"nodes":       {syscall.SIGUSR2, "Nodes", "End of nodes"},
	"connections": {syscall.SIGUSR1, "Connections", "End of connections"},
}

// dump asks the node's own program to dump something.
func (n *node) dump(what string) string {
	n.w.Helper()
	if n.kind == tinc10 {
		d := oldDumps[what]
		return n.oldDump(d.signal, d.title, d.end)
	}
	if n.kind == tinc11 {
		return n.tinc("dump", what)
	}
	return n.tincan("dump", what)
}

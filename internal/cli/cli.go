// Package cli is what people and scripts call: the commands of tincan, and the
// choice between its front ends. Called as tinc, tincd or tinc-boot, or with one of
// these words first, it behaves like those programs; else it is tincan.
//
// A command reads its options, calls one thing below, and prints. Results go to
// standard output, all talk to standard error; the exit status is 0 or 1.
package cli

import (
	"path/filepath"
	"strings"

	"tincan/internal/cli/frontend"
	"tincan/internal/cli/tinc"
	"tincan/internal/cli/tincboot"
	"tincan/internal/cli/tincd"
	"tincan/internal/terminal"
)

// Main runs a whole command line, args[0] being the name of the program, and
// returns the exit status.
func Main(args []string, s terminal.Streams) int {
	switch strings.TrimSuffix(filepath.Base(args[0]), ".exe") {
	case "tincd":
		return tincd.Main(args[0], args[1:], s)
	case "tinc":
		return tinc.Main(args[0], args[1:], s)
	case "tinc-boot":
		return tincboot.Main(args[0], args[1:], s)
	}
	return frontend.Execute(newRoot(s), args[1:], s, "tincan: ")
}

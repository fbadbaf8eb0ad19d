// Package cli is what people and scripts call: the commands of tincan, and the
// choice between its front ends. Called as tinc, tincd or tinc-boot, or with one of
// these words first, it behaves like those programs; else it is tincan.
//
// A command reads its options, calls one thing below, and prints. Results go to
// standard output, all talk to standard error; the exit status is 0 or 1.
package cli

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
	"tincan/internal/cli/tinc"
	"tincan/internal/cli/tincd"
	"tincan/internal/oserr"
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
		return tincBoot(args[0], args[1:], s)
	}
	return execute(newRoot(s), args[1:], s, "tincan: ")
}

// execute runs a command and returns the exit status. An error is printed after prefix.
func execute(root *cobra.Command, args []string, s terminal.Streams, prefix string) int {
	root.SetArgs(args)
	err := helpAboutNothing(root, args)
	if err == nil {
		err = root.Execute()
	}
	if status := failed(0); errors.As(err, &status) {
		return int(status)
	}
	if err != nil {
		s.Report(prefix, advise(err))
		return 1
	}
	return 0
}

// helpAboutNothing is the error of asking for help about a command that does not exist, for which cobra
// shows the help of the one above.
func helpAboutNothing(root *cobra.Command, args []string) error {
	cmd, rest, err := root.Find(args)
	if err != nil || !cmd.HasSubCommands() {
		return nil // Execute says what is wrong
	}
	cmd.InitDefaultHelpFlag()
	if cmd.ParseFlags(rest) != nil {
		return nil
	}
	if help, _ := cmd.Flags().GetBool("help"); !help {
		return nil
	}
	return noSuchCommand(cmd, cmd.Flags().Args())
}

// hinted tells whether an error brings advice.
func hinted(err error) bool {
	var h interface{ Hint() string }
	return errors.As(err, &h)
}

// advise adds a hint to the errors of the machine that need one, if nobody who
// knows more has given one.
func advise(err error) error {
	switch {
	case hinted(err):
		return err
	case errors.Is(err, fs.ErrPermission):
		return terminal.Hint(err, "run this command %s", oserr.Privileged)
	case errors.Is(err, syscall.ENOSPC):
		return terminal.Hint(err, "make room on that disk; what was there is unharmed")
	}
	return err
}

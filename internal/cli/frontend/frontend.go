// Package frontend is what the front ends share that read their command line with cobra: how a command line is
// run and its errors printed, numbers of arguments, and the options for making and admitting nodes.
package frontend

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"tincan/internal/nearest"
	"tincan/internal/oserr"
	"tincan/internal/terminal"
)

// Execute runs a command and returns the exit status. An error is printed after prefix.
func Execute(root *cobra.Command, args []string, s terminal.Streams, prefix string) int {
	root.SetArgs(args)
	err := helpAboutNothing(root, args)
	if err == nil {
		err = root.Execute()
	}
	if status := Failed(0); errors.As(err, &status) {
		return int(status)
	}
	if err != nil {
		s.Report(prefix, advise(err))
	}
	return Status(err)
}

// Status is the exit status for an error: 0 without one, that of an error which has one of its own (ExitStatus), else 1.
func Status(err error) int {
	var own interface{ ExitStatus() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return own.ExitStatus()
	}
	return 1
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
	return NoSuchCommand(cmd, cmd.Flags().Args())
}

// Failed is the exit status of a front end that has said why.
type Failed int

func (f Failed) Error() string { return fmt.Sprintf("exit status %d", int(f)) }

// Hinted tells whether an error brings advice.
func Hinted(err error) bool {
	var h interface{ Hint() string }
	return errors.As(err, &h)
}

// advise adds a hint to the errors of the machine that need one, if nobody who
// knows more has given one.
func advise(err error) error {
	switch {
	case Hinted(err):
		return err
	case errors.Is(err, fs.ErrPermission):
		return terminal.Hint(err, "run this command %s", oserr.Privileged)
	case errors.Is(err, syscall.ENOSPC):
		return terminal.Hint(err, "make room on that disk; what was there is unharmed")
	}
	return err
}

// elsewhere is what commands of other programs are called here.
var elsewhere = map[string]string{
	"start": "up", "run": "up", "list": "status", "ls": "status", "peers": "status", "nodes": "status", "show": "status",
}

// NoSuchCommand is what a word that is no command comes to.
func NoSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("there is no command %q", args[0])
	if ours := elsewhere[args[0]]; ours != "" && !cmd.HasParent() {
		return terminal.Hint(err, "did you mean %s %s? %s --help lists the commands", cmd.CommandPath(), ours, cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	if meant := nearest.To(args[0], names); meant != "" {
		return terminal.Hint(err, "did you mean %s %s? %s --help lists the commands", cmd.CommandPath(), meant, cmd.CommandPath())
	}
	return terminal.Hint(err, "%s --help lists the commands", cmd.CommandPath())
}

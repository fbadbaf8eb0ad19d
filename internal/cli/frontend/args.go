package frontend

import (
	"fmt"

	"github.com/spf13/cobra"

	"tincan/internal/terminal"
)

// Exactly checks the number of arguments; what names them.
func Exactly(what string, n int) cobra.PositionalArgs {
	return Between(what, n, n)
}

// Between checks that there are least to most arguments; most < 0 means any number.
func Between(what string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < least:
			err = fmt.Errorf("%s needs %s", cmd.Name(), what)
		case most >= 0 && len(args) > most && most == 0:
			err = fmt.Errorf("%s takes no arguments", cmd.Name())
		case most >= 0 && len(args) > most:
			err = fmt.Errorf("%s takes only %s", cmd.Name(), what)
		}
		return terminal.Hint(err, "see %s --help", cmd.CommandPath())
	}
}

// JSONFlag adds the option for programs.
func JSONFlag(c *cobra.Command, into *bool) {
	c.Flags().BoolVar(into, "json", false, "print JSON, for programs")
}

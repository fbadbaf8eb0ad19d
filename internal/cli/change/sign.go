package change

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/terminal"
)

func signCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "sign [FILE]",
		Short: "Sign data with the key of this node",
		Long: `Prints FILE, or standard input, preceded by a line that says who signed it and
when. Another node checks it with: tincan verify`,
		Args: frontend.Between("one FILE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			data, err := command.ReadData(first(args), e.In)
			if err != nil {
				return err
			}
			signed, err := command.Sign(l, data, time.Now())
			if err != nil {
				return err
			}
			_, err = e.Out.Write(signed)
			return err
		},
	}
}

func verifyCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify NODE [FILE]",
		Short: "Check a signature, and print what was signed",
		Long: `Checks that NODE has signed FILE, or standard input, and prints the data without
the signature. NODE can be . for this node, and * for any node that has a host
file here. Nothing is printed if the signature is invalid.`,
		Args: frontend.Between("a NODE and one FILE", 1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			data, err := command.ReadData(first(args[1:]), e.In)
			if err != nil {
				return err
			}
			signed, err := command.Verify(l, args[0], data)
			if err != nil {
				return err
			}
			e.Say("signed by %s at %s", signed.Signer, signed.When.Format(time.DateTime))
			_, err = e.Out.Write(signed.Data)
			return err
		},
	}
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func editCommand(e *env.Env) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "edit FILE",
		Short: "Open a file of the network in an editor",
		Long: `Opens tinc.conf, a script such as tinc-up, or the host file of a node (by its name)
in $VISUAL, $EDITOR or vi. Settings are edited in a copy, which takes the place of the file
if a node can use it. Afterwards a running node reads its files again.`,
		Args:      frontend.Exactly("the name of a FILE", 1),
		ValidArgs: command.EditableFiles,
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			path, err := command.EditPath(l, args[0])
			if err != nil {
				return terminal.Hint(err, "tinc.conf, tinc-up and the like, NODE, NODE-up, NODE-down")
			}
			changed, err := command.EditChecked(path, force, e.Streams)
			if err != nil || !changed {
				return err
			}
			var notRunning *control.DialError
			if err := e.Ask((*control.Client).Reload); err != nil && !errors.As(err, &notRunning) {
				e.Say("warning: the running node did not accept the files: %v", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "store the file even if a node cannot use it")
	return c
}

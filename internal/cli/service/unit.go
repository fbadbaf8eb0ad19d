package service

import (
	"fmt"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/confdir"
)

// unitFile is where --install puts the unit.
const unitFile = "/etc/systemd/system/tincan@.service"

func unitCommand(e *env.Env) *cobra.Command {
	install := false
	c := &cobra.Command{
		Use:   "systemd-unit",
		Short: "Print the systemd unit template",
		Long: `Prints a systemd unit template for this program. With --install it is stored as
` + unitFile + `. Afterwards:

  systemctl daemon-reload
  systemctl enable --now tincan@NETWORK`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			text, err := unitText()
			if err != nil {
				return err
			}
			if !install {
				_, err := fmt.Fprint(e.Out, text)
				return err
			}
			if err := confdir.WriteFile(unitFile, []byte(text), 0o644); err != nil {
				return err
			}
			e.Say("stored %s; next: systemctl daemon-reload && systemctl enable --now tincan@NETWORK", unitFile)
			return nil
		},
	}
	c.Flags().BoolVar(&install, "install", false, "install the unit where systemd finds it")
	return c
}

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"tincan/internal/cli/version"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Out, "tincan %s, tinc protocol %s, %s %s/%s\n", version.Text(), version.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/version"
	"tincan/internal/report"
)

func versionCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return e.PrintJSON(report.Version{
					Version: version.Text(), Protocol: version.Protocol, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, JSONFormat: report.Format,
				})
			}
			_, err := fmt.Fprintf(e.Out, "tincan %s, tinc protocol %s, %s %s/%s\n", version.Text(), version.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

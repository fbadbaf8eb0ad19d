package cli

import (
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
		Long: `Shows the version of this program, the commit of the source that it was built
from and its time, the protocol of tinc that it speaks, and the Go version that
built it.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := version.This()
			r := report.Version{
				Version: b.Version, Commit: b.Commit, Modified: b.Modified,
				Protocol: version.Protocol, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, JSONFormat: report.Format,
			}
			if !b.Time.IsZero() {
				r.CommitTime = &b.Time
			}
			return env.Show(e, r, asJSON, report.WriteVersion)
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

package look

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/check"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/confdir"
	"tincan/internal/fsck"
)

func checkCommand(e *env.Env) *cobra.Command {
	asJSON, fix := false, false
	c := &cobra.Command{
		Use:   "check",
		Short: "Check a tinc 1.0 or 1.1 configuration for use with tincan",
		Long: `Reads the files of a network that tinc 1.0 or 1.1 runs, or has run, and says what
tincan would do with each part of them: keys, settings, scripts and the other
nodes. It changes nothing, and tincd may be running meanwhile. Mistakes with exit nodes and
doors are found, too: names, files, overlapping prefixes, what the owners have not allowed.

It does not know the command line of tincd. With --fix it first fixes what "tinc fsck" can
fix: modes of keys and scripts, public keys that are missing or do not match.

  ok      works as it did with tinc
  note    is different, or good to know
  weak    works, but should not stay like this
  breaks  would not work; then the exit status is 1`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.Existing()
			if err != nil {
				return err
			}
			if fix {
				fixFiles(e, l)
			}
			r, err := check.Directory(l)
			if err != nil {
				return err
			}
			if asJSON {
				err = e.PrintJSON(r)
			} else {
				err = writeReport(e.Out, r, fix)
			}
			if err == nil && r.Breaks > 0 {
				return frontend.Failed(1)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	c.Flags().BoolVar(&fix, "fix", false, "fix what can be fixed")
	return c
}

// fixFiles does what `tinc --force fsck` does.
func fixFiles(e *env.Env, l confdir.Layout) {
	f := fsck.Checker{
		Layout: l, Say: func(line string) { e.Say("%s", line) }, Fix: func() bool { return true },
		Command: func(name string) string { return e.Self() + " tinc " + name },
	}
	f.Run() // what is left is in the report
}

func writeReport(w io.Writer, r check.Report, fixed bool) error {
	var b strings.Builder
	speaks := "nothing"
	if len(r.Speaks) > 0 {
		speaks = "the protocol of tinc " + strings.Join(r.Speaks, " and of tinc ")
	}
	fmt.Fprintf(&b, "node %s in %s, which would use %s\n", r.Node, r.Directory, speaks)
	for _, part := range check.Parts {
		first := true
		for _, f := range r.Findings {
			if f.Part != part {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n%s\n", part)
				first = false
			}
			where := f.Where
			if where != "" {
				where += ": "
			}
			fmt.Fprintf(&b, "  %-7s %s%s\n", f.Level, where, f.Text)
			if f.Advice != "" {
				fmt.Fprintf(&b, "          %s\n", f.Advice)
			}
		}
	}
	fmt.Fprintf(&b, "\n%s.", verdict(r))
	if !fixed {
		b.WriteString(" Nothing was changed.")
	}
	b.WriteByte('\n')
	_, err := io.WriteString(w, b.String())
	return err
}

func verdict(r check.Report) string {
	switch {
	case r.Unusable:
		return "tincan would not start with this directory"
	case r.Breaks == 1:
		return "tincan would start with this directory, but one thing would break"
	case r.Breaks > 1:
		return fmt.Sprintf("tincan would start with this directory, but %d things would break", r.Breaks)
	case r.Weak > 0:
		return "tincan would work with this directory; something in it is weak"
	}
	return "tincan would work with this directory"
}

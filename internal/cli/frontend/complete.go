package frontend

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Completion is what a shell may put in place of what has been begun.
type Completion = func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective)

// Begun leaves only those words that begin as it has been begun.
func Begun(f Completion) Completion {
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		words, directive := f(cmd, args, text)
		return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
			return len(w) < len(text) || !strings.EqualFold(w[:len(text)], text)
		}), directive
	}
}

package frontend

import (
	"tincan/internal/nearest"
	"tincan/internal/terminal"
)

// Suggest adds a hint to an error about a name: the one of names that may have been meant. An error that brings
// advice stays as it is.
func Suggest(err error, name string, names func() []string) error {
	if err == nil || Hinted(err) {
		return err
	}
	if other := nearest.To(name, names()); other != "" {
		return terminal.Hint(err, "did you mean %q?", other)
	}
	return err
}

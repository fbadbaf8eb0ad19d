package tinc

import (
	"fmt"

	"tincan/internal/command"
)

// edit is `tinc edit FILE`.
func edit(c *call, args []string) error {
	path, err := command.EditPath(c.layout, args[0])
	if err != nil {
		return sentence("Invalid configuration filename.")
	}
	if err := command.Edit(path, c.Streams); err != nil {
		return err
	}
	for _, p := range command.FileProblems(path) {
		fmt.Fprintf(c.Err, "Warning: %s\n", p)
	}
	c.notify()
	return nil
}

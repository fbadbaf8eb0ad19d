package tinc

import (
	"fmt"

	"tincan/internal/cli/editing"
)

// edit is `tinc edit FILE`.
func edit(c *call, args []string) error {
	path, err := editing.Path(c.layout, args[0])
	if err != nil {
		return sentence("Invalid configuration filename.")
	}
	if err := editing.Run(path, c.Streams); err != nil {
		return err
	}
	for _, p := range editing.Problems(path) {
		fmt.Fprintf(c.Err, "Warning: %s\n", p)
	}
	c.notify()
	return nil
}

//go:build !unix

package tincd

import (
	"fmt"

	"tincan/internal/terminal"
)

// kill is tincd -k, which needs signals.
func (o options) kill(prog string, s terminal.Streams) int {
	fmt.Fprintf(s.Err, "%s: this system has no signals; use: tincan tinc stop, reload or retry\n", prog)
	return 1
}

package tinc

import (
	"context"
	"fmt"
	"time"

	"tincan/internal/cli/top"
	"tincan/internal/control"
)

// topScreen is `tinc top`. It ends well also when the daemon does.
func topScreen(c *call, _ []string) error {
	return c.ask(func(d *control.Client) error {
		in, out, live := c.Screen()
		if !live {
			return sentence("`top' needs a terminal; for programs there is: tincan top --json")
		}
		if err := top.Run(context.Background(), in, out, d, top.NewModel("Tinc "+c.layout.NetName, time.Second)); err != nil {
			fmt.Fprintln(c.Err, err) // the daemon is gone: that is an end like any other
		}
		return nil
	})
}

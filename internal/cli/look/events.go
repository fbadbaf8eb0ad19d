package look

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/api"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/terminal"
)

func eventsCommand(e *env.Env) *cobra.Command {
	all, asJSON := false, false
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens in the network",
		Long: `Prints a line for what happens from now on, until the node ends or Ctrl-C is pressed: nodes that
come and go, paths that change and stay so, members that join, wait, leave or are removed,
other owners, another policy.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.Layout()
			if err != nil {
				return err
			}
			node := api.NewClient(l.ForClient().PidFile)
			print := func(ev events.Event) error {
				_, err := fmt.Fprintf(e.Out, "%s  %-17s  %s\n", ev.Time.Local().Format(time.DateTime), ev.Event, control.OneLine(ev.Text))
				return err
			}
			if asJSON {
				out := json.NewEncoder(e.Out)
				print = func(ev events.Event) error { return out.Encode(ev) }
			}
			err = ended(e)(command.Interrupted(func(ctx context.Context) error { return node.Events(ctx, all, print) }))
			if err == nil {
				return nil
			}
			if none := e.Ask(func(*control.Client) error { return nil }); none != nil {
				return none
			}
			if !errors.Is(err, api.ErrNoSocket) {
				return err
			}
			return terminal.Hint(err, "only a tincan of this version or a newer one has the socket; its log says why it could not be opened, if it tried: restart the node")
		},
	}
	c.Flags().BoolVar(&all, "all", false, "begin with what the node remembers")
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each event, for programs")
	return c
}

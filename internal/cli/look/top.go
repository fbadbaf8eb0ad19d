package look

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/top"
	"tincan/internal/command"
	"tincan/internal/control"
)

func topCommand(e *env.Env) *cobra.Command {
	var (
		delay  time.Duration
		count  int
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "top",
		Short: "Show the traffic of all nodes, live",
		Long: `Shows the traffic with each node, the path of its packets, their round trip time and
loss, once a second. Keys:

  n          order by name
  i I o O    by bytes or packets received, by bytes or packets sent
  t T        by bytes or packets in both directions
  c          totals since the start instead of rates, and back
  b k M G    bytes, kilobytes, megabytes, gigabytes
  s          change the delay (in seconds)
  arrows     scroll; also Page Up, Page Down, Home, End
  q          quit

If the output is not a terminal, one table is printed, or several with --count.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if count < 0 || delay <= 0 {
				return errors.New("--delay must be above 0, and --count must not be negative")
			}
			ctx, stop := command.Interruptible()
			defer stop()
			return e.Ask(func(n *control.Client) error {
				title := "tincan"
				if l, err := e.Layout(); err == nil && l.NetName != "" {
					title += " " + l.NetName
				}
				m := top.NewModel(title, delay)
				in, out, live := e.Screen()
				switch {
				case asJSON:
					return top.PrintJSON(ctx, e.Out, n, m, count)
				case live && !cmd.Flags().Changed("count"):
					return top.Run(ctx, in, out, n, m)
				}
				return top.Print(ctx, e.Out, n, m, max(count, 1))
			})
		},
	}
	c.Flags().DurationVar(&delay, "delay", time.Second, "`time` between two samples")
	c.Flags().IntVar(&count, "count", 1, "`number` of tables to print; with --json, 0 means until interrupted")
	c.Flags().BoolVar(&asJSON, "json", false, "print one line of JSON for each sample, for programs")
	return c
}

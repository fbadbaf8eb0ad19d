package cli

import (
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/control"
)

func (a *app) statusCommand() *cobra.Command {
	asJSON, drops := false, false
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the mesh: who is there and how packets get there",
		Long: `Shows this node and all others: their addresses in the VPN, the way packets take
(direct by UDP, direct by TCP, or relayed by another node), the address on the
network below, round trip time, loss if there is some, path MTU and traffic.`,
		Args: between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			return a.ask(func(c *control.Client) error {
				s, err := c.Status()
				if err != nil {
					return err
				}
				if drops && !asJSON {
					return s.WriteDrops(a.Out, time.Now())
				}
				if !asJSON {
					return s.WriteText(a.Out, time.Now())
				}
				return a.printJSON(s)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	c.Flags().BoolVar(&drops, "drops", false, "show why packets were dropped, how many and when the last one was")
	return c
}

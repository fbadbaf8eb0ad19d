package look

import (
	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/control"
	"tincan/internal/metrics"
)

func metricsCommand(e *env.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "metrics",
		Short: "Show the state of the node as Prometheus reads it",
		Long: `Prints the metrics of the node once, in Prometheus' text format, for example for the
textfile collector of node_exporter. With "Metrics = ADDRESS [PORT]" in tinc.conf the node
serves them itself: http://ADDRESS:9655/metrics, and all nodes of the mesh for Prometheus'
http_sd_configs at /targets (docs/monitoring.md).`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			return e.Ask(func(c *control.Client) error {
				s, err := c.Status()
				if err != nil {
					return err
				}
				return metrics.Write(e.Out, &s, metrics.ProcessOf(s.PID, s.Started))
			})
		},
	}
}

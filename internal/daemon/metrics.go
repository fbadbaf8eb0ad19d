package daemon

import (
	"context"
	"net"
	"time"

	"tincan/internal/control"
	"tincan/internal/mesh"
	"tincan/internal/metrics"
)

const (
	// metricsPort is the one that Metrics does not name.
	metricsPort = "9655"
	// metricsAgain is the pause after the address could not be used: it may be one of the VPN that the interface gets later.
	metricsAgain = 30 * time.Second
)

// serveMetrics answers Prometheus, if the configuration names an address for that.
func (d *Daemon) serveMetrics(ctx context.Context) {
	at := d.network().Settings.Metrics
	if at.Host == "" {
		return
	}
	if at.Port == "" {
		at.Port = metricsPort
	}
	if at.Host == "*" {
		at.Host = ""
	}
	address := net.JoinHostPort(at.Host, at.Port)
	for told := false; ; told = true {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", address)
		if err == nil {
			d.log.printf(0, mesh.Notice, "metrics at http://%s/metrics", l.Addr())
			metrics.Serve(ctx, l, func() control.Status { return control.Picture(&backend{d}) })
		} else if !told && ctx.Err() == nil {
			d.log.printf(0, mesh.Warning, "metrics: %v; trying again every %v", err, metricsAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(metricsAgain):
		}
	}
}

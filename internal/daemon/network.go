package daemon

import (
	"context"

	"tincan/internal/mesh"
	"tincan/internal/netwatch"
)

// watchNetwork tells the brain when this machine has moved to another network.
func (d *Daemon) watchNetwork(ctx context.Context) {
	netwatch.Run(ctx, netwatch.Config{
		Ignore:  func(name string) bool { return name == d.face.name },
		Changed: func(reason string) { d.event(mesh.NetworkChanged{Reason: reason}) },
		Failed:  func(err error) { d.log.failed(1, mesh.Warning, err) },
	})
}

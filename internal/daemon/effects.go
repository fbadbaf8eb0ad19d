package daemon

import (
	"tincan/internal/events"
	"tincan/internal/mesh"
	"tincan/internal/route"
)

// apply carries out one effect of the protocol core. Nothing here may block.
func (d *Daemon) apply(e mesh.Effect) {
	switch e := e.(type) {
	case mesh.Dial, mesh.SendLine, mesh.Secure, mesh.SecureLegacy, mesh.Send, mesh.CloseConn, mesh.Attach, mesh.HandOver:
		d.conns.Do(e)
	case mesh.SendProbe:
		d.plane.SendProbe(e)
	case mesh.SendEcho:
		d.plane.SendEcho(e)
	case mesh.SendRecord:
		d.plane.SendRecord(e)
	case mesh.EchoResult:
		d.echoes.answered(e)
	case mesh.PathsAsked:
		d.meshView.asked(e)
	case mesh.PathsTold:
		d.meshView.told(e)
	case mesh.TunnelledData:
		d.plane.Tunnelled(e)
	case mesh.PublishPeers:
		d.plane.PublishPeers(e.Peers)
		d.pathWatch.published(e.Peers)
		d.graph.changed()
	case mesh.PublishRoutes:
		d.plane.PublishRoutes(e.Routes)
		d.naming.routes(e.Routes.Subnets)
		d.graph.changed()
	case mesh.ChangeGrants:
		d.plane.ChangeGrants(e)
	case mesh.ChangeRoutes:
		d.plane.ChangeRoutes(e)
		d.naming.change(e)
		d.graph.changed()
	case mesh.NodeUp:
		d.standby.node(e.Node, true)
		d.outside.node(e.Node, true)
		d.netif.Node(e.Node, true)
		d.seen.node(e.Node, true)
		d.distribution.nodeUp()
		d.script.NodeUp(d.env(e.Node, e.Addr))
		d.happened(events.Event{Event: events.NodeUp, Node: e.Node, Text: string(e.Node) + " is reachable"})
	case mesh.NodeDown:
		d.standby.node(e.Node, false)
		d.outside.node(e.Node, false)
		d.netif.Node(e.Node, false)
		d.seen.node(e.Node, false)
		d.script.NodeDown(d.env(e.Node, e.Addr))
		d.distribution.nodeDown(e.Node)
		d.pathWatch.down(e.Node)
		d.happened(events.Event{Event: events.NodeDown, Node: e.Node, Text: string(e.Node) + " is not reachable any more"})
	case mesh.SubnetUp:
		d.subnetUp(e)
	case mesh.SubnetDown:
		d.subnetDown(e)
	case mesh.RosterNeighbours:
		d.membership.neighbours(e.Names, e.Anew)
	case mesh.RosterReceived:
		d.membership.received(e.From, e.Data)
	case mesh.DeviceMoved:
		d.devices.moved(e.Addr)
	case mesh.Expelled:
		d.membership.expelled(e)
	case mesh.SaveKey:
		d.persister.saveKey(e.Node, e.Key)
	case mesh.SaveLearned:
		d.persister.saveLearned(e)
	case mesh.KeyContested:
		d.persister.contested(e)
	case mesh.SaveWorked:
		d.places.save(e)
	case mesh.SaveAddresses:
		d.persister.saveAddresses(e.Node, e.Addrs)
	case mesh.Log:
		d.log.fromMesh(e)
	default:
		// A test sees to it that this cannot happen. If it does, a node that works
		// but for this is better than none.
		d.log.printf(0, mesh.Error, "internal error: unhandled effect %T; please report this", e)
	}
}

// subnetUp: a subnet can be reached now.
func (d *Daemon) subnetUp(e mesh.SubnetUp) {
	d.script.SubnetUp(d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		if d.network().Settings.Mode == route.ByAddress { // else everybody is on the link
			d.netif.Add(e.Owner, e.Subnet)
		}
		d.conflicts.note(e.Owner, e.Subnet)
		d.distribution.subnetUp(e.Owner, e.Subnet)
	}
}

// subnetDown: it cannot any more.
func (d *Daemon) subnetDown(e mesh.SubnetDown) {
	d.script.SubnetDown(d.subnetEnv(e.Owner, e.Subnet, e.Addr))
	if e.Owner != d.network().Name {
		d.netif.Remove(e.Owner, e.Subnet)
		d.conflicts.forget(e.Owner, e.Subnet)
		d.distribution.subnetDown(e.Owner, e.Subnet)
	}
}

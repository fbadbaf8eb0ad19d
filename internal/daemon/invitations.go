package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

// invitations makes the server that newcomers talk to.
func (d *Daemon) invitations(s config.Settings) *invite.Server {
	return &invite.Server{
		Dir: d.opts.Layout.ConfBase, NetName: d.opts.Layout.NetName, Name: d.network().Name, Expire: s.InvitationExpire,
		Members:  newcomers{&d.membership},
		Port:     func() uint16 { return d.socks.port(d.network().Settings) },
		Taken:    d.takenSubnets,
		Known:    d.reachable,
		Accepted: d.accepted,
		Log:      func(text string) { d.log.printf(0, mesh.Notice, "%s", text) },
	}
}

// takenSubnets is what the mesh announces now, and what devices have.
func (d *Daemon) takenSubnets() []subnet.Subnet {
	out := d.devices.subnets()
	d.core.call(func(m *mesh.Mesh) {
		for _, k := range m.Subnets() {
			out = append(out, k.Subnet)
		}
	})
	return out
}

// reachable tells whether the mesh has such a node at present. One that is only
// remembered may be invited again: its host file may have been removed for that.
func (d *Daemon) reachable(name node.Name) (yes bool) {
	d.core.call(func(m *mesh.Mesh) {
		yes = slices.ContainsFunc(m.Nodes(), func(n mesh.NodeInfo) bool { return n.Name == name && (n.Reachable || n.Claimed) })
	})
	return yes
}

// serveInvitation runs in the goroutine of a connection that was handed over. That
// is closed under its hands when the node stops.
func (d *Daemon) serveInvitation(conn net.Conn, firstLine string, buffered []byte) {
	_ = d.invite.Load().Serve(context.Background(), conn, firstLine, buffered) // it has been logged
}

const defaultPort = 655

// accepted lets the mesh know a newcomer whose key has just been stored.
func (d *Daemon) accepted(name node.Name, _ keys.PublicKey, remote netip.Addr) {
	// Nothing better is known of its address; AutoConnect can use it.
	d.persister.saveAddresses(name, []netip.AddrPort{netip.AddrPortFrom(remote.Unmap(), defaultPort)})
	d.loadHost(name)
	if fresh, _, err := d.distribution.store.Survey(); err == nil { // this node may be gone when the newcomer starts
		d.distribution.letIn(fresh)
	}
	env := d.env(name, netip.AddrPort{})
	env.RemoteAddress = remote.String()
	d.script.Queue(script.InvitationAccepted, env)
}

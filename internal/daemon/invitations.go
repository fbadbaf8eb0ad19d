package daemon

import (
	"context"
	"net"
	"net/netip"

	"tincan/internal/invite"
	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/script"
	"tincan/internal/subnet"
)

// invitations makes the server that newcomers talk to.
func (d *Daemon) invitations() *invite.Server {
	return &invite.Server{
		Dir: d.opts.Layout.ConfBase, Name: d.network().Name, Expire: d.network().Settings.InvitationExpire,
		Taken:    d.takenSubnets,
		Accepted: d.accepted,
		Log:      func(text string) { d.log.printf(0, mesh.Notice, "%s", text) },
	}
}

// takenSubnets is what the mesh announces now.
func (d *Daemon) takenSubnets() []subnet.Subnet {
	known := d.subnets.Load()
	if known == nil {
		return nil
	}
	out := make([]subnet.Subnet, len(*known))
	for i, k := range *known {
		out[i] = k.Subnet
	}
	return out
}

func (d *Daemon) serveInvitation(conn net.Conn, firstLine string, buffered []byte) {
	_ = d.invite.Serve(context.Background(), conn, firstLine, buffered) // it has been logged
}

// accepted lets the mesh know a newcomer whose key has just been stored.
func (d *Daemon) accepted(name node.Name, _ keys.PublicKey, remote netip.Addr) {
	d.loadHost(name)
	env := d.env(name, netip.AddrPort{})
	env.RemoteAddress = remote.String()
	d.script.Queue(script.InvitationAccepted, env)
}

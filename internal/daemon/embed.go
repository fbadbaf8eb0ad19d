package daemon

import (
	"context"
	"io"
	"net/netip"
	"sync"

	"tincan/internal/invite"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/script"
)

// What the program that a node runs in may ask. All of it may be called from any goroutine,
// from Ready on, and also after the end.

// Alive waits until the node shows that it still works. It is false when it has ended.
func (d *Daemon) Alive() bool { return d.core.call(func(*mesh.Mesh) {}) }

// Addr is the first address that the node listens at, with TCP and UDP.
func (d *Daemon) Addr() netip.AddrPort { return d.socks.addr() }

// Nodes lists all known nodes in the order of their names; nil when the node has ended.
func (d *Daemon) Nodes() (list []mesh.NodeInfo) {
	d.core.call(func(m *mesh.Mesh) { list = m.Nodes() })
	return list
}

// Reload reads the configuration again. After an error the old one stays in use.
func (d *Daemon) Reload() error { return d.reload() }

// Invite makes an invitation for a node called name. address is where newcomers reach this node, a host and
// perhaps a port, as in an Address line; "": as the configuration says.
func (d *Daemon) Invite(ctx context.Context, name node.Name, address string) (invite.Invitation, error) {
	if !d.Alive() {
		return invite.Invitation{}, errStopping
	}
	s := d.network().Settings
	inv, err := invite.Issue(invite.Request{
		Dir: d.opts.Layout.ConfBase, NetName: d.opts.Layout.NetName, Name: d.network().Name, Invitee: name,
		Explicit: address, Port: d.socks.port(s), Expire: s.InvitationExpire,
		Taken: d.takenSubnets, Known: d.reachable,
	})
	if err != nil || !d.hasScript(script.InvitationCreated) {
		return inv, err
	}
	env := d.env(name, netip.AddrPort{})
	env.InvitationFile, env.InvitationURL = inv.File, inv.URL
	return inv, d.script.Do(ctx, script.InvitationCreated, env)
}

// closedOnce closes what it holds once, however often it is told to.
type closedOnce struct {
	io.ReadWriteCloser
	once sync.Once
	err  error
}

func (c *closedOnce) Close() error {
	c.once.Do(func() { c.err = c.ReadWriteCloser.Close() })
	return c.err
}

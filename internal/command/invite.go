package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/invite"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/script"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// Invite says whom to invite and where to.
type Invite struct {
	Layout  confdir.Layout
	Invitee string
	Address string          // in the URL: a host and perhaps a port; "": the Address of the configuration, else a guess
	Command string          // how the user calls the program for this network, for advice
	Grant   ownership.Grant // in a signed network
	// Dial connects to the running node, nil: by its pid file; what it returns is closed. Port is where the node listens,
	// 0: as the pid file says.
	Dial func() (*control.Client, error)
	Port uint16
}

// RunInvite makes the invitation and returns it. Talk goes to s.Err.
func RunInvite(ctx context.Context, r Invite, s terminal.Streams) (invite.Invitation, error) {
	network, _, err := confdir.Load(r.Layout, nil)
	if err != nil {
		return invite.Invitation{}, err
	}
	var signed *ownership.Network
	if ownership.HasRoster(r.Layout) {
		if signed, err = ownership.Open(r.Layout, r.asker(ctx)); err != nil {
			return invite.Invitation{}, err
		}
	}
	name, err := r.name(signed != nil)
	if err != nil {
		return invite.Invitation{}, err
	}
	d := r.dial(ctx)
	if d != nil {
		defer d.Close()
	}
	q := invite.Request{
		Dir: r.Layout.ConfBase, NetName: r.Layout.NetName, Name: network.Name, Invitee: name,
		Explicit: r.Address, Expire: network.Settings.InvitationExpire,
	}
	if unsafe, _ := confdir.CheckNetName(q.NetName); unsafe {
		q.NetName = "" // an invitation does not carry such a name
	}
	q.Port = r.Port
	if p, err := pidfile.Read(r.Layout.PidFile); q.Port == 0 && err == nil && d != nil {
		port, _ := strconv.ParseUint(p.Port, 10, 16)
		q.Port = uint16(port)
	}
	if d != nil {
		if q.Known, q.Taken, err = askNames(d); err != nil {
			return invite.Invitation{}, err
		}
	}
	if q.Explicit == "" && len(network.Own.Addresses) == 0 {
		q.Address = GuessAddress(network.Settings)
		if q.Address != "" {
			fmt.Fprintf(s.Err, "note: this node has no Address, so the URL contains this machine's address %s\n", q.Address)
			if ip, err := netip.ParseAddr(q.Address); err == nil && ip.IsPrivate() {
				fmt.Fprintln(s.Err, "note: that address can be used only in the same LAN")
				if other := reachableInviter(d, r.Layout); other != "" {
					fmt.Fprintf(s.Err, "note: for others, run on %s, which can be reached from everywhere: %s invite %s\n", other, r.Command, name)
				}
			}
			fmt.Fprintf(s.Err, "note: to use another one: %s set Address HOST, then invite again\n", r.Command)
		}
	}
	if signed != nil {
		return signed.Invite(q, strings.TrimPrefix(r.Invitee, "*"), r.Grant, network.Settings.Ifconfig)
	}
	inv, err := invite.Issue(q)
	if err != nil {
		return inv, err
	}
	runCreated(ctx, r.Layout, network, inv, s)
	if d != nil && inv.NewKey {
		if err := d.Reload(); err != nil {
			fmt.Fprintf(s.Err, "warning: the running daemon could not be told of the invitation: %v\n", err)
		}
	}
	return inv, nil
}

// errOpenGrant is the error for what only a signed network can do.
var errOpenGrant = errors.New("groups, uses, an end and approval of an invitation are for signed networks; this one is open")

// name is the newcomer's name, "" if the invitation is for any name, or for any that begins in the same way.
func (r Invite) name(signed bool) (node.Name, error) {
	if !signed && (len(r.Grant.Groups) > 0 || r.Grant.Uses > 1 || r.Grant.Expires != 0 || r.Grant.Approval) {
		return "", errOpenGrant
	}
	if err := r.Grant.Check(); err != nil {
		return "", err
	}
	begin, any := strings.CutSuffix(r.Invitee, "*")
	switch {
	case signed && any && begin == "":
		return "", nil
	case signed && r.Grant.Uses > 1 && !any:
		return "", fmt.Errorf("an invitation for several uses needs a name that ends in *, such as %q: each newcomer gets a number in its place", r.Invitee+"*")
	case !signed:
		begin, any = r.Invitee, false
	}
	name, err := node.ParseName(begin)
	if err != nil {
		return "", fmt.Errorf("invalid name for node: %w", err)
	}
	if any {
		name = ""
	}
	return name, nil
}

// dial connects to the daemon; nil if there is none.
func (r Invite) dial(ctx context.Context) *control.Client {
	dial := r.Dial
	if dial == nil {
		dial = func() (*control.Client, error) { return control.Dial(ctx, r.Layout.PidFile) }
	}
	d, err := dial()
	if err != nil {
		return nil
	}
	return d
}

// asker is how the running node is asked.
func (r Invite) asker(ctx context.Context) ownership.Ask {
	if r.Dial == nil {
		return asker(ctx, r.Layout)
	}
	return func(question func(*control.Client) error) error {
		c, err := r.Dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return question(c)
	}
}

// reachableInviter is a node that newcomers can reach from everywhere, see bestInviter.
func reachableInviter(d *control.Client, l confdir.Layout) node.Name {
	if d == nil {
		return ""
	}
	s, err := d.Status()
	if err != nil {
		return ""
	}
	return bestInviter(s.Nodes, func(name node.Name) []config.Address {
		h, _, err := confdir.LoadHost(l, name, nil)
		if err != nil {
			return nil
		}
		return h.Addresses
	})
}

// bestInviter is a node that is in the network now and whose host file has a public address, or the name of a
// host. One that we are connected with comes first. "" if there is none.
func bestInviter(nodes []control.NodeView, addresses func(node.Name) []config.Address) (best node.Name) {
	isPublic := func(a config.Address) bool {
		ip, err := netip.ParseAddr(a.Host)
		return err != nil || ip.IsGlobalUnicast() && !subnet.Private(netip.PrefixFrom(ip, ip.BitLen()))
	}
	for _, n := range nodes {
		switch {
		case !n.Reachable, best != "" && !n.Connected, !slices.ContainsFunc(addresses(n.Name), isPublic):
		case n.Connected:
			return n.Name
		default:
			best = n.Name
		}
	}
	return best
}

// askNames fetches what the daemon knows about names and subnets.
func askNames(d *control.Client) (known func(node.Name) bool, taken func() []subnet.Subnet, err error) {
	nodes, err := d.Nodes("")
	if err != nil {
		return nil, nil, err
	}
	list, err := d.Subnets("")
	if err != nil {
		return nil, nil, err
	}
	known = func(n node.Name) bool {
		return slices.ContainsFunc(nodes, func(i control.NodeInfo) bool { return i.Name == n })
	}
	taken = func() (all []subnet.Subnet) {
		for _, s := range list {
			if s.Owner != "" {
				all = append(all, s.Subnet)
			}
		}
		return all
	}
	return known, taken, nil
}

// runCreated runs invitation-created, which may rewrite the invitation. What it
// prints belongs to the talk: standard output is for the URL alone.
func runCreated(ctx context.Context, l confdir.Layout, n *confdir.Network, inv invite.Invitation, s terminal.Streams) {
	stderr, ok := s.Err.(*os.File)
	if !ok {
		stderr = os.Stderr
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = l.ConfBase
	}
	c := script.Config{
		Dir: l.ConfBase, WorkDir: dir, Interpreter: n.Settings.ScriptsInterpreter, Extension: n.Settings.ScriptsExtension,
		Stdout: stderr, Stderr: stderr,
	}
	_, err = c.Exec(ctx, script.InvitationCreated, script.Env{
		NetName: l.NetName, Name: string(n.Name), Node: string(inv.Invitee),
		InvitationFile: inv.File, InvitationURL: inv.URL,
	})
	if err != nil {
		fmt.Fprintf(s.Err, "warning: %v\n", err)
	}
}

// GuessAddress returns the address that this machine has towards the world, or
// towards its neighbours; "" if there is none. It sends nothing.
func GuessAddress(s config.Settings) string {
	inside := func(a netip.Addr) bool {
		return slices.ContainsFunc(s.Ifconfig, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for _, to := range []string{"192.0.2.1", "2001:db8::1"} { // documentation addresses: any route will do
		if a := netwatch.Towards(netip.MustParseAddr(to)); a.IsGlobalUnicast() && !inside(a) {
			return a.String()
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, addr := range addrs { // IPv4 first
		if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Addr().IsGlobalUnicast() && !inside(p.Addr()) {
			return p.Addr().String()
		}
	}
	return ""
}

package tincboot

// The commands of this file spread host files beside a tincd of tinc 1.0: monitor, and watch, forget and kill,
// which tincd's scripts call. A running tincan node needs none of them.

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/confdir"
	"tincan/internal/inside"
	"tincan/internal/keydist"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// MonitorCommands returns the four commands. layout finds the network when neither
// --dir nor the working directory says where it is.
func MonitorCommands(s terminal.Streams, layout func() (confdir.Layout, error)) []*cobra.Command {
	return []*cobra.Command{monitor(s, layout), watch(), forget(), kill()}
}

// variables are the environment variables that stand for options: tincd sets most
// of them for its scripts.
var variables = map[string]string{
	"iface": "INTERFACE", "name": "NAME", "dir": "DIR", "port": "PORT",
	"timeout": "TIMEOUT", "interval": "INTERVAL", "reindex": "REINDEX",
	"subnet": "SUBNET", "node": "NODE",
}

// fromEnvironment sets the options that were not given, and checks that those are
// there that have to be. A variable whose value does not fit is somebody else's.
func fromEnvironment(cmd *cobra.Command, required ...string) error {
	for option, variable := range variables {
		f := cmd.Flags().Lookup(option)
		if value, ok := os.LookupEnv(variable); ok && value != "" && f != nil && !f.Changed {
			_ = cmd.Flags().Set(option, value)
		}
	}
	for _, option := range required {
		if cmd.Flags().Lookup(option).Value.String() == "" {
			return terminal.Hint(fmt.Errorf("%s needs --%s or the variable %s", cmd.Name(), option, variables[option]), "tincd sets it for its scripts; see %s --help", cmd.CommandPath())
		}
	}
	return nil
}

// place are the options that say where a monitor is.
type place struct {
	iface string
	port  uint16
}

func (p *place) flags(c *cobra.Command) {
	c.Flags().StringVar(&p.iface, "iface", "", "VPN `interface` [$INTERFACE]")
	c.Flags().Uint16Var(&p.port, "port", keydist.Port, "`port` of the monitors [$PORT]")
}

// at is where the monitor of this machine listens.
func (p *place) at() (netip.AddrPort, error) {
	addrs, err := inside.Addresses(p.iface)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if len(addrs) == 0 {
		return netip.AddrPort{}, fmt.Errorf("the interface %q has no address", p.iface)
	}
	return netip.AddrPortFrom(addrs[0], p.port), nil
}

// subject are the options that say whom an order is about.
type subject struct{ subnet, node string }

func (s *subject) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.subnet, "subnet", "", "`subnet` of the node [$SUBNET]")
	c.Flags().StringVar(&s.node, "node", "", "name of the `node` [$NODE]")
}

func watch() *cobra.Command {
	return order("watch", "Make the monitor fetch the host file of a node (called by subnet-up)")
}

func forget() *cobra.Command {
	return order("forget", "Make the monitor forget a node (called by subnet-down)")
}

func order(what, short string) *cobra.Command {
	var p place
	var s subject
	c := &cobra.Command{
		Use: what, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, "iface", "subnet", "node"); err != nil {
				return err
			}
			at, err := p.at()
			if err != nil {
				return err
			}
			return keydist.Order(cmd.Context(), at, what, s.subnet, s.node)
		},
	}
	p.flags(c)
	s.flags(c)
	return c
}

func kill() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use: "kill", Short: "Stop the monitor (called by tinc-down)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, "iface"); err != nil {
				return err
			}
			at, err := p.at()
			if err != nil {
				return err
			}
			return keydist.OrderEnd(cmd.Context(), at)
		},
	}
	p.flags(c)
	return c
}

// monitorOptions are the options of monitor.
type monitorOptions struct {
	place
	name, dir                  string
	timeout, interval, reindex time.Duration
}

func monitor(s terminal.Streams, layout func() (confdir.Layout, error)) *cobra.Command {
	var o monitorOptions
	c := &cobra.Command{
		Use: "monitor", Short: "Distribute host files for a tincd (started by tinc-up)", Args: cobra.NoArgs,
		Long: `Serves the host file of this node inside the VPN, fetches those of the nodes that tincd's scripts
report, and adds ConnectTo lines for the nodes that have an address. It ends with
tinc-down. A node that tincan itself runs does all this without a monitor.

The directory of the network is --dir or $DIR, else the working directory if it is
one, else the directory of $NETNAME.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, "iface", "name"); err != nil {
				return err
			}
			return o.run(cmd.Context(), s, layout)
		},
	}
	o.flags(c)
	c.Flags().StringVar(&o.name, "name", "", "`name` of this node [$NAME]")
	c.Flags().StringVar(&o.dir, "dir", "", "`directory` of the network [$DIR]")
	c.Flags().DurationVar(&o.timeout, "timeout", keydist.DefaultTimeout, "longest `time` of one attempt to fetch [$TIMEOUT]")
	c.Flags().DurationVar(&o.interval, "interval", keydist.DefaultInterval, "`time` between attempts [$INTERVAL]")
	c.Flags().DurationVar(&o.reindex, "reindex", keydist.DefaultReindex, "`time` between scans of all host files [$REINDEX]")
	return c
}

// errEnded is the status of a monitor that was told to end, which tinc-boot gives.
var errEnded = errors.New("ended")

func (o monitorOptions) run(ctx context.Context, s terminal.Streams, layout func() (confdir.Layout, error)) error {
	name, err := node.ParseName(o.name)
	if err != nil {
		return err
	}
	if o.timeout <= 0 || o.interval <= 0 || o.reindex <= 0 {
		return errors.New("--timeout, --interval and --reindex must be positive")
	}
	l, err := o.layout(layout)
	if err != nil {
		return err
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	say := func(_ int, text string) { fmt.Fprintln(s.Err, text) }
	store := &keydist.Store{Layout: l, Self: name, Replace: true}
	if err := o.believeRoster(store, say); err != nil {
		return err
	}
	m := keydist.New(keydist.Config{
		Store: store, Self: name, Port: o.port,
		Device:    o.iface,
		Addresses: func() ([]netip.Addr, error) { return inside.Addresses(o.iface) },
		Timeout:   o.timeout, Interval: o.interval, Reindex: o.reindex,
		Orders: true, Index: true, Log: say,
	})
	say(0, fmt.Sprintf("monitor of %s for the network in %s", name, l.ConfBase))
	if err := m.Run(ctx); err != nil {
		return err
	}
	return errEnded
}

// believeRoster has only host files of members stored in a signed network, with the keys of the roster, and names those that
// are here though they should not be: tincd lets their nodes in.
func (o monitorOptions) believeRoster(store *keydist.Store, say func(level int, text string)) error {
	r, err := members.OpenOnDisk(store.Layout)
	if err != nil {
		return terminal.Hint(fmt.Errorf("the network is a signed one, but who belongs to it is not known: %w", err),
			"copy the file roster from a node that tincan runs, or run this one with tincan, which keeps it up to date: tincan up")
	}
	if r == nil {
		return nil
	}
	store.Roster = func(name node.Name, data []byte) (bool, error) { return true, r.Judge(name, data) }
	say(0, "the network is a signed one: host files of its members only are stored, by the roster here. tincd does not keep it up to date; tincan up does")
	names, err := store.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if data, err := store.Read(name); err == nil && name != store.Self {
			if err := r.Judge(name, data); err != nil {
				say(0, fmt.Sprintf("warning: %s is to be deleted, since tincd lets the node in by it: %v", store.Layout.Host(name), err))
			}
		}
	}
	return nil
}

// layout finds the directory of the network.
func (o monitorOptions) layout(otherwise func() (confdir.Layout, error)) (confdir.Layout, error) {
	dir := o.dir
	if dir == "" && isNetwork(".") {
		dir = "."
	}
	if dir == "" {
		return otherwise()
	}
	dir, err := filepath.Abs(dir)
	if err == nil && !isNetwork(dir) {
		err = terminal.Hint(fmt.Errorf("there is no network in %s", dir), "give its directory with --dir, which must contain tinc.conf and hosts")
	}
	return confdir.Layout{ConfBase: dir}, err
}

func isNetwork(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "tinc.conf"))
	return err == nil
}

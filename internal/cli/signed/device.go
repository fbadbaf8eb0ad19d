package signed

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

func deviceCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "device",
		Short: "Let telephones and routers in that have WireGuard",
		Long: `Devices have WireGuard and no tincan: telephones, routers. They come in at a member that is a
door (tincan admit NODE --door, and Door = yes on that node), and can then be reached from
all nodes. Each has its own key, addresses and groups, signed by an owner.`,
		Args: frontend.NoSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(deviceAddCommand(e), deviceListCommand(e), deviceRemoveCommand(e), deviceRekeyCommand(e))
	return c
}

// deviceFlags are the options of device add.
type deviceFlags struct {
	groups, addrs, routes []string
	endpoint, key, out    string
	full, asQR, asJSON    bool
}

func deviceAddCommand(e *env.Env) *cobra.Command {
	var f deviceFlags
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a device, and print its configuration for WireGuard",
		Long: `Makes a key for a device, signs the device with an owner's key, and prints the configuration
for WireGuard on it. The private key is in that and nowhere else: whoever has it is the device.
The program WireGuard on a telephone can read it from the screen (--qr).

A device that makes its key itself is added with its public key (--key). So are other groups
and addresses given to one that is there already.`,
		Args: frontend.Exactly("the NAME of the device", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := f.device(args)
			if err != nil {
				return err
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			return f.add(e, n, d)
		},
	}
	c.Flags().StringArrayVar(&f.groups, "group", nil, "a `group` for the policy; may be repeated")
	c.Flags().StringArrayVar(&f.addrs, "address", nil, "an `address` in the VPN, in place of a free one; may be repeated")
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "`host[:port]` at which the device finds the doors, best a name in DNS")
	c.Flags().StringArrayVar(&f.routes, "route", nil, "a `subnet` that the device sends into the VPN, beside the VPN's own; may be repeated")
	c.Flags().BoolVar(&f.full, "full", false, "all that the device sends goes into the VPN, and leaves it by an exit node")
	c.Flags().StringVar(&f.key, "key", "", "the public `key` of a device that has made its own, 44 characters")
	c.Flags().StringVar(&f.out, "out", "", "write the configuration to a new `file` that only you can read, in place of printing it")
	c.Flags().BoolVar(&f.asQR, "qr", false, "show the configuration as a QR code, for a camera, in place of printing it")
	frontend.JSONFlag(c, &f.asJSON)
	return c
}

// device reads the arguments.
func (f deviceFlags) device(args []string) (d command.NewDevice, err error) {
	d.Groups, d.Endpoint = f.groups, f.endpoint
	if d.Name, err = oneName(args); err != nil {
		return d, err
	}
	for _, text := range f.addrs {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return d, fmt.Errorf("--address %.60q: not an IP address", text)
		}
		d.Addrs = append(d.Addrs, a.Unmap())
	}
	for _, text := range f.routes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return d, fmt.Errorf("--route %.60q: not a subnet, as in 192.168.50.0/24", text)
		}
		d.Routes = append(d.Routes, p)
	}
	d.Full = f.full
	if f.key != "" {
		key, err := roster.ParseWireGuardKey(f.key)
		if err != nil {
			return d, fmt.Errorf("--key: %w", err)
		}
		d.Key = &key
	}
	return d, nil
}

func (f deviceFlags) add(e *env.Env, n *ownership.Network, d command.NewDevice) error {
	d.Command = e.Self()
	_ = e.Ask(func(c *control.Client) error {
		list, err := c.Subnets("")
		for _, s := range list {
			d.Running = append(d.Running, s.Subnet)
		}
		return err
	})
	added, err := command.AddDevice(n, d)
	if err != nil {
		return err
	}
	if added.Guessed {
		e.Say("note: this node has no Address, so the configuration has this machine's address %s; to use another one: --endpoint HOST, or %s set Address HOST", added.Endpoint, e.Self())
	}
	if !runs(e) {
		e.Say("this node does not run: the doors hear of the device when it does: %s up", e.Self())
	}
	return f.show(e, added)
}

// show prints the configuration, once.
func (f deviceFlags) show(e *env.Env, added command.AddedDevice) error {
	if f.out != "" {
		path, err := filepath.Abs(f.out)
		if err != nil {
			return err
		}
		if err := confdir.Create(path, []byte(added.Text), confdir.SecretMode); err != nil {
			return err
		}
		e.Say("%s is in %s; whoever has that file is the device", added.Name, path)
	}
	if f.asQR {
		drawing, err := terminal.QR(added.Text)
		if err != nil {
			return err
		}
		e.Say("%s", drawing)
	}
	switch {
	case f.asJSON:
		return e.PrintJSON(report.NewAddedDevice(added.Name, added.Key.String(), added.DoorKey.String(), added.Addresses, added.Endpoint, added.Text))
	case f.out == "" && !f.asQR:
		_, err := fmt.Fprint(e.Out, added.Text)
		return err
	}
	return nil
}

func deviceListCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List the devices, and where they are",
		Long: `Lists the devices: name, addresses, groups, the door at which each was heard from last, and if
that is this node, when it last shook hands and from where.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			v, err := view(e)
			if err != nil {
				return err
			}
			if asJSON {
				return e.PrintJSON(report.NewDevices(v))
			}
			if v.Network == "" {
				_, err := open(e) // which says what to do
				return err
			}
			return report.WriteDevices(e.Out, v, report.Form{Now: time.Now(), Command: e.Self()})
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

func deviceRemoveCommand(e *env.Env) *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a device, for ever",
		Long: `Removes the key of a device, for ever. All doors end its session as soon as they hear of it. Its
name and its addresses can be given to another device. Needs the key of an owner with the right
remove.`,
		Args: frontend.Exactly("the NAME of a device", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := oneName(args)
			if err != nil {
				return err
			}
			n, err := open(e)
			if err != nil {
				return err
			}
			if err := n.RemoveDevice(name, reason); err != nil {
				return frontend.Suggest(err, string(name), func() []string { return deviceNames(n) })
			}
			e.Say("the device %s is removed from the network, for ever", name)
			if !runs(e) {
				e.Say("this node does not run: the doors hear of it when it does: %s up", e.Self())
			}
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "a `text` that everybody can read, up to 200 bytes")
	return c
}

// deviceNames are the names of devices.
func deviceNames(n *ownership.Network) (names []string) {
	for _, d := range n.Roster.State().Devices {
		names = append(names, string(d.Name))
	}
	return names
}

func deviceRekeyCommand(e *env.Env) *cobra.Command {
	yes := false
	c := &cobra.Command{
		Use:   "rekey",
		Short: "Give the doors another key, and so all devices",
		Long: `Gives all doors another key. A member that was a door knows the one before, also when it is no
member any more: until then it could pass itself off as a door to a device that it can lure to
its address. Afterwards no device comes in until its configuration has the new public key,
which is printed.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			n, err := open(e)
			if err != nil {
				return err
			}
			alone := terminal.Hint(fmt.Errorf("%d devices would need another configuration", len(n.Roster.State().Devices)), "to do it without being asked: %s device rekey --yes", e.Self())
			if err := confirm(e, yes, "shut all devices out until they have the new key?", alone); err != nil {
				return err
			}
			key, err := n.RekeyDoors()
			if err != nil {
				return err
			}
			e.Say("the doors have another key; in the configuration of each device, below [Peer]:")
			_, err = fmt.Fprintf(e.Out, "PublicKey = %s\n", key)
			return err
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

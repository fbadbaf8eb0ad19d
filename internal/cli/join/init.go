package join

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/config"
	"tincan/internal/generate"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

// initFlags are the options of init, as text.
type initFlags struct {
	network, address, public string
	port                     uint16
	anyPort                  bool // any free one
	tincUp, force, json      bool
	open                     bool
}

func initCommand(e *env.Env) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init NAME",
		Short: "Create a network with this machine as its first node",
		Long: `Makes the files of a new network: the name of this node, its keys and its
address in the VPN. Others join it with the URLs that "tincan invite" prints.

The network is a signed one: only who was invited belongs to it, and "tincan remove"
excludes a node for ever. The owner's key (owner_key.priv) stays on this machine; the
recovery key is shown this once. With --open all members believe each other, as with tinc.

Without -n the network is called dnet; -n . puts its files into /etc/tinc itself.
The network has a range of addresses, by default a random 10.x.0.0/16, and each
node that joins gets one of them.`,
		Args: frontend.Exactly("NAME", 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.anyPort = cmd.Flags().Changed("port") && f.port == 0
			return makeNetwork(e, args[0], f)
		},
	}
	frontend.JSONFlag(c, &f.json)
	c.Flags().StringVar(&f.network, "range", "", "`network` of the VPN (default a random 10.x.0.0/16)")
	c.Flags().StringVar(&f.address, "address", "", "`address` of this node in the VPN (default the first of the range)")
	c.Flags().StringVar(&f.public, "public", "", "`host[:port]` where others reach this machine")
	c.Flags().Uint16Var(&f.port, "port", 0, "`port` to listen on; 0 takes a free one (default 655, or a free one if that is in use)")
	c.Flags().BoolVar(&f.force, "force", false, "use the range of --range even if it is public or overlaps with a network of this machine")
	c.Flags().BoolVar(&f.open, "open", false, "make an open network, without owners, as tinc does")
	c.Flags().BoolVar(&f.tincUp, "tinc-up", false, "leave addresses to a tinc-up script, as tinc does")
	return c
}

func makeNetwork(e *env.Env, text string, f initFlags) error {
	name, err := node.ParseName(text)
	if err != nil {
		return err
	}
	if e.Place.Net == "" && e.Place.Conf == "" {
		if nets := e.Networks(); len(nets) > 0 {
			return terminal.Hint(fmt.Errorf("there is a network on this machine already: %s", strings.Join(nets, " ")), "name the new one: tincan -n NETWORK init %s", text)
		}
		e.Place.Net = command.DefaultNetwork
	}
	l, err := e.Layout()
	if err != nil {
		return err
	}
	n := generate.Node{Layout: l, Name: name, Port: int(f.port)}
	if n.VPN, err = f.vpn(); err != nil {
		return err
	}
	if err := checkRange(e, text, n.VPN, f.force); err != nil {
		return err
	}
	if f.public != "" {
		public, err := command.PublicAddress(f.public)
		if err != nil {
			return fmt.Errorf("--public %w", err)
		}
		n.Public = []config.Address{public}
	}
	if f.anyPort {
		if n.Port, err = generate.FreePort(); err != nil {
			return err
		}
	}
	_, missing := os.Lstat(l.ConfBase)
	port, err := n.Create()
	if errors.Is(err, generate.ErrExists) {
		return terminal.Hint(err, "choose another network with -n, or look at this one with: %s get Name", e.Self())
	}
	if err != nil {
		return unprivileged(e, err)
	}
	var signed ownership.Adopted
	if !f.open {
		if signed, err = ownership.Begin(l); err != nil {
			if errors.Is(missing, fs.ErrNotExist) {
				os.RemoveAll(l.ConfBase)
			}
			return fmt.Errorf("making a signed network: %w", err)
		}
	}
	e.Say("created node %s in %s", name, l.ConfBase)
	if n.VPN.IsValid() {
		e.Say("its address in the VPN is %s", n.VPN)
	} else {
		e.Say("fill in %s to give it an address", l.Script("tinc-up"))
	}
	switch {
	case f.port == 0 && !f.anyPort && port != generate.DefaultPort:
		e.Say("it will listen on port %d, because port %d is in use", port, generate.DefaultPort)
	default:
		e.Say("it will listen on port %d", port)
	}
	if !f.open && !f.json {
		if err := signed.Show(l, e.Streams); err != nil {
			return err
		}
	}
	sayNext(e, e.Place.Net, e.Place.Conf)
	if f.json {
		made := report.Made{Name: name, Network: l.NetName, Directory: l.ConfBase, Port: port}
		if !f.open {
			made.ID, made.Owner, made.Recovery = signed.ID.String(), l.OwnerKey(), signed.Recovery
		}
		if n.VPN.IsValid() {
			made.Address = n.VPN.String()
		}
		return e.PrintJSON(made)
	}
	return nil
}

// checkRange refuses the range of a VPN that this machine can reach outside of the VPN.
func checkRange(e *env.Env, name string, vpn netip.Prefix, force bool) error {
	if r := vpn.Masked(); vpn.IsValid() && !subnet.Private(r) {
		if !force {
			return terminal.Hint(fmt.Errorf("the range %v is not a private one: machines of the Internet with these addresses could not be reached any more", r),
				"%s init %s --range %v; or use it nevertheless with --force, if it is yours", e.Self(), command.Quote(name), generate.RandomRange())
		}
		e.Say("warning: the range %v is not a private one: machines of the Internet with these addresses cannot be reached any more, unless it is yours", r)
	}
	other := ""
	if vpn.IsValid() {
		other = generate.Overlap(vpn.Masked())
	}
	switch {
	case other == "":
		return nil
	case force:
		e.Say("warning: the range %v overlaps with %s: machines there and nodes of the VPN may not be reached", vpn.Masked(), other)
		return nil
	}
	return terminal.Hint(fmt.Errorf("the range %v overlaps with %s", vpn.Masked(), other),
		"%s init %s --range %v; or use it nevertheless with --force", e.Self(), command.Quote(name), generate.RandomRange())
}

// warnOfOverlaps says that addresses that somebody else has chosen do not fit here.
func warnOfOverlaps(e *env.Env, list []string) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.IsSingleIP() {
			continue
		}
		if other := generate.Overlap(p.Masked()); other != "" {
			e.Say("warning: the range %v of the VPN overlaps with %s: a node with the address of a machine there cannot be reached from here", p.Masked(), other)
		}
	}
}

// vpn is the address of the new node with the length of its network.
func (f initFlags) vpn() (netip.Prefix, error) {
	if f.tincUp {
		if f.network != "" || f.address != "" {
			return netip.Prefix{}, errors.New("--tinc-up leaves the addresses to the script, so --range and --address cannot be used with it")
		}
		return netip.Prefix{}, nil
	}
	network := generate.RandomRange()
	if f.network != "" {
		var err error
		if network, err = netip.ParsePrefix(f.network); err != nil {
			return network, fmt.Errorf("--range %q: write a network such as 10.7.0.0/16", f.network)
		}
	}
	if f.address == "" {
		return generate.FirstAddress(network)
	}
	addr, err := netip.ParseAddr(f.address)
	if err != nil {
		// An address with a length says both.
		p, err := netip.ParsePrefix(f.address)
		if err != nil || f.network != "" && p.Masked() != network {
			return p, fmt.Errorf("--address %q: write an address such as 10.7.0.1, in the network of --range", f.address)
		}
		return generate.InRange(p.Masked(), p.Addr())
	}
	if f.network == "" {
		if !addr.Is4() {
			return netip.Prefix{}, errors.New("give --range too, so that the size of the network is known")
		}
		network = netip.PrefixFrom(addr, 16).Masked()
	}
	return generate.InRange(network, addr)
}

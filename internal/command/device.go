package command

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/command/ownership"
	"tincan/internal/config"
	"tincan/internal/invite"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

const (
	// deviceMTU leaves room for what tinc and WireGuard add, also where a line takes some for itself (PPPoE, mobile networks).
	deviceMTU = 1380
	// deviceKeepalive is how often a device shows routers that it is still there, in seconds.
	deviceKeepalive = 25
)

// NewDevice says which device is added, and what its configuration says.
type NewDevice struct {
	Name     node.Name
	Groups   []string
	Addrs    []netip.Addr         // nil: one of each range of the network is chosen
	Endpoint string               // where it finds a door: HOST or HOST:PORT; "": what is known of the doors
	Routes   []netip.Prefix       // what it sends into the VPN beside the network's ranges
	Full     bool                 // it sends everything into the VPN
	Key      *roster.WireGuardKey // of a device that has made its own; nil: a key is made here
	Running  []subnet.Subnet      // what the running network announces
	Command  string               // how commands for the network begin, for hints
}

// AddedDevice is what came of it.
type AddedDevice struct {
	Name      node.Name
	Key       roster.WireGuardKey
	DoorKey   roster.WireGuardKey
	Addresses []netip.Addr
	Endpoint  string
	Guessed   bool   // the endpoint is this machine's address in its own network
	Text      string // the configuration, with the private key if that was made here. It is nowhere else
}

// AddDevice adds a device to a signed network, or gives one whose key it has other groups or addresses.
func AddDevice(n *ownership.Network, d NewDevice) (AddedDevice, error) {
	old := n.Roster.State().Device(d.Name)
	if old != nil && (d.Key == nil || *d.Key != old.Key) {
		return AddedDevice{}, terminal.Hint(fmt.Errorf("adding the device %s: there is one of that name (%s)", d.Name, roster.Fingerprint(old.Key)),
			"another key: %[1]s device remove %[2]s, then add it again; other groups or addresses: give its key: --key %[3]s", d.Command, d.Name, old.Key)
	}
	if old != nil && d.Addrs == nil {
		for _, s := range old.Subnets {
			d.Addrs = append(d.Addrs, s.Prefix().Addr())
		}
	}
	out := AddedDevice{Name: d.Name, Addresses: d.Addrs}
	err := n.CanAddDevice(d.Name)
	if err != nil {
		return out, err
	}
	if out.Endpoint, out.Guessed, err = doorOf(n, d.Endpoint); err != nil {
		return out, err
	}
	ranges := n.Files.Settings.Ifconfig
	if out.Addresses == nil {
		for _, p := range ranges {
			picked, err := invite.PickAddress(n.Layout.ConfBase, n.Files.Name, p, append(slices.Clone(d.Running), n.Granted()...))
			if err != nil {
				return out, err
			}
			out.Addresses = append(out.Addresses, picked.Addr())
		}
	}
	if len(out.Addresses) == 0 {
		return out, terminal.Hint(fmt.Errorf("adding the device %s: this node has no address in the VPN, so none can be chosen for the device", d.Name), "say one (--address)")
	}
	private := "" // in the configuration
	if d.Key != nil {
		out.Key = *d.Key
	} else if out.Key, private, err = newWireGuardKey(); err != nil {
		return out, err
	}
	dev := roster.Device{Name: d.Name, Key: out.Key, Groups: d.Groups}
	for _, a := range out.Addresses {
		dev.Subnets = append(dev.Subnets, subnet.FromPrefix(netip.PrefixFrom(a, a.BitLen())))
	}
	if out.DoorKey, err = n.AddDevice(dev); err != nil {
		return out, err
	}
	if d.Full {
		ranges, d.Routes = nil, []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	}
	out.Text = out.configuration(private, allowed(ranges, d.Routes))
	return out, nil
}

// newWireGuardKey makes a key pair; private is the text of the private half.
func newWireGuardKey() (public roster.WireGuardKey, private string, err error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return public, "", err
	}
	return roster.WireGuardKey(key.PublicKey().Bytes()), base64.StdEncoding.EncodeToString(key.Bytes()), nil
}

// allowed are the prefixes that a device sends into the VPN.
func allowed(ranges, routes []netip.Prefix) (list []netip.Prefix) {
	for _, p := range slices.Concat(ranges, routes) {
		if p = p.Masked(); !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// configuration is that of the device, as WireGuard's programs read it.
func (a AddedDevice) configuration(private string, allowed []netip.Prefix) string {
	var b strings.Builder
	b.WriteString("[Interface]\n")
	if private != "" {
		fmt.Fprintf(&b, "PrivateKey = %s\n", private)
	}
	fmt.Fprintf(&b, "Address = %s\nMTU = %d\n\n[Peer]\n", join(a.Addresses), deviceMTU)
	fmt.Fprintf(&b, "PublicKey = %s\nEndpoint = %s\nAllowedIPs = %s\nPersistentKeepalive = %d\n", a.DoorKey, a.Endpoint, join(allowed), deviceKeepalive)
	return b.String()
}

func join[T fmt.Stringer](list []T) string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}

// doorOf is where a device finds a door: as told, or else at this node if it is one, or at another one whose Address is known.
func doorOf(n *ownership.Network, told string) (endpoint string, guessed bool, err error) {
	if told != "" {
		a, err := PublicAddress(told)
		if err != nil {
			return "", false, fmt.Errorf("--endpoint: %w", err)
		}
		port := ownDoorPort(n.Files.Settings)
		if p, err := strconv.ParseUint(a.Port, 10, 16); err == nil && p > 0 {
			port = strconv.FormatUint(p, 10)
		}
		return net.JoinHostPort(a.Host, port), false, nil
	}
	var others []string
	for _, m := range n.Doors() {
		if m.Name == n.Files.Name {
			if own := n.Files.Own.Addresses; len(own) > 0 {
				return net.JoinHostPort(own[0].Host, ownDoorPort(n.Files.Settings)), false, nil
			}
			if host := GuessAddress(n.Files.Settings); host != "" && n.Files.Settings.Door {
				endpoint, guessed = net.JoinHostPort(host, ownDoorPort(n.Files.Settings)), true
			}
			continue
		}
		if known := n.Files.Hosts[m.Name].Addresses; len(known) > 0 {
			others = append(others, net.JoinHostPort(known[0].Host, defaultDoorPort))
		}
	}
	if len(others) > 0 {
		return others[0], false, nil
	}
	if endpoint != "" {
		return endpoint, guessed, nil
	}
	return "", false, terminal.Hint(errors.New("the address of no door is known here"), "say where the device finds one (--endpoint HOST or HOST:PORT), best a DNS name with the addresses of all doors")
}

// defaultDoorPort is where other nodes have their door, unless told.
const defaultDoorPort = "51820"

// ownDoorPort is where this node has its door, or would have.
func ownDoorPort(s config.Settings) string { return strconv.Itoa(s.DoorPort) }

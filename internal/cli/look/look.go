// Package look has the commands that look at a network and its nodes and change nothing.
package look

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/control"
	"tincan/internal/nearest"
	"tincan/internal/node"
	"tincan/internal/terminal"
	"tincan/internal/zone"
)

// Commands are these commands.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{
		statusCommand(e), pingCommand(e), whyCommand(e), netCheckCommand(e), topCommand(e),
		dumpCommand(e), infoCommand(e), logCommand(e), eventsCommand(e), pcapCommand(e), checkCommand(e), metricsCommand(e), uiCommand(e),
	}
}

// like is the node with a name like this one; "" if there is none, or one of exactly this name.
func like(c *control.Client, name node.Name) string {
	return nearest.To(string(name), env.NodeNames(c))
}

// notOurs adds advice to the error of a daemon that does not know a question.
func notOurs(err error) error {
	if errors.Is(err, control.ErrUnsupported) {
		return terminal.Hint(err, "this network is run by tinc, or by an older tincan: restart it with this one")
	}
	return err
}

// nodeOf finds the node that is meant: by its name, or as the owner of an address.
func nodeOf(c *control.Client, about string) (node.Name, error) {
	addr, err := netip.ParseAddr(about)
	if err != nil && strings.Contains(about, ".") {
		return named(c, about)
	}
	if err != nil {
		n, err := node.ParseName(about)
		if err != nil {
			return "", fmt.Errorf("%q is neither a node nor an address in the VPN", about)
		}
		return n, nil
	}
	subnets, err := c.Subnets(about)
	if err != nil {
		return "", err
	}
	best := node.Name("")
	bits := -1
	for _, s := range subnets {
		if p := s.Subnet.Prefix(); s.Owner != "" && p.IsValid() && p.Masked().Contains(addr.Unmap()) && p.Bits() > bits {
			best, bits = s.Owner, p.Bits()
		}
	}
	if best == "" {
		return "", fmt.Errorf("no node has the address %s", addr)
	}
	return best, nil
}

// named is the node with a name in DNS, such as bob.home.internal.
func named(c *control.Client, about string) (node.Name, error) {
	s, err := c.Status()
	if err != nil {
		return "", err
	}
	if s.Names == nil {
		return "", fmt.Errorf("%q is neither a node nor an address in the VPN, and this node has no names in DNS", about)
	}
	label, ok := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(about, ".")), "."+s.Names.Domain)
	if !ok {
		return "", fmt.Errorf("%q is neither a node nor an address in the VPN; names of nodes end in .%s", about, s.Names.Domain)
	}
	var found []node.Name
	for _, n := range append([]control.NodeView{s.Self}, s.Nodes...) {
		if strings.EqualFold(string(n.Name), label) {
			found = append(found, n.Name)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no node has the name %q", about)
	}
	return slices.MinFunc(found, zone.Compare), nil
}

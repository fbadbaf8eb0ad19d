package cli

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
	"tincan/internal/control"
	"tincan/internal/nearest"
	"tincan/internal/node"
)

func (a *app) reloadCommand() *cobra.Command {
	return a.simple("reload", "Let the node read its files again", "Lets the running node read its files again. If they are broken it keeps what it had.", (*control.Client).Reload)
}

func (a *app) retryCommand() *cobra.Command {
	return a.simple("retry", "Dial now whoever is waited for", "Lets the node dial at once all the nodes that it is waiting to dial again.", (*control.Client).Retry)
}

// simple is a command without arguments or results.
func (a *app) simple(name, short, long string, do func(*control.Client) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long,
		Args: between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error { return a.ask(do) },
	}
}

func (a *app) connectCommand() *cobra.Command {
	return a.withNode("connect", "Connect with a node now", func(c *control.Client, n node.Name) error {
		err := c.Connect(n)
		if err != nil {
			err = fmt.Errorf("could not connect to %q: %w", n, err)
		}
		return err
	})
}

func (a *app) disconnectCommand() *cobra.Command {
	return a.withNode("disconnect", "Close the connections with a node", func(c *control.Client, n node.Name) error {
		found, err := c.Disconnect(n)
		if err == nil && !found {
			err = fmt.Errorf("there is no connection with %q", n)
		}
		return err
	})
}

// meant adds a hint to an error about a node that there is not: the one that may have been meant.
func meant(c *control.Client, name node.Name, err error) error {
	var hinted interface{ Hint() string }
	if err == nil || errors.As(err, &hinted) {
		return err
	}
	if other := like(c, name); other != "" {
		return terminal.Hint(err, "did you mean %q?", other)
	}
	return err
}

// like is the node with a name like this one; "" if there is none, or one of exactly this name.
func like(c *control.Client, name node.Name) string {
	nodes, _ := c.Nodes("")
	var names []string
	for _, n := range nodes {
		names = append(names, string(n.Name))
	}
	if slices.Contains(names, string(name)) {
		return ""
	}
	return nearest.To(string(name), names)
}

// withNode is a command about one node.
func (a *app) withNode(name, short string, do func(*control.Client, node.Name) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " NODE", Short: short,
		Args: exactly("the name of a NODE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.ask(func(c *control.Client) error { return meant(c, n, do(c, n)) })
		},
	}
}

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"tincan/internal/cli/frontend"
	"tincan/internal/control"
	"tincan/internal/nearest"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

func (a *app) reloadCommand() *cobra.Command {
	return a.simple("reload", "Make the node read its files again", "Makes the running node read its files again. If they have errors, it keeps its current configuration.", (*control.Client).Reload)
}

func (a *app) retryCommand() *cobra.Command {
	return a.simple("retry", "Dial all waiting nodes now", "Dials all nodes now that the running node would dial again only after a pause.", (*control.Client).Retry)
}

// simple is a command without arguments or results.
func (a *app) simple(name, short, long string, do func(*control.Client) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long,
		Args: frontend.Between("no arguments", 0, 0),
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

// suggest adds a hint to an error about a name: the one of names that may have been meant. An error that brings
// advice stays as it is.
func suggest(err error, name string, names func() []string) error {
	if err == nil || frontend.Hinted(err) {
		return err
	}
	if other := nearest.To(name, names()); other != "" {
		return terminal.Hint(err, "did you mean %q?", other)
	}
	return err
}

// meant is suggest with the nodes that the running one knows.
func meant(c *control.Client, name node.Name, err error) error {
	return suggest(err, string(name), func() []string { return nodeNames(c) })
}

// like is the node with a name like this one; "" if there is none, or one of exactly this name.
func like(c *control.Client, name node.Name) string { return nearest.To(string(name), nodeNames(c)) }

// nodeNames are the names of the nodes that the running one knows.
func nodeNames(c *control.Client) (names []string) {
	nodes, _ := c.Nodes("")
	for _, n := range nodes {
		names = append(names, string(n.Name))
	}
	return names
}

// withNode is a command about one node.
func (a *app) withNode(name, short string, do func(*control.Client, node.Name) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " NODE", Short: short,
		Args: frontend.Exactly("the name of a NODE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			return a.ask(func(c *control.Client) error { return meant(c, n, do(c, n)) })
		},
	}
}

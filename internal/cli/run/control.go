package run

import (
	"fmt"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/control"
	"tincan/internal/node"
)

func reloadCommand(e *env.Env) *cobra.Command {
	return simple(e, "reload", "Make the node read its files again", "Makes the running node read its files again. If they have errors, it keeps its current configuration.", (*control.Client).Reload)
}

func retryCommand(e *env.Env) *cobra.Command {
	return simple(e, "retry", "Dial all waiting nodes now", "Dials all nodes now that the running node would dial again only after a pause.", (*control.Client).Retry)
}

// simple is a command without arguments or results.
func simple(e *env.Env, name, short, long string, do func(*control.Client) error) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error { return e.Ask(do) },
	}
}

func connectCommand(e *env.Env) *cobra.Command {
	return withNode(e, "connect", "Connect with a node now", func(c *control.Client, n node.Name) error {
		err := c.Connect(n)
		if err != nil {
			err = fmt.Errorf("could not connect to %q: %w", n, err)
		}
		return err
	})
}

func disconnectCommand(e *env.Env) *cobra.Command {
	return withNode(e, "disconnect", "Close the connections with a node", func(c *control.Client, n node.Name) error {
		found, err := c.Disconnect(n)
		if err == nil && !found {
			err = fmt.Errorf("there is no connection with %q", n)
		}
		return err
	})
}

// withNode is a command about one node.
func withNode(e *env.Env, name, short string, do func(*control.Client, node.Name) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " NODE", Short: short,
		Args: frontend.Exactly("the name of a NODE", 1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			return e.Ask(func(c *control.Client) error { return env.Meant(c, n, do(c, n)) })
		},
	}
}

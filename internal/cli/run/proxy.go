package run

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/rootless"
	"tincan/internal/proxyserver"
)

func proxyCommand(e *env.Env) *cobra.Command {
	var f rootlessFlags
	var p rootless.ProxyOptions
	var in, out []string
	var passwordFile string
	c := &cobra.Command{
		Use:   "proxy",
		Short: "Serve proxies into the network, without root",
		Long: `Starts the node in this process and serves, until Ctrl-C: a SOCKS 5 proxy, an HTTP proxy,
ports of this machine that lead into the network (-L), and ports of this node in the
network that lead to this machine (-R). No root is needed.

Names are those of nodes. Only what other nodes have can be reached through the proxies.
They listen at loopback addresses; at others only with --password-file.

Connections are the kernel's own, in a network namespace as with tincan exec. Where the system
does not permit that, or is not Linux, they are made by a TCP/IP stack that is part of this
program; --userspace asks for it.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			var err error
			if p.In, err = forwardings(in); err != nil {
				return err
			}
			if p.Out, err = forwardings(out); err != nil {
				return err
			}
			if passwordFile != "" {
				if p.Login, err = readLogin(passwordFile); err != nil {
					return err
				}
			}
			if err := p.Check(); err != nil {
				return err
			}
			o, done, err := f.options(e)
			if err != nil {
				return err
			}
			defer done()
			p.Ready = func(lines []string) {
				for _, line := range lines {
					e.Say("%s", line)
				}
			}
			return rootless.Proxy(context.Background(), o, p)
		},
	}
	c.Flags().StringArrayVar(&p.SOCKS, "socks", nil, "serve SOCKS 5 at this `address`, such as 127.0.0.1:1080; may be repeated")
	c.Flags().StringArrayVar(&p.HTTP, "http", nil, "serve an HTTP proxy at this `address`, such as 127.0.0.1:8080; may be repeated")
	c.Flags().StringArrayVarP(&in, "local", "L", nil, "`[BIND:]PORT:HOST:PORT`: a port of this machine leads to a host of the network; may be repeated")
	c.Flags().StringArrayVarP(&out, "remote", "R", nil, "`[BIND:]PORT:HOST:PORT`: a port of this node in the network leads to a host of this machine's; may be repeated")
	c.Flags().StringVar(&passwordFile, "password-file", "", "users of --socks and --http have to give USER:PASSWORD, which is in this `file`")
	c.Flags().BoolVar(&p.Userspace, "userspace", false, "make connections with the TCP/IP stack of this program, and not with the kernel's")
	f.add(c)
	return c
}

func forwardings(texts []string) (list []proxyserver.Forwarding, err error) {
	for _, text := range texts {
		one, err := proxyserver.ParseForwarding(text)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// readLogin reads USER:PASSWORD from a file.
func readLogin(path string) (string, error) {
	const most = 4096
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	login, err := proxyserver.ParseLogin(string(text))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return login, nil
}

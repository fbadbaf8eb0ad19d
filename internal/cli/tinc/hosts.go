package tinc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/node"
)

func export(c *call, _ []string) error {
	own, err := confdir.OwnName(c.layout)
	if err != nil {
		return ownNameError(c.layout, err)
	}
	return opening("configuration file", confdir.WriteHost(c.Out, c.layout, own))
}

func exportAll(c *call, _ []string) error {
	err := confdir.WriteHosts(c.Out, c.layout)
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == c.layout.Hosts() {
		return opening("host configuration directory", err)
	}
	return opening("configuration file", err)
}

// ownNameError is why the own name is not known, as tinc says it.
func ownNameError(l confdir.Layout, err error) error {
	if text, readErr := os.ReadFile(l.TincConf()); readErr == nil && len(config.Values(text, "Name")) == 0 {
		return sentence("Could not find Name in " + l.TincConf() + ".")
	}
	return opening("", err)
}

// exchange exports, and then imports what the other side of a pipe has exported.
// The other side waits for the end of what it reads.
func exchange(export func(*call, []string) error) func(*call, []string) error {
	return func(c *call, _ []string) error {
		if err := export(c, nil); err != nil {
			return err
		}
		if out, ok := c.Out.(io.Closer); ok && !c.interactive() {
			out.Close()
		}
		return importHosts(c, nil)
	}
}

// maxImport is how much import reads, in bytes.
const maxImport = 64 << 20

func importHosts(c *call, _ []string) error {
	data, err := io.ReadAll(io.LimitReader(c.In, maxImport))
	if err != nil {
		return err
	}
	hosts, junk, bad := config.ReadBundle(data)
	if junk {
		fmt.Fprintln(c.Err, "Junk at the beginning of the input, ignoring.")
	}
	n := 0
	for _, h := range hosts {
		err := confdir.ImportHost(c.layout, h, c.force)
		if errors.Is(err, fs.ErrExist) {
			fmt.Fprintf(c.Err, "Host configuration file %s already exists, skipping.\n", c.layout.Host(h.Name))
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", sentence("Error creating configuration file "+c.layout.Host(h.Name)), err)
		}
		n++
	}
	switch {
	case errors.Is(bad, node.ErrTooLong):
		return sentence("Filename too long: the name of a node has at most " + strconv.Itoa(node.MaxNameLen) + " characters.")
	case errors.Is(bad, config.ErrBundleName):
		return sentence("Invalid Name in input!")
	case bad != nil:
		return bad
	case n == 0:
		return sentence("No host configuration files imported.")
	}
	fmt.Fprintf(c.Err, "Imported %d host configuration files.\n", n)
	return nil
}

// network lists the networks, or turns to another one, which matters in the shell.
func network(c *call, args []string) error {
	if len(args) > 0 {
		return c.switchNetwork(args[0])
	}
	nets, err := confdir.Networks(confdir.Roots{})
	for _, n := range nets {
		fmt.Fprintln(c.Out, n)
	}
	return err
}

// switchNetwork makes the following commands be about another network.
func (c *call) switchNetwork(net string) error {
	if err := c.settle(confdir.Place{Net: net}); err != nil {
		return err
	}
	if unsafe, _ := confdir.CheckNetName(net); unsafe {
		fmt.Fprintln(c.Err, "Warning: unsafe character in netname!")
	}
	c.options = []string{"--net=" + net}
	return nil
}

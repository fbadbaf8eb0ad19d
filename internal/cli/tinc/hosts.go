package tinc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tincan/internal/config"
)

func export(c *call, _ []string) error {
	own, err := config.OwnName(c.layout)
	if err != nil {
		return err
	}
	return config.WriteHost(c.Out, c.layout, own)
}

func exportAll(c *call, _ []string) error { return config.WriteHosts(c.Out, c.layout) }

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
		err := config.ImportHost(c.layout, h, c.force)
		if errors.Is(err, fs.ErrExist) {
			fmt.Fprintf(c.Err, "%v; skipping it.\n", err)
			continue
		}
		if err != nil {
			return err
		}
		n++
	}
	switch {
	case bad != nil:
		return bad
	case n == 0:
		return sentence("No host configuration files imported.")
	}
	fmt.Fprintf(c.Err, "Imported %d host configuration files.\n", n)
	return nil
}

// network lists the networks, or checks the name of one.
func network(c *call, args []string) error {
	if len(args) > 0 {
		unsafe, err := config.CheckNetName(args[0])
		if unsafe {
			fmt.Fprintln(c.Err, "Warning: unsafe character in netname!")
		}
		if args[0] == "." {
			return nil
		}
		return err
	}
	nets, err := config.Networks(config.Roots{})
	for _, n := range nets {
		fmt.Fprintln(c.Out, n)
	}
	return err
}

package tinc

import (
	"fmt"
	"os"

	"tincan/internal/command"
	"tincan/internal/generate"
	"tincan/internal/node"
)

// initNode is `tinc init [NAME]`.
func initNode(c *call, args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	} else if c.interactive() {
		var err error
		if name, err = c.Ask("Enter the Name you want your tinc node to have: "); err != nil {
			return err
		}
	}
	if name == "" {
		return sentence("No Name given!")
	}
	n, err := node.ParseName(name)
	if err != nil {
		return fmt.Errorf("invalid Name: %w", err)
	}
	if _, err := os.Lstat(c.layout.TincConf()); err == nil { // before it costs a key
		return fmt.Errorf("%w: %s", generate.ErrExists, c.layout.TincConf())
	}
	rsa, err := command.MakeRSA(generate.DefaultRSABits, c.Streams)
	if err != nil {
		return err
	}
	port, err := generate.Node{Layout: c.layout, Name: n, RSA: rsa}.Create()
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Err, "Made node %s with new keys in %s.\n", n, c.layout.ConfBase)
	if port != generate.DefaultPort {
		fmt.Fprintf(c.Err, "Warning: port %d is in use, so tinc will listen on port %d.\n", generate.DefaultPort, port)
	}
	return nil
}

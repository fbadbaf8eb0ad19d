package tinc

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"tincan/internal/command"
	"tincan/internal/confdir"
)

// sign is `tinc sign [FILE]`.
func sign(c *call, args []string) error {
	data, err := command.ReadData(first(args), c.In)
	if err != nil {
		return opening("", err)
	}
	signed, err := command.Sign(c.layout, data, time.Now())
	var key *command.KeyError
	if errors.As(err, &key) {
		return fmt.Errorf("%w: %v", sentence("Could not read private key from "+key.Path), key.Err)
	}
	if err != nil {
		return opening("", err)
	}
	_, err = c.Out.Write(signed)
	return err
}

// verify is `tinc verify NODE [FILE]`.
func verify(c *call, args []string) error {
	if len(args) == 0 {
		return sentence("Not enough arguments!")
	}
	data, err := command.ReadData(first(args[1:]), c.In)
	if err != nil {
		return opening("", err)
	}
	signed, err := command.Verify(c.layout, args[0], data)
	var key *command.KeyError
	switch {
	case err == nil:
		_, err = c.Out.Write(signed.Data)
		return err
	case errors.Is(err, command.ErrSignerName):
		return sentence("Invalid node name")
	case errors.Is(err, command.ErrNoSignature):
		return sentence("Invalid input")
	case errors.Is(err, command.ErrSigner):
		wanted := args[0]
		if own, nameErr := confdir.OwnName(c.layout); nameErr == nil && wanted == "." {
			wanted = string(own)
		}
		return sentence("Signature is not made by " + wanted)
	case errors.Is(err, command.ErrSignature):
		return sentence("Invalid signature")
	case errors.As(err, &key):
		return fmt.Errorf("%w: %v", sentence("Could not read public key from "+key.Path), key.Err)
	}
	return opening("", err)
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// opening is the error of a file that cannot be opened, as tinc says it; other
// errors stay what they are. what names the kind of file.
func opening(what string, err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err
	}
	if what != "" {
		what += " "
	}
	reason := path.Err.Error()
	return sentence(fmt.Sprintf("Could not open %s%s: %s", what, path.Path, strings.ToUpper(reason[:1])+reason[1:]))
}

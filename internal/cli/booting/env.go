// Package booting is what the commands around boot nodes have in common: gen,
// bootnode and token of tincan, "up --boot" and "up --join", and the front end
// tinc-boot.
package booting

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"tincan/internal/bootnode"
	"tincan/internal/cli/terminal"
)

// FromEnvironment sets each option that was not given from the variable of its
// name after prefix, as tinc-boot does without one: --connect-to from CONNECT_TO. A list gets one
// element. A value that does not fit is ignored.
func FromEnvironment(flags *pflag.FlagSet, prefix string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		value, ok := os.LookupEnv(prefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")))
		if !ok || value == "" {
			return
		}
		old := f.Value.String()
		if flags.Set(f.Name, value) != nil {
			if _, list := f.Value.(pflag.SliceValue); !list {
				_ = f.Value.Set(old)
			}
			f.Changed = false
		}
	})
}

// Token is how a command is told a token.
type Token struct {
	Text string
	File string // "-" is standard input
}

// Flags adds the options.
func (t *Token) Flags(f *pflag.FlagSet) {
	f.VarP((*hidden)(&t.Text), "token", "t", "the `secret` that admits new nodes; other users of this machine can see it here for a moment")
	f.StringVar(&t.File, "token-file", "", "read the secret from a `file`; - is standard input")
}

// hidden is an option that is taken off the command line, which other users of the machine can
// read, as soon as it has been read.
type hidden string

func (h *hidden) Set(text string) error {
	*h = hidden(strings.Clone(text))
	hideArgument(string(*h))
	return nil
}

func (h *hidden) String() string { return string(*h) }
func (h *hidden) Type() string   { return "string" }

// ErrNoToken tells that none was given.
var ErrNoToken = errors.New("no token was given")

// Secret returns the token. The error is ErrNoToken if there is none.
func (t Token) Secret(s terminal.Streams) (bootnode.Secret, error) {
	text := t.Text
	switch {
	case t.File == "-":
		line, err := s.Line()
		if err != nil && line == "" {
			return bootnode.Secret{}, fmt.Errorf("reading the token: %w", err)
		}
		text = line
	case t.File != "":
		f, err := os.Open(t.File)
		if err != nil {
			return bootnode.Secret{}, fmt.Errorf("reading the token: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, bootnode.MaxSecret+2))
		if err != nil {
			return bootnode.Secret{}, fmt.Errorf("reading the token: %w", err)
		}
		text = strings.TrimRight(string(data), "\r\n")
	}
	if text == "" {
		return bootnode.Secret{}, ErrNoToken
	}
	return bootnode.ParseSecret(text)
}

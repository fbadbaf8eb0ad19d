package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"tincan/internal/bootnode"
	"tincan/internal/terminal"
)

// Token is how a command is told a token.
type Token struct {
	Text string
	File string // "-" is standard input
}

// ErrNoToken tells that none was given.
var ErrNoToken = errors.New("no token was given")

// ErrWeakToken refuses a token that is too weak for the protocols of tinc-boot.
var ErrWeakToken = terminal.Hint(errors.New("this token is too weak for the old protocols: it can be guessed from one recorded join"),
	"omit --token to have one generated, or use --allow-weak-token")

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

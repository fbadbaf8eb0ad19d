package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/terminal"
)

// exactly checks the number of arguments; what names them.
func exactly(what string, n int) cobra.PositionalArgs {
	return between(what, n, n)
}

// between checks that there are least to most arguments; most < 0 means any number.
func between(what string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < least:
			err = fmt.Errorf("%s needs %s", cmd.Name(), what)
		case most >= 0 && len(args) > most && most == 0:
			err = fmt.Errorf("%s takes no arguments", cmd.Name())
		case most >= 0 && len(args) > most:
			err = fmt.Errorf("%s takes only %s", cmd.Name(), what)
		}
		return terminal.Hint(err, "see %s --help", cmd.CommandPath())
	}
}

// splitHostPort reads HOST or HOST:PORT; an IPv6 address with a port stands in brackets.
func splitHostPort(text string) (host, port string, err error) {
	host = text
	if strings.Contains(text, ":") {
		if host, port, err = net.SplitHostPort(text); err != nil || port == "" {
			return "", "", errors.New("not a host with a port")
		}
	}
	if host == "" || strings.ContainsAny(host, " \t/@[]") {
		return "", "", errors.New("not a host")
	}
	return host, port, nil
}

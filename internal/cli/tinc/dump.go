package tinc

import (
	"errors"
	"strings"
	"time"

	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/report"
)

// dump is `tinc dump [reachable] WHAT`.
func dump(c *call, args []string) error {
	reachable := len(args) == 2 && strings.EqualFold(args[0], "reachable")
	switch {
	case len(args) == 2 && !reachable:
		return errUsage{sentence("Invalid number of arguments.")}
	case reachable && !strings.EqualFold(args[1], "nodes"):
		return errUsage{sentence("`reachable' only supported for nodes.")}
	}
	what := args[len(args)-1]
	if strings.EqualFold(what, "invitations") {
		return dumpInvitations(c)
	}
	return c.ask(func(d *control.Client) error {
		err := command.Dump(c.Out, d, what, reachable)
		if errors.Is(err, command.ErrNoList) {
			err = sentence("Unknown dump type '" + what + "'.")
		}
		return err
	})
}

// info is `tinc info NODE|SUBNET|ADDRESS`.
func info(c *call, args []string) error {
	return c.ask(func(d *control.Client) error {
		return report.WriteInfo(c.Out, d, args[0], time.Local)
	})
}

package tinc

import (
	"errors"
	"fmt"
	"strings"

	"tincan/internal/cli/setting"
	"tincan/internal/config"
	"tincan/internal/control"
)

var verbs = map[string]setting.Verb{"get": setting.Get, "set": setting.Set, "add": setting.Add, "del": setting.Del}

// variable makes the commands get, set, add and del.
func variable(verb string) func(*call, []string) error {
	return func(c *call, args []string) error {
		if len(args) == 0 {
			return errArguments("Invalid number of arguments.")
		}
		r, err := setting.Parse(verbs[verb], args)
		if err != nil {
			return err
		}
		r.Force = c.force
		if port, ok := c.runningPort(r); ok {
			fmt.Fprintln(c.Out, port)
			return nil
		}
		res, err := r.Do(c.layout)
		for _, w := range res.Warnings {
			fmt.Fprintf(c.Err, "Warning: %s\n", w)
		}
		switch {
		case errors.Is(err, setting.ErrNone) && r.Verb == setting.Get:
			return errors.New("No matching configuration variables found.") //lint:ignore ST1005 scripts know this sentence
		case errors.Is(err, setting.ErrNone):
			return errors.New("No configuration variables deleted.") //lint:ignore ST1005 scripts know this sentence
		case err != nil:
			return err
		}
		for _, v := range res.Values {
			fmt.Fprintln(c.Out, v)
		}
		if res.Changed {
			c.notify()
		}
		return nil
	}
}

// runningPort answers "get Port" about the own node: the port that the daemon
// really listens on, which a configured 0 does not tell.
func (c *call) runningPort(r setting.Request) (string, bool) {
	if r.Verb != setting.Get || r.Name != "Port" {
		return "", false
	}
	if r.Host != "" {
		if own, err := config.OwnName(c.layout); err != nil || own != r.Host {
			return "", false
		}
	}
	p, err := control.ReadPidFile(c.layout.ForClient().PidFile)
	if err != nil {
		fmt.Fprintln(c.Err, "Could not get port from the pidfile.")
		return "", false
	}
	return p.Listen.Port, true
}

// oldConfig is the old spelling: config [get|set|replace|change|add|del] ...
func oldConfig(c *call, args []string) error {
	if len(args) == 0 {
		return errArguments("Invalid number of arguments.")
	}
	switch word := strings.ToLower(args[0]); word {
	case "get", "set", "add", "del":
		return variable(word)(c, args[1:])
	case "replace", "change":
		return variable("set")(c, args[1:])
	}
	return variable("get")(c, args)
}

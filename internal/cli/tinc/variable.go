package tinc

import (
	"errors"
	"fmt"
	"strings"

	"tincan/internal/command"
)

var verbs = map[string]command.Verb{"get": command.Get, "set": command.Set, "add": command.Add, "del": command.Del}

// variable makes the commands get, set, add and del.
func variable(verb string) func(*call, []string) error {
	return func(c *call, args []string) error {
		if len(args) == 0 {
			return sentence("Invalid number of arguments.")
		}
		r, err := command.ParseSetting(verbs[verb], args)
		if err != nil {
			return err
		}
		r.Force = c.force
		if port, err := r.RunningPort(c.layout.ForClient()); err != nil {
			fmt.Fprintln(c.Err, "Could not get port from the pidfile.")
		} else if port != "" {
			fmt.Fprintln(c.Out, port)
			return nil
		}
		res, err := r.Do(c.layout)
		for _, w := range res.Warnings {
			fmt.Fprintf(c.Err, "Warning: %s\n", w)
		}
		switch {
		case errors.Is(err, command.ErrNotSet) && r.Verb == command.Get:
			return sentence("No matching configuration variables found.")
		case errors.Is(err, command.ErrNotSet):
			return sentence("No configuration variables deleted.")
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

// oldConfig is the old spelling: config [get|set|replace|change|add|del] ...
func oldConfig(c *call, args []string) error {
	if len(args) == 0 {
		return sentence("Invalid number of arguments.")
	}
	switch word := strings.ToLower(args[0]); word {
	case "get", "set", "add", "del":
		return variable(word)(c, args[1:])
	case "replace", "change":
		return variable("set")(c, args[1:])
	}
	return variable("get")(c, args)
}

package tinc

import (
	"fmt"
	"strings"

	"tincan/internal/fsck"
)

// check is `tinc fsck`: everything it says goes to standard error.
func check(c *call, _ []string) error {
	f := fsck.Checker{
		Layout: c.layout,
		Say:    func(line string) { fmt.Fprintln(c.Err, line) },
		Fix:    c.fix,
		Command: func(name string) string {
			words := []string{c.prog}
			if c.place.Conf != "" {
				words = append(words, "-c", c.place.Conf)
			} else if c.layout.NetName != "" {
				words = append(words, "-n", c.layout.NetName)
			}
			return strings.Join(append(words, name), " ")
		},
	}
	if !f.Run() {
		return errSaid
	}
	return nil
}

// fix asks a person, or does what the options say.
func (c *call) fix() bool {
	if c.force || !c.interactive() {
		return c.force
	}
	for {
		answer, err := c.Ask("Fix y/n? ")
		switch {
		case err != nil || strings.EqualFold(answer, "n"):
			return false
		case strings.EqualFold(answer, "y"):
			return true
		}
	}
}

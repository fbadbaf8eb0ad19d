// Package fsck finds what is broken in the files of a network and offers to fix
// some of it, as the command fsck of tinc 1.1 does.
//
// The lines that begin with ERROR or WARNING are worded like tinc's, because
// scripts look for them. Other than tinc it also looks at values and at unknown
// variables, and counts every ERROR that is left as a failure.
package fsck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"tincan/internal/confdir"
	"tincan/internal/config"
)

// Checker looks at one network.
type Checker struct {
	Layout confdir.Layout
	// Command is how the user calls one of tinc's commands for this network.
	Command func(name string) string
	// Say prints one line.
	Say func(line string)
	// Fix asks whether what was said last is to be fixed.
	Fix func() bool

	failed bool
	told   map[string]bool // places that something was said about
}

// Run looks at everything. It returns true if nothing is left that would be an
// error.
func (c *Checker) Run() bool {
	c.failed = false
	c.told = make(map[string]bool)
	if !c.name() {
		return false
	}
	net, warnings, err := confdir.Inspect(c.Layout, nil)
	if net == nil {
		c.problem("ERROR: ", err)
		c.failed = true
		return false
	}
	c.ownFile(net)
	c.keys(net)
	c.scripts(net)
	c.variables(net)
	c.values(net, warnings, err)
	return !c.failed
}

// say prints a line.
func (c *Checker) say(format string, args ...any) { c.Say(fmt.Sprintf(format, args...)) }

// fail prints an ERROR that stays one.
func (c *Checker) fail(format string, args ...any) {
	c.say("ERROR: "+format, args...)
	c.failed = true
}

// name looks whether the node has a name at all.
func (c *Checker) name() bool {
	path := c.Layout.TincConf()
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		c.fail("cannot read %s: %s", path, reason(err))
		if errors.Is(err, fs.ErrNotExist) {
			c.say("No tinc configuration found. Create a new one with:\n\n%s", c.Command("init"))
		} else if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			c.say("You are not running tinc as root. Use sudo?")
		}
	default:
		if _, err = confdir.OwnName(c.Layout); err == nil {
			return true
		}
		if problem := new(config.Problem); errors.As(err, problem) && noValue().MatchString(problem.Text) {
			c.problem("ERROR: ", err)
			c.failed = true
			return false
		}
		if len(config.Values(text, "Name")) == 0 {
			c.say("Could not find Name in %s.", path)
		} else {
			c.say("Invalid name for myself: %v", err)
		}
	}
	c.fail("tinc cannot run without a valid Name.")
	return false
}

// ownFile looks whether the own host file can be read.
func (c *Checker) ownFile(net *confdir.Network) {
	path := c.Layout.Host(net.Name)
	text, err := os.ReadFile(path)
	if err != nil {
		c.fail("Cannot open config file %s: %s", path, reason(err))
		c.told[path] = true
		return
	}
	if _, _, err := config.Parse(path, text); err != nil {
		c.problem("ERROR: ", err)
		c.failed = true
	}
}

// values says what would keep a node from starting, and what it would warn of.
func (c *Checker) values(net *confdir.Network, warnings []config.Warning, broken error) {
	for _, p := range config.Problems(broken) {
		if !c.told[p.Where] {
			c.problem("ERROR: ", p)
			c.failed = true
		}
	}
	keyFiles := map[string]bool{net.Settings.PrivateKeyFile: true, net.Settings.RSAPrivateKeyFile: true}
	for _, w := range warnings {
		if !c.told[w.Where] && !keyFiles[w.Where] {
			c.problem("WARNING: ", w)
		}
	}
}

// noValue is what the parser says of a line with nothing but a name, and place is
// where.
var (
	noValue = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^no value for variable "([^"]*)"`) })
	place   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(.*):(\d+)$`) })
)

// problem prints something that package config has found.
func (c *Checker) problem(kind string, err error) {
	var p config.Problem
	if !errors.As(err, &p) {
		c.say("%s%v", kind, err)
		return
	}
	c.told[p.Where] = true
	v, at := noValue().FindStringSubmatch(p.Text), place().FindStringSubmatch(p.Where)
	if v != nil && at != nil {
		c.say("%sNo value for variable `%s' on line %s while reading config file %s", kind, v[1], at[2], at[1])
		return
	}
	c.say("%s%v", kind, p)
}

// reason is why a file cannot be used, as the C library writes it.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// Package tinc is the front end that tincan shows when it is called as tinc: the
// commands of tinc 1.1, with its results on standard output and its exit status.
package tinc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tincan/internal/cli/getopt"
	"tincan/internal/cli/version"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/terminal"
)

// call is one run of a command.
type call struct {
	terminal.Streams
	prog    string
	options []string // as given before the command, for start
	place   confdir.Place
	layout  confdir.Layout
	batch   bool
	force   bool
}

// action is what one command takes and does. max is the largest number of arguments, -1 for any.
type action struct {
	min, max int
	run      func(c *call, args []string) error
}

var commands = map[string]action{
	"init":                  {0, 1, initNode},
	"get":                   {0, -1, variable("get")},
	"set":                   {0, -1, variable("set")},
	"add":                   {0, -1, variable("add")},
	"del":                   {0, -1, variable("del")},
	"config":                {0, -1, oldConfig},
	"generate-keys":         {0, 1, generateKeys},
	"generate-rsa-keys":     {0, 1, generateRSA},
	"generate-ed25519-keys": {0, 0, generateEd25519},
	"export":                {0, 0, export},
	"export-all":            {0, 0, exportAll},
	"import":                {0, 0, importHosts},
	"exchange":              {0, 0, exchange(export)},
	"exchange-all":          {0, 0, exchange(exportAll)},
	"edit":                  {1, 1, edit},
	"sign":                  {0, 1, sign},
	"verify":                {0, 2, verify},
	"fsck":                  {0, 0, check},
	"log":                   {0, 1, followLog},
	"pcap":                  {0, 1, followPcap},
	"start":                 {0, -1, start},
	"restart":               {0, -1, restart},
	"stop":                  {0, 0, stop},
	"top":                   {0, 0, topScreen},
	"reload":                {0, 0, reload},
	"pid":                   {0, 0, pid},
	"purge":                 {0, 0, purge},
	"retry":                 {0, 0, retry},
	"debug":                 {1, 1, debug},
	"connect":               {1, 1, connect},
	"disconnect":            {1, 1, disconnect},
	"dump":                  {1, 2, dump},
	"list":                  {1, 2, dump},
	"info":                  {1, 1, info},
	"invite":                {0, 1, inviteNode},
	"join":                  {0, 1, join},
	"network":               {0, 1, network},
	"version":               {0, 0, func(c *call, _ []string) error { fmt.Fprint(c.Out, version.Tinc()); return nil }},
	"help":                  {0, -1, func(c *call, _ []string) error { c.usage(); return nil }},
}

var known = []getopt.Option{
	{Long: "config", Short: 'c', Arg: getopt.Required},
	{Long: "net", Short: 'n', Arg: getopt.Required},
	{Long: "pidfile", Arg: getopt.Required},
	{Long: "batch", Short: 'b'},
	{Long: "force"},
	{Long: "help"},
	{Long: "version"},
}

// errUsage is an error after which tinc points to its help.
type errUsage struct{ error }

// Main runs tinc with its arguments (without the program's name) and returns
// the exit status. prog is the name by which it was called.
func Main(prog string, args []string, s terminal.Streams) int {
	c := &call{Streams: s, prog: prog}
	words, done, err := c.parse(args)
	switch {
	case err == nil && done:
		return 0
	case err == nil && len(words) == 0:
		return c.shell()
	case err == nil:
		err = c.command(words)
	}
	if err == nil {
		return 0
	}
	c.report(err)
	if errors.As(err, new(errUsage)) {
		fmt.Fprintf(s.Err, "Try `%s --help' for more information.\n", prog)
	}
	return 1
}

// errSaid is an error of which everything has been said.
var errSaid = errors.New("")

// report says what went wrong, in tinc's words where it has some.
func (c *call) report(err error) {
	if err == errSaid {
		return
	}
	var dial *control.DialError
	if errors.As(err, &dial) {
		err = errors.New(dial.TincText())
	}
	c.Report("", err)
}

// parse reads the options and returns the words after them. done tells that an
// option was all that was wanted.
func (c *call) parse(args []string) (words []string, done bool, err error) {
	found, words, err := getopt.Parse(c.prog, args, known, false)
	if err != nil {
		return nil, false, errUsage{err}
	}
	place := confdir.Place{Net: os.Getenv("NETNAME")}
	for _, f := range found {
		switch f.Long {
		case "config":
			place.Conf = f.Value
			c.options = append(c.options, "--config="+f.Value)
		case "net":
			place.Net = f.Value
			c.options = append(c.options, "--net="+f.Value)
		case "pidfile":
			place.PidFile = f.Value
			c.options = append(c.options, "--pidfile="+f.Value)
		case "batch":
			c.batch = true
		case "force":
			c.force = true
		case "help":
			c.usage()
			return nil, true, nil
		case "version":
			fmt.Fprint(c.Out, version.Tinc())
			return nil, true, nil
		}
	}
	if err := c.settle(place); err != nil {
		return nil, false, err
	}
	if place.Conf != "" && c.layout.NetName != "" {
		fmt.Fprintln(c.Err, "Both netname and configuration directory given, using the latter...")
	}
	return words, false, nil
}

// settle makes place the network that the commands are about.
func (c *call) settle(place confdir.Place) error {
	l, err := place.Layout()
	if errors.Is(err, confdir.ErrNetName) {
		return sentence("Invalid character in netname!")
	}
	if err == nil {
		c.place, c.layout = place, l
	}
	return err
}

// command runs the command words[0], in any case, with the words after it.
func (c *call) command(words []string) error {
	name := strings.ToLower(words[0])
	cmd, ok := commands[name]
	if !ok {
		return errUsage{sentence("Unknown command `" + words[0] + "'.")}
	}
	args := words[1:]
	few, many := len(args) < cmd.min, cmd.max >= 0 && len(args) > cmd.max
	switch {
	case (few || many) && (name == "dump" || name == "list"):
		return errUsage{sentence("Invalid number of arguments.")}
	case many && cmd.min == 0:
		return sentence("Too many arguments!")
	case few || many:
		return sentence("Invalid number of arguments.")
	}
	return cmd.run(c, args)
}

// sentence is an error in tinc's own words, because scripts look for them.
type sentence string

func (s sentence) Error() string { return string(s) }

// interactive tells whether a person can be asked.
func (c *call) interactive() bool { return !c.batch && c.Interactive() }

// dial connects to the running daemon. The caller closes the connection.
func (c *call) dial() (*control.Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return control.Dial(ctx, c.layout.ForClient().PidFile)
}

// notify asks a running daemon to read its files again. If there is none, or
// it does not like them, that is no concern of the command.
func (c *call) notify() {
	if d, err := c.dial(); err == nil {
		d.Reload()
		d.Close()
	}
}

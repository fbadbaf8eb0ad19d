// Package env is what each command of tincan is given: the streams that it reads and writes, and the network that
// it is about, with the way to its files and to its running node.
//
// It knows no command.
package env

import (
	"encoding/json"
	"fmt"
	"io"

	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/terminal"
)

// Env is what a command is called with. Options of the command line go into Place before the command runs.
type Env struct {
	terminal.Streams
	Place confdir.Place
}

// Say prints talk.
func (e *Env) Say(format string, args ...any) { fmt.Fprintf(e.Err, format+"\n", args...) }

// PrintJSON prints what a command has found, for programs.
func (e *Env) PrintJSON(v any) error {
	enc := json.NewEncoder(e.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Show prints a report, as text by way of write.
func Show[R any](e *Env, r R, asJSON bool, write func(io.Writer, R) error) error {
	if !asJSON {
		return write(e.Out, r)
	}
	return e.PrintJSON(r)
}

// Self is how the user calls tincan for this network.
func (e *Env) Self() string { return SelfFor(e.Place.Net, e.Place.Conf) }

// SelfFor is how a user calls tincan for a network.
func SelfFor(net, conf string) string {
	text := "tincan"
	if net != "" && net != "." {
		text += " -n " + command.Quote(net)
	}
	if conf != "" {
		text += " -c " + command.Quote(conf)
	}
	return text
}

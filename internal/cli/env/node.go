package env

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
	"tincan/internal/terminal"
)

// Ask asks the running node something.
func (e *Env) Ask(question func(*control.Client) error) error {
	l, err := e.Layout()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, l.ForClient().PidFile)
	if err != nil {
		return e.NotRunning(err)
	}
	defer c.Close()
	return question(c)
}

// NotRunning adds advice to an error of control.Dial.
func (e *Env) NotRunning(err error) error {
	var d *control.DialError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return terminal.Hint(err, "run this command as the user who started the node, most likely root")
	case errors.Is(err, pidfile.ErrTinc10):
		return terminal.Hint(err, "stop it with: %s, then start tincan with: %s up", strings.Replace(e.Self(), "tincan", "tincd", 1)+" -k", e.Self())
	case errors.As(err, &d) && d.Stage <= control.NoProcess:
		if _, none := e.Existing(); none != nil && e.Place.PidFile == "" { // most likely -n was forgotten
			return none
		}
		if net := e.runsByName(); net != "" {
			return terminal.Hint(err, "a daemon of the network %s runs, which was started by that name: tincan -n %s", net, command.Quote(net))
		}
		return terminal.Hint(err, "start it with: %s up", e.Self())
	case errors.As(err, &d) && d.Stage == control.NoSocket && errors.Is(err, oserr.Refused):
		return terminal.Hint(err, "it was killed, most likely, and the number may be another process's now; start it again with: %s up", e.Self())
	}
	return err
}

// runsByName is the network whose files are in the directory of -c, if it has a name and a node that was started by
// that name runs: its pid file is in another place.
func (e *Env) runsByName() string {
	if e.Place.Conf == "" || e.Place.Net != "" || e.Place.PidFile != "" {
		return ""
	}
	here, err := e.Layout()
	if err != nil {
		return ""
	}
	named := &Env{Streams: e.Streams, Place: confdir.Place{Net: filepath.Base(here.ConfBase), Roots: e.Place.Roots}}
	if l, err := named.Layout(); err != nil || l.ConfBase != here.ConfBase || named.Runs() == 0 {
		return ""
	}
	return named.Place.Net
}

// Runs is the process number of the running node; 0 if none answers.
func (e *Env) Runs() int {
	l, err := e.Layout()
	if err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := control.Dial(ctx, l.ForClient().PidFile)
	if err != nil {
		return 0
	}
	defer c.Close()
	p, _ := pidfile.Read(l.ForClient().PidFile)
	return p.PID
}

// Meant is [frontend.Suggest] with the nodes that the running one knows.
func Meant(c *control.Client, name node.Name, err error) error {
	return frontend.Suggest(err, string(name), func() []string { return NodeNames(c) })
}

// NodeNames are the names of the nodes that the running one knows.
func NodeNames(c *control.Client) (names []string) {
	nodes, _ := c.Nodes("")
	for _, n := range nodes {
		names = append(names, string(n.Name))
	}
	return names
}

package env

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/terminal"
)

// TheOnlyNetwork takes the only network of this machine for the one that is meant if none was
// named. As with tinc /etc/tinc itself comes first.
func (e *Env) TheOnlyNetwork() {
	if e.Place.Net != "" || e.Place.Conf != "" || e.Place.PidFile != "" {
		return
	}
	if nets := e.Networks(); len(nets) == 1 {
		e.Place.Net = nets[0]
	}
}

// Networks are the networks of this machine; only "." if /etc/tinc itself is one.
func (e *Env) Networks() []string {
	nets, _ := confdir.Networks(e.Place.Roots)
	if slices.Contains(nets, ".") {
		return []string{"."}
	}
	return nets
}

// Layout finds the files of the network.
func (e *Env) Layout() (confdir.Layout, error) {
	l, err := e.Place.Layout()
	if err != nil {
		return l, err
	}
	return l.Abs()
}

// Existing is Layout for a command that needs a network that is there.
func (e *Env) Existing() (confdir.Layout, error) {
	l, err := e.Layout()
	if err != nil {
		return l, err
	}
	if _, err := os.Stat(l.TincConf()); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return l, terminal.Hint(err, "run this command %s", oserr.Privileged)
		}
		if text := l.FormerPlace(); text != "" {
			return l, fmt.Errorf("there is no network in %s; %s", l.ConfBase, text)
		}
		err := fmt.Errorf("there is no network in %s", l.ConfBase)
		if nets := e.Networks(); len(nets) > 1 && e.Place.Net == "" && e.Place.Conf == "" {
			err = errors.New("there are several networks on this machine, and none was named")
		}
		return l, terminal.Hint(err, "%s", e.WhichNetwork())
	}
	return l, nil
}

// WhichNetwork is advice for somebody who named a network that is not there.
func (e *Env) WhichNetwork() string {
	nets, _ := confdir.Networks(e.Place.Roots)
	if len(nets) == 0 || e.Place.Conf != "" {
		return fmt.Sprintf("make one with: %s init NAME, or join one with: tincan join URL", e.Self())
	}
	return fmt.Sprintf("choose one with -n NETWORK; there are: %s", strings.Join(nets, " "))
}

// Known is the network that a command line under completion is about; no errors are shown there.
func (e *Env) Known() (confdir.Layout, bool) {
	e.TheOnlyNetwork()
	l, err := e.Existing()
	return l, err == nil
}

// Nodes are the nodes that have a host file.
func (e *Env) Nodes() (names []string) {
	l, ok := e.Known()
	if !ok {
		return nil
	}
	files, _ := os.ReadDir(l.Hosts())
	for _, f := range files {
		if name, err := node.ParseName(f.Name()); err == nil && !f.IsDir() {
			names = append(names, string(name))
		}
	}
	return names
}

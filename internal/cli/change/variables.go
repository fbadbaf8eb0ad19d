package change

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/daemon"
	"tincan/internal/nearest"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/subnet"
	"tincan/internal/terminal"
)

func getCommand(e *env.Env) *cobra.Command {
	return variable(e, command.Get, "get [HOST.]VARIABLE", "Print the values of a variable")
}

func setCommand(e *env.Env) *cobra.Command {
	return variable(e, command.Set, "set [HOST.]VARIABLE VALUE", "Give a variable one value, in place of all others")
}

func addCommand(e *env.Env) *cobra.Command {
	return variable(e, command.Add, "add [HOST.]VARIABLE VALUE", "Give a variable one more value")
}

func delCommand(e *env.Env) *cobra.Command {
	return variable(e, command.Del, "del [HOST.]VARIABLE [VALUE]", "Remove a variable, or one of its values")
}

// variable is a command about one variable.
func variable(e *env.Env, verb command.Verb, use, short string) *cobra.Command {
	force, asJSON := false, false
	long := short + `. The variable is in tinc.conf, or, if it belongs to a
node or is written HOST.VARIABLE, in the host file hosts/HOST.`
	if verb != command.Get {
		long += ` A running node reads
its files again.`
	}
	c := &cobra.Command{
		Use: use, Short: short,
		Long: long,
		Args: frontend.Between("a VARIABLE", 1, -1),
		ValidArgsFunction: frontend.Begun(func(_ *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
			return completeVariable(e, verb, args, text)
		}),
		RunE: func(_ *cobra.Command, args []string) error { return setting(e, verb, args, force, asJSON) },
	}
	if verb == command.Get {
		frontend.JSONFlag(c, &asJSON)
	} else if verb != command.Del {
		c.Flags().BoolVar(&force, "force", false, "write the value even if the variable is unknown, obsolete or out of place, or cannot have this value")
	}
	c.Flags().SetInterspersed(false) // a value may begin with a dash
	return c
}

func setting(e *env.Env, verb command.Verb, args []string, force, asJSON bool) error {
	r, err := command.ParseSetting(verb, args)
	if err != nil {
		return err
	}
	if verb == command.Get && r.Verb != command.Get {
		return terminal.Hint(fmt.Errorf("get takes only the name of a variable"), "to change it: %s set %s %s", e.Self(), r.Name, command.Quote(r.Value))
	}
	r.Force = force
	l, err := e.Existing()
	if err != nil {
		return err
	}
	if port, _ := r.RunningPort(l.ForClient()); port != "" {
		// Somebody may have changed the file since the node started. 0 means any port: then only the node knows.
		if res, err := r.Do(l); err == nil && res.Values[0] != "0" && res.Values[0] != port {
			e.Say("note: the running node listens on port %s; the other one is taken when it is restarted: %s restart", port, e.Self())
			port = res.Values[0]
		}
		return printValues(e, r, []string{port}, asJSON)
	}
	renamed, err := checkRename(e, l, r, args)
	if err != nil {
		return err
	}
	before, _, _ := confdir.Inspect(l, nil)
	res, err := r.Do(l)
	if r.Verb == command.Set && res.Replaced == 1 { // which is what set is for
		res.Warnings = res.Warnings[:len(res.Warnings)-1]
	}
	for _, w := range res.Warnings {
		e.Say("warning: %s", w)
	}
	if errors.Is(err, command.ErrUnforced) {
		text, _ := strings.CutSuffix(err.Error(), "; "+command.ErrUnforced.Error())
		return terminal.Hint(errors.New(text), "to write it nevertheless: %s %s --force %s", e.Self(), [...]string{"get", "set", "add", "del"}[verb], quoted(args))
	}
	if err != nil {
		return err
	}
	if r.Verb == command.Get {
		return printValues(e, r, res.Values, asJSON)
	}
	if !res.Changed {
		return nil
	}
	if name, err := node.ParseName(r.Value); r.Name == "ConnectTo" && r.Verb != command.Del && err == nil {
		sayUnknown(e, l, name)
	}
	if renamed != "" {
		e.Say("note: the other nodes know this node as %s: each of them needs the host file of the new name (%s export) and has to be told to remove the old one", renamed, e.Self())
	}
	if r.Name == "Subnet" && r.Verb != command.Del {
		grantOwn(e, l)
	}
	var notRunning *control.DialError
	switch err := e.Ask((*control.Client).Reload); {
	case err == nil:
		foresee(e, l, r)
		sayRestart(e, l, before)
	case errors.As(err, &notRunning):
		foresee(e, l, r)
	default:
		e.Say("warning: the file is changed, but the running node did not accept it: %v", err)
	}
	return nil
}

// grantOwn sees to it that the others of a signed network believe the subnets of this node, or says who can.
func grantOwn(e *env.Env, l confdir.Layout) {
	n, err := ownership.Open(l, e.Ask)
	if err != nil {
		return // open, or not here yet
	}
	list, done, err := n.GrantOwn()
	switch {
	case err != nil:
		e.Say("warning: the owner's key could not grant it: %v", err)
	case done:
		e.Say("granted to %s with the owner's key: %s", n.Files.Name, joined(list, ", "))
	case list != nil:
		e.Say("note: the other nodes believe it when an owner has granted it; where the owner's key is: tincan admit %s --subnet %s", n.Files.Name, joined(list, " --subnet "))
	}
}

func joined(list []subnet.Subnet, between string) string {
	var words []string
	for _, s := range list {
		words = append(words, s.String())
	}
	return strings.Join(words, between)
}

// checkRename refuses a new name of this node that has no host file, unless that is forced: the node would run
// without its port, its addresses and its public key. former is the name if it changes.
func checkRename(e *env.Env, l confdir.Layout, r command.Setting, args []string) (former node.Name, err error) {
	if r.Name != "Name" || r.Host != "" || r.Verb != command.Set && r.Verb != command.Add {
		return "", nil
	}
	own, err := confdir.OwnName(l)
	if err != nil {
		return "", nil // what is there is no name, so any is better
	}
	name, err := confdir.ExpandName(r.Value)
	if err != nil || name == own {
		return "", nil // the check of the value says what is wrong with it
	}
	if _, err := os.Stat(l.Host(own)); err != nil || r.Force {
		return own, nil
	}
	if _, err := os.Stat(l.Host(name)); !errors.Is(err, fs.ErrNotExist) {
		return own, nil
	}
	return "", terminal.Hint(fmt.Errorf("this node is called %s, and there is no host file %s", own, l.Host(name)),
		"rename the host file first: mv %s %s; then tell the other nodes, which know the old name; or, without a host file: %s set --force %s",
		command.Quote(l.Host(own)), command.Quote(l.Host(name)), e.Self(), quoted(args))
}

// sayUnknown tells that there is no host file of a node to connect to.
func sayUnknown(e *env.Env, l confdir.Layout, name node.Name) {
	if _, err := os.Stat(l.Host(name)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if meant := nearest.To(string(name), e.Nodes()); meant != "" {
		e.Say("note: there is no host file %s; did you mean %s?", l.Host(name), meant)
		return
	}
	e.Say("note: there is no host file %s, so the node does not know an address of %s", l.Host(name), name)
}

// printValues prints what get has found.
func printValues(e *env.Env, r command.Setting, values []string, asJSON bool) error {
	if asJSON {
		name := r.Name
		if r.Host != "" {
			name = string(r.Host) + "." + name
		}
		return e.PrintJSON(report.Values{Name: name, Values: values})
	}
	for _, v := range values {
		if _, err := fmt.Fprintln(e.Out, v); err != nil {
			return err
		}
	}
	return nil
}

// sayRestart tells a person whose node runs if the change waits for a restart.
func sayRestart(e *env.Env, l confdir.Layout, before *confdir.Network) {
	after, _, _ := confdir.Inspect(l, nil)
	if before == nil || after == nil {
		return
	}
	if names := daemon.NeedRestart(before.Settings, after.Settings); len(names) > 0 {
		e.Say("note: the running node takes over %s when it is restarted: %s restart", strings.Join(names, ", "), e.Self())
	}
}

// quoted is a command line.
func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = command.Quote(w)
	}
	return strings.Join(list, " ")
}

// foresee tells what a node says about the value in its log, or will say when it is started.
func foresee(e *env.Env, l confdir.Layout, r command.Setting) {
	_, warnings, err := confdir.Inspect(l, nil)
	for _, p := range config.Problems(err) {
		if p.Variable == r.Name {
			e.Say("warning: the file is changed, but the node does not accept this: %v", p)
		}
	}
	for _, p := range warnings {
		if p.Variable == r.Name {
			e.Say("warning: the file is changed, but the node does not use this value as written: %v", p)
		}
	}
}

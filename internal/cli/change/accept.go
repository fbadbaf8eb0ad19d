package change

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/signed"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/control"
	"tincan/internal/keydist"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

// hostFiles is the store of the host files of the network that is meant.
func hostFiles(e *env.Env) (*keydist.Store, error) {
	l, err := e.Existing()
	if err != nil {
		return nil, err
	}
	self, err := confdir.OwnName(l)
	if err != nil {
		return nil, err
	}
	return &keydist.Store{Layout: l, Self: self}, nil
}

func acceptCommand(e *env.Env) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "accept [NODE]",
		Short: "Accept the new key of a reinstalled node",
		Long: `A known key is never replaced automatically: a node that presents another one may be an
impostor. The new key is kept aside and shown by "tincan status"; this command makes it
the known one. Ask the owner of NODE first whether the key is right. A node that was
removed here may come back after it. Without NODE, the waiting keys are listed.`,
		Args: frontend.Between("at most the name of a NODE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := hostFiles(e)
			if err != nil {
				return err
			}
			if len(args) == 0 && asJSON {
				return e.PrintJSON(waitingForm(store))
			}
			if len(args) == 0 {
				return listChanges(e, store)
			}
			name, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			err = frontend.Suggest(acceptKey(e, store, name), string(name), func() []string { return append(waiting(store), e.Nodes()...) })
			if err == nil && asJSON {
				return e.PrintJSON(report.Accepted{Accepted: name})
			}
			return err
		},
	}
	frontend.JSONFlag(c, &asJSON)
	return c
}

// waiting are the nodes that can be accepted.
func waiting(store *keydist.Store) (names []string) {
	for _, c := range store.Changes() {
		names = append(names, string(c.Node))
	}
	for _, r := range store.Removed() {
		names = append(names, string(r.Node))
	}
	return names
}

func listChanges(e *env.Env, store *keydist.Store) error {
	for _, c := range store.Changes() {
		_, err := fmt.Fprintf(e.Out, "%s known %s offered %s by %s\n", c.Node, c.Known, c.Offered, c.From)
		if err != nil {
			return err
		}
	}
	for _, r := range store.Removed() {
		_, err := fmt.Fprintf(e.Out, "%s removed %s: its host file was deleted here; to restore it: accept %s\n", r.Node, r.Since.Format(time.DateOnly), r.Node)
		if err != nil {
			return err
		}
	}
	return nil
}

// acceptKey lets the running node do it, which then uses the key at once.
func acceptKey(e *env.Env, store *keydist.Store, name node.Name) error {
	return orHere(e, func(c *control.Client) error { return c.AcceptKey(name) }, func() error { return store.Accept(name) })
}

// orHere asks the running node to do something, or does it here if no node of ours runs.
func orHere(e *env.Env, there func(*control.Client) error, here func() error) error {
	err := e.Ask(there)
	var d *control.DialError
	if errors.As(err, &d) && d.Stage <= control.NoProcess || errors.Is(err, control.ErrUnsupported) {
		return here()
	}
	return err
}

func removeCommand(e *env.Env) *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use:   "remove NODE|KEY",
		Short: "Remove a node, and do not accept it again",
		Long: `In a signed network: signs that the key of NODE counts for nothing any more, for ever; needs the
key of an owner with the right to remove. All tincan nodes end their connections with it as soon as they hear of it. In place of the
name it takes a key, or a fingerprint from "tincan members": also that of an invitation, to withdraw it.

In an open network: deletes what is known of NODE here: its host file, a key that was learned through the
mesh or that another node vouched for, and its addresses. Its connection is closed. It
is not learned again from the mesh; "tincan accept NODE", "import" or a new invitation
brings it back. Other nodes are not affected: run the command on each of them.`,
		Args: frontend.Between("the name of a NODE", 1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := hostFiles(e)
			if err != nil {
				return err
			}
			if ownership.HasRoster(store.Layout) {
				return signed.Remove(e, args[0], reason, func(name node.Name) error { return removeHere(e, store, name) })
			}
			if reason != "" {
				return terminal.Hint(errors.New("--reason is for signed networks"), "this one is open: see %s roster adopt --help", e.Self())
			}
			name, err := node.ParseName(args[0])
			if err != nil {
				return err
			}
			return removeHere(e, store, name)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for everybody to read; one `line`")
	return c
}

// removeHere removes a node of an open network from this node.
func removeHere(e *env.Env, store *keydist.Store, name node.Name) error {
	_, missing := os.Lstat(store.Layout.Host(name))
	again := missing != nil && slices.ContainsFunc(store.Removed(), func(r keydist.Removal) bool { return r.Node == name })
	err := orHere(e, func(c *control.Client) error { return c.RemoveNode(name) },
		func() error { return store.Remove(name, false) })
	if err != nil {
		return frontend.Suggest(err, string(name), e.Nodes)
	}
	if again {
		e.Say("%s is removed already; to restore it: %s accept %s", name, e.Self(), name)
	} else {
		e.Say("removed %s from this node: its host file, what was learned of it, and its addresses", name)
	}
	e.Say("the other nodes still know it; run on each of them: tincan remove %s", name)
	return nil
}

// waitingForm is what waits in a store for a person.
func waitingForm(s *keydist.Store) report.Waiting {
	w := report.Waiting{Changed: []control.KeyChange{}, Removed: []report.RemovedNode{}}
	for _, c := range s.Changes() {
		w.Changed = append(w.Changed, control.KeyChange(c))
	}
	for _, r := range s.Removed() {
		w.Removed = append(w.Removed, report.RemovedNode{Node: r.Node, Since: r.Since})
	}
	return w
}

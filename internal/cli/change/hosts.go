package change

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/terminal"
)

func exportCommand(e *env.Env) *cobra.Command {
	all := false
	c := &cobra.Command{
		Use:   "export",
		Short: "Print the host file of this node (its public key and addresses)",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE:  func(*cobra.Command, []string) error { return exportHosts(e, all) },
	}
	c.Flags().BoolVar(&all, "all", false, "print the host files of all nodes")
	return c
}

func exportHosts(e *env.Env, all bool) error {
	l, err := e.Existing()
	if err != nil {
		return err
	}
	if all {
		return confdir.WriteHosts(e.Out, l)
	}
	own, err := confdir.OwnName(l)
	if err != nil {
		return err
	}
	return confdir.WriteHost(e.Out, l, own)
}

func exchangeCommand(e *env.Env) *cobra.Command {
	all, force := false, false
	c := &cobra.Command{
		Use:   "exchange",
		Short: "Export, then import what another node exports",
		Long: `Prints the host file of this node and then stores those that it reads: with a pipe
in each direction, two nodes exchange their host files.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if err := exportHosts(e, all); err != nil {
				return err
			}
			if out, ok := e.Out.(io.Closer); ok && !e.Interactive() {
				out.Close() // the other side waits for the end
			}
			return importHosts(e, nil, force)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "print the host files of all nodes")
	c.Flags().BoolVar(&force, "force", false, "replace host files that are there already")
	return c
}

// maxImport is how much import reads, in bytes.
const maxImport = 64 << 20

func importCommand(e *env.Env) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Store host files that other nodes exported",
		Long: `Reads host files from FILE or from standard input and stores them. Existing files
are kept. Lines that another machine must not choose for
this one are left out, such as file names or a weaker cipher; set them by hand if
you want them.`,
		Args: frontend.Between("one FILE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return importHosts(e, args, force) },
	}
	c.Flags().BoolVar(&force, "force", false, "replace host files that are there already")
	return c
}

func importHosts(e *env.Env, args []string, force bool) error {
	l, err := e.Existing()
	if err != nil {
		return err
	}
	in := e.In
	if len(args) > 0 {
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxImport))
	if err != nil {
		return err
	}
	hosts, junk, err := config.ReadBundle(data)
	switch {
	case err != nil:
		return err
	case len(hosts) == 0:
		return terminal.Hint(errors.New("there is no host file in the input"), "the other node prints its own with: tincan -n NETWORK export")
	case junk:
		e.Say("warning: the text before the first Name line is ignored")
	}
	signed, _ := ownership.Open(l, e.Ask) // nil if the network is open
	n := 0
	for _, h := range hosts {
		clean, problems, err := hostfile.Check(h.Name, h.Text, hostfile.Offered)
		if err != nil {
			e.Say("leaving out the %v", err)
			continue
		}
		for _, p := range problems {
			e.Say("leaving out of the host file of %s: %s", h.Name, p)
		}
		h.Text = clean
		err = confdir.ImportHost(l, h, force)
		if errors.Is(err, fs.ErrExist) {
			e.Say("there is a host file %s already; it is not changed", l.Host(h.Name))
			continue
		}
		if err != nil {
			return err
		}
		e.Say("stored %s", l.Host(h.Name))
		n++
		if signed != nil && signed.Roster.State().Member(h.Name) == nil {
			e.Say("note: %s is no member of this signed network; to make it one: %s admit %s", h.Name, e.Self(), h.Name)
		}
	}
	if n == 0 {
		return terminal.Hint(errors.New("nothing was imported"), "--force replaces host files that are there already")
	}
	return nil
}

package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tincan/internal/cli/frontend"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/terminal"
)

func (a *app) exportCommand() *cobra.Command {
	all := false
	c := &cobra.Command{
		Use:   "export",
		Short: "Print the host file of this node (its public key and addresses)",
		Args:  frontend.Between("no arguments", 0, 0),
		RunE:  func(*cobra.Command, []string) error { return a.exportHosts(all) },
	}
	c.Flags().BoolVar(&all, "all", false, "print the host files of all nodes")
	return c
}

func (a *app) exportHosts(all bool) error {
	l, err := a.existing()
	if err != nil {
		return err
	}
	if all {
		return confdir.WriteHosts(a.Out, l)
	}
	own, err := confdir.OwnName(l)
	if err != nil {
		return err
	}
	return confdir.WriteHost(a.Out, l, own)
}

func (a *app) exchangeCommand() *cobra.Command {
	all, force := false, false
	c := &cobra.Command{
		Use:   "exchange",
		Short: "Export, then import what another node exports",
		Long: `Prints the host file of this node and then stores those that it reads: with a pipe
in each direction, two nodes exchange their host files.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if err := a.exportHosts(all); err != nil {
				return err
			}
			if out, ok := a.Out.(io.Closer); ok && !a.Interactive() {
				out.Close() // the other side waits for the end
			}
			return a.importHosts(nil, force)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "print the host files of all nodes")
	c.Flags().BoolVar(&force, "force", false, "replace host files that are there already")
	return c
}

// maxImport is how much import reads, in bytes.
const maxImport = 64 << 20

func (a *app) importCommand() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Store host files that other nodes exported",
		Long: `Reads host files from FILE or from standard input and stores them. Existing files
are kept. Lines that another machine must not choose for
this one are left out, such as file names or a weaker cipher; set them by hand if
you want them.`,
		Args: frontend.Between("one FILE", 0, 1),
		RunE: func(_ *cobra.Command, args []string) error { return a.importHosts(args, force) },
	}
	c.Flags().BoolVar(&force, "force", false, "replace host files that are there already")
	return c
}

func (a *app) importHosts(args []string, force bool) error {
	l, err := a.existing()
	if err != nil {
		return err
	}
	in := a.In
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
		a.say("warning: the text before the first Name line is ignored")
	}
	n := 0
	for _, h := range hosts {
		clean, problems, err := hostfile.Check(h.Name, h.Text, hostfile.Offered)
		if err != nil {
			a.say("leaving out the %v", err)
			continue
		}
		for _, p := range problems {
			a.say("leaving out of the host file of %s: %s", h.Name, p)
		}
		h.Text = clean
		err = confdir.ImportHost(l, h, force)
		if errors.Is(err, fs.ErrExist) {
			a.say("there is a host file %s already; it stays as it is", l.Host(h.Name))
			continue
		}
		if err != nil {
			return err
		}
		a.say("stored %s", l.Host(h.Name))
		n++
	}
	if n == 0 {
		return terminal.Hint(errors.New("nothing was imported"), "--force replaces host files that are there already")
	}
	return nil
}

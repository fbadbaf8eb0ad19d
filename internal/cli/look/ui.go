package look

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/command"
	"tincan/internal/control"
	"tincan/internal/pidfile"
	"tincan/internal/terminal"
	"tincan/internal/ui"
)

func uiCommand(e *env.Env) *cobra.Command {
	var noBrowser bool
	var port uint16
	c := &cobra.Command{
		Use:   "ui",
		Short: "Show the network in the browser: paths, members, this node",
		Long: `Opens a page with the matrix and the map of all paths, the members, and what this node
carries and drops. It asks the running node, and can do what this user can.

The page is served by this command, on this machine only (127.0.0.1), until Ctrl-C is
pressed or no browser has been there for ten minutes. The link lets one browser in, once,
within a minute. As root no browser is started: the link is printed.`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			l, err := e.Layout()
			if err != nil {
				return err
			}
			pidFile := l.ForClient().PidFile
			dial := func(ctx context.Context) (net.Conn, error) { return pidfile.DialAPI(ctx, pidFile) }
			if err := reachable(e, dial); err != nil {
				return err
			}
			page, err := ui.NewLocal(int(port), dial)
			if err != nil {
				return terminal.Hint(err, "another program uses this port; without --port a free one is taken")
			}
			defer show(e, page, noBrowser)()
			ctx, stop := command.Interruptible()
			defer stop()
			why, err := page.Serve(ctx)
			switch {
			case err != nil:
				return fmt.Errorf("serving the page: %w", err)
			case why == ui.Unused:
				return terminal.Hint(errors.New("nobody has used the link within a minute"), "make another one: %s ui", e.Self())
			case why == ui.Idle:
				e.Say("no browser has been here for ten minutes; the page has ended")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&noBrowser, "no-browser", false, "only print the link")
	c.Flags().Uint16Var(&port, "port", 0, "`port` on this machine where the page is (default: a free one)")
	return c
}

// reachable tells whether the API of the node can be reached, and else what to do.
func reachable(e *env.Env, dial func(context.Context) (net.Conn, error)) error {
	conn, err := dial(context.Background())
	if err == nil {
		conn.Close()
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return e.NotRunning(err)
	}
	if down := e.Ask(func(*control.Client) error { return nil }); down != nil {
		return down
	}
	return terminal.Hint(fmt.Errorf("the running node has no socket for its page: %w", err), "it is tinc or an older tincan, which has none; restart it with this program: %s restart", e.Self())
}

// show opens the browser or prints the link. forget removes what that has left.
func show(e *env.Env, page *ui.Local, noBrowser bool) (forget func()) {
	opened := false
	if !noBrowser {
		f, err := page.Open()
		if opened = err == nil; !opened && !errors.Is(err, ui.ErrNoBrowser) {
			e.Say("%v", err)
		}
		forget = f
	}
	switch session := strings.Fields(os.Getenv("SSH_CONNECTION")); {
	case opened:
		e.Say("the page opens in your browser; if it does not, this link is valid for a minute, once:")
	case len(session) == 4:
		e.Say("on the machine in front of you, first: ssh -L %d:127.0.0.1:%d %s", page.Port(), page.Port(), session[2])
		e.Say("then open this link there; it is valid for a minute, once:")
	default:
		e.Say("open this link in a browser on this machine; it is valid for a minute, once:")
	}
	fmt.Fprintln(e.Out, page.Link(-1))
	e.Say("Ctrl-C ends the page")
	if forget == nil {
		forget = func() {}
	}
	return forget
}

package tinc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"tincan/internal/cli/launch"
	"tincan/internal/control"
	"tincan/internal/node"
)

// start starts tincd, that is this program under that name, with our options
// and those after the command.
func start(c *call, args []string) error {
	if d, err := c.dial(); err == nil {
		defer d.Close()
		where := ""
		if c.layout.NetName != "" {
			where = fmt.Sprintf(" for net `%s'", c.layout.NetName)
		}
		fmt.Fprintf(c.Err, "A tincd is already running%s with pid %d.\n", where, d.PID())
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, append(c.options, args...)...)
	cmd.Args[0] = "tincd"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	foreground := false
	for _, a := range args {
		foreground = foreground || a == "-D" || a == "--no-detach"
	}
	if foreground {
		err = cmd.Run()
	} else {
		err = launch.Start(cmd, c.Err, c.Color(), true)
	}
	if err != nil {
		if !errors.As(err, new(*exec.ExitError)) {
			fmt.Fprintln(c.Err, err)
		}
		return sentence("Error starting tincd")
	}
	return nil
}

func restart(c *call, args []string) error {
	if err := stop(c, nil); err != nil {
		var d *control.DialError
		if errors.As(err, &d) {
			err = errors.New(d.TincText())
		}
		fmt.Fprintln(c.Err, err)
	}
	return start(c, args)
}

func stop(c *call, _ []string) error {
	signalled, err := control.Stop(context.Background(), c.layout.ForClient().PidFile)
	if signalled != 0 {
		fmt.Fprintf(c.Err, "Sent TERM signal to process with PID %d.\n", signalled)
	}
	return err
}

func pid(c *call, _ []string) error {
	return c.ask(func(d *control.Client) error {
		_, err := fmt.Fprintln(c.Out, d.PID())
		return err
	})
}

func reload(c *call, _ []string) error {
	return c.ask(func(d *control.Client) error {
		if err := d.Reload(); err != nil {
			return fmt.Errorf("%w: %w", sentence("Could not reload configuration"), err)
		}
		return nil
	})
}

func purge(c *call, _ []string) error { return c.ask((*control.Client).Purge) }
func retry(c *call, _ []string) error { return c.ask((*control.Client).Retry) }

// debug changes the debug level; a word that is no number counts as 0.
func debug(c *call, args []string) error {
	level, _ := strconv.Atoi(args[0])
	return c.ask(func(d *control.Client) error {
		old, err := d.SetDebug(level)
		if err == nil {
			fmt.Fprintf(c.Err, "Old level %d, new level %d.\n", old, level)
		}
		return err
	})
}

func connect(c *call, args []string) error {
	name, err := parseName(args[0])
	if err != nil {
		return err
	}
	return c.ask(func(d *control.Client) error {
		if err := d.Connect(name); err != nil {
			return fmt.Errorf("%w: %w", sentence("Could not connect to "+string(name)), err)
		}
		return nil
	})
}

func disconnect(c *call, args []string) error {
	name, err := parseName(args[0])
	if err != nil {
		return err
	}
	return c.ask(func(d *control.Client) error {
		found, err := d.Disconnect(name)
		if err == nil && !found {
			err = sentence("Could not disconnect " + string(name) + ".")
		}
		return err
	})
}

func parseName(text string) (node.Name, error) {
	name, err := node.ParseName(text)
	if err != nil {
		return name, sentence("Invalid name for node.")
	}
	return name, nil
}

// ask asks the running daemon something.
func (c *call) ask(question func(*control.Client) error) error {
	d, err := c.dial()
	if err != nil {
		return err
	}
	defer d.Close()
	return question(d)
}

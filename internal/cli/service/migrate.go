package service

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tincan/internal/check"
	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/newcomers"
	"tincan/internal/terminal"
)

func migrateCommand(e *env.Env) *cobra.Command {
	back, names, dry := false, false, false
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Replace tinc by tincan on this machine, or go back",
		Long: `Lets tincan run a network that tinc's service (tinc@NETWORK) runs now, and with
--back the other way round. The files of the network stay as they are; tincan
checks them before, as "tincan check" does. If the new service does not start,
the old one is started again.

With --names the commands tinc and tincd of this machine are tincan's, for your
scripts: by Debian's alternatives, so that tinc's package may be installed or
not. With --names --back they are tinc's again.

  tincan -n home migrate            stop and disable tinc@home, enable tincan@home
  tincan -n home migrate --back     the other way round
  tincan migrate --names            tinc and tincd mean tincan
  tincan migrate --names --back     they mean what tinc's package says`,
		Args: frontend.Between("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			switch {
			case names && back:
				return releaseNames(e, dry)
			case names:
				return takeNames(e, dry)
			case back:
				return migrateBack(e, dry)
			}
			return migrate(e, dry)
		},
	}
	c.Flags().BoolVar(&back, "back", false, "return to tinc")
	c.Flags().BoolVar(&names, "names", false, "the commands tinc and tincd, not a network")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would be done")
	return c
}

// tincUnit is tinc's service of the network that is meant, next to ours.
func tincUnit(e *env.Env) (theirs, ours string, err error) {
	if !BySystemd() {
		return "", "", terminal.Hint(errors.New("services are replaced under systemd only"),
			"stop and disable tinc's service, then: %s service install", e.Self())
	}
	if ours, err = unitName(e); err != nil {
		return "", "", err
	}
	return "tinc" + strings.TrimPrefix(ours, "tincan"), ours, nil
}

// state is what systemd has to do with a unit.
type state struct{ active, enabled bool }

func stateOf(unit string) state {
	return state{active(unit), exec.Command("systemctl", "is-enabled", "--quiet", unit).Run() == nil}
}

// restore gives a unit the state that it had.
func (s state) restore(e *env.Env, unit string) error {
	var errs []error
	if s.enabled {
		errs = append(errs, systemctl(e, false, "enable", unit))
	}
	if s.active {
		errs = append(errs, systemctl(e, false, "start", unit))
	}
	return errors.Join(errs...)
}

// migrate replaces tinc's service by ours.
func migrate(e *env.Env, dry bool) error {
	l, err := e.Existing()
	if err != nil {
		return err
	}
	theirs, ours, err := tincUnit(e)
	if err != nil {
		return err
	}
	r, err := check.Directory(l)
	if err != nil {
		return err
	}
	if r.Unusable || r.Breaks > 0 {
		return terminal.Hint(fmt.Errorf("not everything in %s would work with tincan; nothing was changed", l.ConfBase), "see: %s check", e.Self())
	}
	before := stateOf(theirs)
	if before == (state{}) && active(ours) {
		e.Say("%s runs already", ours)
		return nil
	}
	if before != (state{}) || dry {
		if err := systemctl(e, dry, "disable", "--now", theirs); err != nil {
			return errors.Join(err, undo(e, before, theirs))
		}
	}
	if err := Install(e, newcomers.Options{}, dry); err != nil {
		if dry {
			return err
		}
		if before != (state{}) {
			err = errors.Join(err, uninstall(e, false), undo(e, before, theirs))
		}
		return terminal.Hint(err, "its log: journalctl -u %s", ours)
	}
	if dry {
		return nil
	}
	if unit := "tinc-boot-" + filepath.Base(l.ConfBase) + ".service"; active(unit) {
		e.Say("%s still lets newcomers in, by tinc-boot; tincan does that, too: see up --boot", unit)
	}
	e.Say("to go back to tinc: %s migrate --back", e.Self())
	return nil
}

// undo starts a service again that was stopped in vain.
func undo(e *env.Env, before state, unit string) error {
	if err := before.restore(e, unit); err != nil {
		return fmt.Errorf("starting %s again failed, too: %w", unit, err)
	}
	e.Say("%s is as it was before", unit)
	return nil
}

// migrateBack replaces our service by tinc's.
func migrateBack(e *env.Env, dry bool) error {
	if _, err := e.Existing(); err != nil {
		return err
	}
	theirs, ours, err := tincUnit(e)
	if err != nil {
		return err
	}
	if !dry && exec.Command("systemctl", "cat", theirs).Run() != nil {
		return terminal.Hint(fmt.Errorf("there is no service %s", theirs), "install tinc, or start tincd as before after: %s down", e.Self())
	}
	before := stateOf(ours)
	if before != (state{}) || dry {
		if err := systemctl(e, dry, "disable", "--now", ours); err != nil {
			return errors.Join(err, undo(e, before, ours))
		}
	}
	if err := systemctl(e, dry, "enable", "--now", theirs); err != nil {
		if before != (state{}) {
			err = errors.Join(err, systemctl(e, false, "disable", "--now", theirs), undo(e, before, ours))
		}
		return terminal.Hint(err, "its log: journalctl -u %s", theirs)
	}
	if dry {
		return nil
	}
	if err := uninstall(e, false); err != nil {
		return err
	}
	e.Say("%s is enabled and runs; its log: journalctl -u %s", theirs, theirs)
	return nil
}

// tincNames are the commands of tinc's packages and where those are.
var tincNames = []string{"/usr/sbin/tincd", "/usr/sbin/tinc"}

// Among the alternatives, the one that was asked for comes first.
const (
	ownPriority  = "60"
	tincPriority = "40"
)

// aside is where tinc's own program is while an alternative has its name.
func aside(path string) string { return path + ".tinc" }

// takeNames makes tinc and tincd mean this program. Files of tinc's package are moved aside by dpkg, which also knows
// what to do when that package comes, changes or goes.
func takeNames(e *env.Env, dry bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, path := range tincNames {
		if err := alternatives(e, dry, "dpkg-divert", "--package", "tincan", "--rename", "--divert", aside(path), "--add", path); err != nil {
			return err
		}
		if _, err := os.Stat(aside(path)); err == nil {
			if err := alternatives(e, dry, "update-alternatives", "--install", path, filepath.Base(path), aside(path), tincPriority); err != nil {
				return err
			}
		}
		if err := alternatives(e, dry, "update-alternatives", "--install", path, filepath.Base(path), self, ownPriority); err != nil {
			return err
		}
	}
	if !dry {
		e.Say("tinc and tincd are tincan now; services that run go on until they are restarted. To undo it: tincan migrate --names --back")
	}
	return nil
}

// releaseNames undoes that.
func releaseNames(e *env.Env, dry bool) error {
	for _, path := range tincNames {
		// All alternatives of a name that only takeNames makes one, also those for programs that are not there any more.
		if dry || exec.Command("update-alternatives", "--query", filepath.Base(path)).Run() == nil {
			if err := alternatives(e, dry, "update-alternatives", "--remove-all", filepath.Base(path)); err != nil {
				return err
			}
		}
		if err := alternatives(e, dry, "dpkg-divert", "--package", "tincan", "--rename", "--remove", path); err != nil {
			return err
		}
	}
	if !dry {
		e.Say("tinc and tincd are what tinc's package says")
	}
	return nil
}

// alternatives runs one of Debian's commands, or prints that it would.
func alternatives(e *env.Env, dry bool, command string, args ...string) error {
	if dry {
		fmt.Fprintln(e.Out, command, strings.Join(args, " "))
		return nil
	}
	cmd := exec.Command(command, args...)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return terminal.Hint(fmt.Errorf("taking tinc's names: %w", err), "without Debian's alternatives, make links named tinc and tincd to tincan in a directory of your $PATH")
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", command, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Package service makes the node of a network a service of the system: with systemd by the unit of this program, else
// with whatever starts services there. It is also the process of that service.
package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/newcomers"
	"tincan/internal/cli/version"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/report"
	"tincan/internal/terminal"
	"tincan/packaging"
)

// Commands are the commands about services.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{serviceCommand(e), unitCommand(e), migrateCommand(e)}
}

func serviceCommand(e *env.Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Manage the system service of the network",
		Long: `Makes the network a service of this system, which starts it at boot and again
when it fails: with systemd on most Linux systems, else with OpenRC, launchd,
the services of Windows, and so on.

  tincan -n home service install     install and start the service
  tincan -n home service status      is it installed, and does it run?
  tincan -n home service uninstall   stop and remove the service

The files of the network are not touched.`,
		Args: frontend.NoSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dry, asJSON := false, false
	boot := newcomers.Options{Managed: true}
	for _, sub := range []*cobra.Command{
		{Use: "install", Short: "Install the service and start it", RunE: func(*cobra.Command, []string) error { return Install(e, newcomers.Options{}, dry) }},
		{Use: "uninstall", Short: "Stop the service and remove it", RunE: func(*cobra.Command, []string) error { return uninstall(e, dry) }},
		{Use: "status", Short: "Show whether the service is installed and running",
			Long: `Tells whether there is a service, and whether it runs. The exit status is 0 if it
runs, 3 if it does not, and 4 if there is none.`,
			RunE: func(*cobra.Command, []string) error { return serviceStatus(e, asJSON) }},
		{Use: "run", Short: "Run as a service (called by the system)", Hidden: true, RunE: func(*cobra.Command, []string) error { return runService(e, boot) }},
	} {
		sub.Args = frontend.Between("no arguments", 0, 0)
		c.AddCommand(sub)
		if sub.Name() == "install" || sub.Name() == "uninstall" {
			sub.Flags().BoolVar(&dry, "dry-run", false, "print what would be done")
		}
		if sub.Name() == "status" {
			frontend.JSONFlag(sub, &asJSON)
		}
		if sub.Name() == "run" {
			sub.Flags().StringVar(&boot.Binding, "boot", "", "admit new nodes at this `address`")
			sub.Flags().BoolVar(&boot.TLSSelf, "tls-self", false, "serve HTTPS with a self-signed certificate")
		}
	}
	return c
}

// Exit statuses of "service status", as init scripts have them.
const (
	serviceStopped = 3
	serviceMissing = 4
)

// BySystemd tells whether systemd runs this system: then our own unit is used,
// which knows more than one made for every program.
func BySystemd() bool { return service.Platform() == "linux-systemd" }

// unitName is the instance of our unit template for the network.
func unitName(e *env.Env) (string, error) {
	if _, err := confdir.CheckNetName(e.Place.Net); err != nil {
		return "", err
	}
	if e.Place.Net == "" || e.Place.Net == "." || e.Place.Conf != "" {
		return "", terminal.Hint(errors.New("with systemd a service needs the name of a network in /etc/tinc"), "name it: tincan -n NETWORK service …")
	}
	out := strings.NewReplacer("-", `\x2d`, " ", `\x20`).Replace(e.Place.Net)
	return "tincan@" + out + ".service", nil
}

// systemctl runs systemctl, or prints that it would.
func systemctl(e *env.Env, dry bool, args ...string) error {
	if dry {
		fmt.Fprintln(e.Out, "systemctl", strings.Join(args, " "))
		return nil
	}
	cmd := exec.Command("systemctl", args...)
	cmd.Stdout, cmd.Stderr = e.Err, e.Err
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Install makes the node a service and starts it; with dry it prints what it would do. With o.Binding
// it lets newcomers in, too.
func Install(e *env.Env, o newcomers.Options, dry bool) error {
	l, err := e.Existing()
	if err != nil {
		return err
	}
	newcomer := !dry && command.IsNewcomer(l)
	if !BySystemd() {
		if err := foreign(e, "install", o, dry); err != nil || !newcomer {
			return err
		}
		newcomers.SayContacts(e, l)
		return nil
	}
	unit, err := unitName(e)
	if err != nil {
		return err
	}
	text, err := unitText()
	if err != nil {
		return err
	}
	if pid := e.Runs(); pid != 0 && !dry && !active(unit) {
		return terminal.Hint(fmt.Errorf("the node is already running (pid %d), and not as a service", pid), "stop it first: %s down", e.Self())
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var files [][2]string
	if !packaged(self) {
		files = append(files, [2]string{unitFile, text})
	}
	if o.Binding != "" {
		text, err := bootDropIn(e, o)
		if err != nil {
			return err
		}
		files = append(files, [2]string{dropIn(unit), text})
	}
	ran := !dry && active(unit)
	for _, file := range files {
		if dry {
			fmt.Fprintf(e.Out, "# %s\n%s", file[0], file[1])
			continue
		}
		if err := confdir.MakeDir(filepath.Dir(file[0]), 0o755); err != nil {
			return err
		}
		if err := confdir.WriteFile(file[0], []byte(file[1]), 0o644); err != nil {
			return err
		}
	}
	if err := errors.Join(systemctl(e, dry, "daemon-reload"), systemctl(e, dry, "enable", "--now", unit)); err != nil {
		return err
	}
	if ran && o.Binding != "" { // it may run without that
		if err := systemctl(e, dry, "restart", unit); err != nil {
			return err
		}
	}
	if !dry {
		e.Say("%s is enabled and runs; its log: journalctl -u %s", unit, unit)
	}
	if newcomer {
		newcomers.SayContacts(e, l)
	}
	return nil
}

// active tells whether systemd runs a unit.
func active(unit string) bool {
	return exec.Command("systemctl", "is-active", "--quiet", unit).Run() == nil
}

// dropIn is the file that makes the service of one network let newcomers in, too.
func dropIn(unit string) string {
	return filepath.Join("/etc/systemd/system", unit+".d", "boot.conf")
}

// bootDropIn is its text.
func bootDropIn(e *env.Env, o newcomers.Options) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	words := append([]string{self, "-n", e.Place.Net, "up"}, o.Words()...)
	return fmt.Sprintf("[Service]\nExecStart=\nExecStart=%s\n", command.UnitWords(words)), nil
}

// Restart restarts the node as the service that it is. done tells whether it is one that
// runs.
func Restart(e *env.Env) (done bool, err error) {
	if BySystemd() {
		unit, err := unitName(e)
		if err != nil || !active(unit) {
			return false, nil
		}
		if err := systemctl(e, false, "restart", unit); err != nil {
			return true, err
		}
		e.Say("%s was started again", unit)
		return true, nil
	}
	s, name, err := foreignService(e, newcomers.Options{})
	if err != nil || noInitScript(name) {
		return false, nil
	}
	if state, err := s.Status(); err != nil || state != service.StatusRunning {
		return false, nil
	}
	return true, s.Restart()
}

// unitText is our unit template with the path of this program.
func unitText() (string, error) {
	self, err := os.Executable()
	return strings.ReplaceAll(packaging.Unit, packaging.Program, self), err
}

// packaged tells whether a package has installed our unit for this very program: then a copy in /etc would only hide
// what later versions of the package bring.
func packaged(self string) bool {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		text, err := os.ReadFile(filepath.Join(dir, filepath.Base(unitFile)))
		if err == nil && strings.Contains(string(text), "ExecStart="+self+" ") {
			_, err := os.Stat(unitFile)
			return errors.Is(err, os.ErrNotExist)
		}
	}
	return false
}

func uninstall(e *env.Env, dry bool) error {
	if !BySystemd() {
		return foreign(e, "uninstall", newcomers.Options{}, dry)
	}
	unit, err := unitName(e)
	if err != nil {
		return err
	}
	if !dry && errors.As(exec.Command("systemctl", "cat", unit).Run(), new(*exec.ExitError)) {
		e.Say("the service %s is not installed", unit)
		return nil
	}
	if err := systemctl(e, dry, "disable", "--now", unit); err != nil {
		return err
	}
	if !dry && os.Remove(dropIn(unit)) == nil {
		os.Remove(filepath.Dir(dropIn(unit))) // unless there is something of somebody else in it
	}
	if others, _ := filepath.Glob("/etc/systemd/system/*/tincan@*.service"); len(others) > 0 && !dry {
		return nil // which need the template
	}
	if dry {
		fmt.Fprintln(e.Out, "rm", unitFile, "# unless another network uses it")
	} else if err := os.Remove(unitFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return systemctl(e, dry, "daemon-reload")
}

func serviceStatus(e *env.Env, asJSON bool) error {
	var state service.Status
	name := ""
	if BySystemd() {
		unit, err := unitName(e)
		if err != nil {
			return err
		}
		name = unit
		out, _ := exec.Command("systemctl", "show", "--property=ActiveState,UnitFileState", unit).Output()
		switch text := string(out); {
		case strings.Contains(text, "ActiveState=active"), strings.Contains(text, "ActiveState=reloading"):
			state = service.StatusRunning
		case strings.Contains(text, "UnitFileState=enabled"):
			state = service.StatusStopped
		}
	} else {
		s, own, err := foreignService(e, newcomers.Options{})
		if err != nil {
			return err
		}
		name = own
		if state, err = s.Status(); err != nil && !errors.Is(err, service.ErrNotInstalled) && !noInitScript(name) {
			return fmt.Errorf("asking %s about the service %s: %w", service.Platform(), name, err)
		}
	}
	if asJSON {
		err := e.PrintJSON(report.Service{
			Name: name, Platform: service.Platform(), Running: state == service.StatusRunning,
			Installed: state == service.StatusRunning || state == service.StatusStopped,
		})
		if err != nil {
			return err
		}
	}
	say := func(text string) {
		if !asJSON {
			fmt.Fprintf(e.Out, "%s %s (%s)\n", name, text, service.Platform())
		}
	}
	switch state {
	case service.StatusRunning:
		say("runs")
		return nil
	case service.StatusStopped:
		say("is installed and does not run")
		return frontend.Failed(serviceStopped)
	}
	say("is not installed")
	return frontend.Failed(serviceMissing)
}

// noInitScript tells whether System V's init runs this system and has no script of that name. Its
// status is an error then, as it is when anything else is wrong.
func noInitScript(name string) bool {
	_, err := os.Lstat(filepath.Join("/etc/init.d", name))
	return service.Platform() == "unix-systemv" && errors.Is(err, os.ErrNotExist)
}

// removeRunLevelLinks removes the links below etc by which System V's init starts and stops a service.
func removeRunLevelLinks(etc, name string) {
	links, _ := filepath.Glob(filepath.Join(etc, "rc[0-6].d", "[SK][0-9][0-9]"+name))
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && filepath.Base(to) == name {
			os.Remove(link)
		}
	}
}

// serviceName is what the service is called where there is no systemd: "tincan" and the
// network. A network that has a directory but no name gets the last word of its path, and
// a piece of the path's hash, because two of them may end alike.
func serviceName(e *env.Env) (string, error) {
	switch net := e.Place.Net; {
	case net != "" && net != ".":
		return "tincan-" + net, nil
	case e.Place.Conf == "":
		return "tincan", nil
	}
	dir, err := filepath.Abs(e.Place.Conf)
	if err != nil {
		return "", err
	}
	word := strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '_' {
			return r
		}
		return -1 // init scripts and registries take less than file systems
	}, filepath.Base(dir))
	return fmt.Sprintf("tincan-%.32s-%.4x", word, sha256.Sum256([]byte(dir))), nil
}

// serviceArgs is the command line of the service, without the program.
func serviceArgs(e *env.Env, boot []string) (args []string, err error) {
	if e.Place.Net != "" {
		args = append(args, "--net="+e.Place.Net)
	}
	for _, o := range []struct{ option, path string }{{"--pidfile", e.Place.PidFile}, {"--config", e.Place.Conf}} {
		if o.path == "" {
			continue
		}
		path, err := filepath.Abs(o.path)
		if err != nil {
			return nil, err
		}
		args = append(args, o.option+"="+path)
	}
	return append(append(args, "service", "run"), boot...), nil
}

// foreignService is the service in the terms of whatever runs this system, and its name.
func foreignService(e *env.Env, o newcomers.Options) (service.Service, string, error) {
	name, err := serviceName(e)
	if err != nil {
		return nil, "", err
	}
	args, err := serviceArgs(e, o.Words())
	if err != nil {
		return nil, "", err
	}
	network := strings.TrimPrefix(strings.TrimPrefix(name, "tincan"), "-")
	s, err := service.New(&networkService{e: e, admit: o}, &service.Config{
		// Windows wants display names to be unique, too.
		Name: name, DisplayName: strings.TrimSpace("tincan " + network), Description: strings.TrimSpace("VPN node of the network " + network),
		Arguments: args,
		Option:    service.KeyValue{"LaunchdConfig": packaging.Launchd, "OnFailure": "restart", "OnFailureDelayDuration": "5s"},
	})
	return s, name, err
}

// foreign installs or removes the service on a system without systemd.
func foreign(e *env.Env, action string, o newcomers.Options, dry bool) error {
	s, name, err := foreignService(e, o)
	if err != nil {
		return fmt.Errorf("services of this system: %w", err)
	}
	if dry {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		args, err := serviceArgs(e, o.Words())
		if err != nil {
			return err
		}
		fmt.Fprintf(e.Out, "%s the service %s of %s, which runs: %s %s\n", action, name, service.Platform(), self, strings.Join(args, " "))
		return nil
	}
	if action == "uninstall" {
		if _, err := s.Status(); errors.Is(err, service.ErrNotInstalled) || noInitScript(name) {
			e.Say("the service %s is not installed", name)
		} else {
			_ = s.Stop() // it may be stopped already
			if err := s.Uninstall(); err != nil {
				return err
			}
			e.Say("the service %s is stopped and removed", name)
		}
		if service.Platform() == "unix-systemv" {
			removeRunLevelLinks("/etc", name) // also those that an earlier version has left behind
		}
		return nil
	}
	if pid := e.Runs(); pid != 0 {
		return terminal.Hint(fmt.Errorf("the node is already running (pid %d)", pid), "stop it first: %s down", e.Self())
	}
	if err := s.Install(); err != nil {
		return err
	}
	if err := s.Start(); err != nil {
		return fmt.Errorf("it is installed, but starting it failed: %w", err)
	}
	e.Say("the service %s is installed and runs", name)
	return nil
}

// runService is the process of the service, where there is no systemd.
func runService(e *env.Env, o newcomers.Options) error {
	s, _, err := foreignService(e, o)
	if err != nil {
		return err
	}
	return s.Run()
}

// networkService is the node as a service manager of another system sees it.
type networkService struct {
	e     *env.Env
	admit newcomers.Options
	end   context.CancelFunc
	done  chan error
}

// Start begins to run the node, and does not wait.
func (n *networkService) Start(s service.Service) error {
	l, err := n.e.Existing()
	if err != nil {
		return err
	}
	boot, err := newcomers.Open(n.e, n.admit, l)
	if err != nil {
		return err
	}
	l, _ = l.ForDaemon()
	if err := os.Chdir(l.ConfBase); err != nil {
		return fmt.Errorf("changing to the directory of the network: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	n.end, n.done = end, make(chan error, 1)
	o := launch.Options{Layout: l, Version: version.Text(), Style: launch.Tinc11, Beside: newcomers.Beside(boot, l)}
	if !service.Interactive() {
		o.LogFile = l.LogFile // nobody sees standard error
	}
	go func() {
		err := launch.Run(ctx, o, n.e.Streams)
		n.done <- err
		if err != nil {
			if log, e := s.Logger(nil); e == nil {
				_ = log.Error(err)
			}
			if status := frontend.Status(err); status != launch.StatusRemoved {
				os.Exit(status) // so that the manager knows, and tries again
			}
			rest(s)
		}
		if ctx.Err() == nil { // told to stop by "tincan down", or by a signal
			if service.Platform() != "windows-service" {
				os.Exit(0)
			}
			_ = s.Stop() // the manager of services wants to hear of it
		}
	}()
	return nil
}

// rest ends this process, and sees to it that the manager of services does not start it again before the next boot: the
// node was removed from its network. launchd starts only what has failed; the others are told to stop the service.
func rest(s service.Service) {
	if service.Platform() != "darwin-launchd" {
		_ = s.Stop()
	}
	os.Exit(0)
}

// Stop ends the node and waits for that.
func (n *networkService) Stop(service.Service) error {
	n.end()
	return <-n.done
}

// Package join has the commands that make a network and bring nodes into it: by invitation, and by tokens at a
// boot node.
package join

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"tincan/internal/cli/env"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/service"
	"tincan/internal/config"
	"tincan/internal/terminal"
)

// Commands are these commands.
func Commands(e *env.Env) []*cobra.Command {
	return []*cobra.Command{initCommand(e), inviteCommand(e), joinCommand(e), genCommand(e), bootnodeCommand(e), tokenCommand(e)}
}

// unprivileged adds advice to the error of a user who may not write to the system's directory.
func unprivileged(e *env.Env, err error) error {
	if os.Geteuid() <= 0 || e.Place.Conf != "" || !errors.Is(err, fs.ErrPermission) || frontend.Hinted(err) {
		return err
	}
	return terminal.Hint(err, "run this command as root; or without, for tincan exec and tincan proxy, after: mkdir -p ~/.config/tinc")
}

// sayNext tells a person who has just made a node how to go on.
func sayNext(e *env.Env, net, conf string) {
	if len(net) > config.MaxInterface {
		e.Say("note: the interface will be called %s, because its name has at most %d characters; to choose another: %s set Interface NAME", net[:config.MaxInterface], config.MaxInterface, env.SelfFor(net, conf))
	}
	self := env.SelfFor(net, conf)
	if os.Geteuid() > 0 {
		e.Say("next: %s exec -- sh (a shell in the network, without root), or as root: %s up", self, self)
		return
	}
	e.Say("next: %s up", self)
	if conf == "" || !service.BySystemd() {
		e.Say("or, to start it now and at boot: %s service install", self)
	}
}

// Command tincan makes a full-mesh VPN that speaks tinc's protocol. Called as
// tinc or tincd it behaves like those programs.
package main

import (
	"os"

	"tincan/internal/cli"
	"tincan/internal/terminal"
	"tincan/internal/userns"
)

func main() {
	if userns.IsChild() {
		os.Exit(userns.Main())
	}
	os.Exit(cli.Main(os.Args, terminal.OS()))
}

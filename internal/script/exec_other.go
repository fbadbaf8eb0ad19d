//go:build !unix

package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// command prepares the script at path. Without a POSIX shell the interpreter is
// split at white space, and the system decides how to run the file.
func command(ctx context.Context, interpreter, path string) *exec.Cmd {
	args := append(strings.Fields(interpreter), path)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

func run(_ context.Context, cmd *exec.Cmd) error { return cmd.Run() }

// failure says in words why the script called name failed.
func failure(name string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("script %s could not be run: %w", name, err)
	}
	return fmt.Errorf("script %s exited with status %d", name, exit.ExitCode())
}

// Feed runs a command with something to read, for a minute at most. Its words are
// split at white space.
func Feed(ctx context.Context, line string, stdin *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	args := strings.Fields(line)
	if len(args) == 0 {
		return errors.New("there is no command")
	}
	cmd := command(ctx, strings.Join(args[:len(args)-1], " "), args[len(args)-1])
	cmd.Stdin = stdin
	return run(ctx, cmd)
}

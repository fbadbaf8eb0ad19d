//go:build unix

package script

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long a script that is ended early has between SIGTERM and SIGKILL.
const grace = 2 * time.Second

// command prepares the script at path. As in tinc a shell does it, so that the
// interpreter may have arguments and a script needs no first line; the path
// reaches the shell as an argument, so that nothing in it is special.
func command(ctx context.Context, interpreter, path string) *exec.Cmd {
	line := `exec "$1"`
	if interpreter != "" {
		line = interpreter + ` "$1"`
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line, "sh", path)
	// A process group of its own: all that belongs to the script can be killed
	// together, and Ctrl-C at the terminal reaches the daemon, which decides.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	return cmd
}

// run executes the command. If it was ended early nothing of its process group
// is left; what a script that ended by itself left in the background is not
// ours to end.
func run(ctx context.Context, cmd *exec.Cmd) error {
	err := cmd.Run()
	if err != nil && ctx.Err() != nil && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return err
}

// failure says in words why the script called name failed.
func failure(name string, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("script %s could not be run: %w", name, err)
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	switch {
	case ok && ws.Signaled():
		return fmt.Errorf("script %s was killed by a signal: %v", name, ws.Signal())
	case exit.ExitCode() == 126:
		return fmt.Errorf("script %s exited with status 126; is it executable?", name)
	}
	return fmt.Errorf("script %s exited with status %d", name, exit.ExitCode())
}

// Feed runs a line of the shell with something to read, for a minute at most.
func Feed(ctx context.Context, line string, stdin *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Stdin = stdin
	return run(ctx, cmd)
}

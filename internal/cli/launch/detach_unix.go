//go:build unix

package launch

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes cmd independent of our terminal.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// inherit lets cmd inherit a file, and returns the number by which it knows it.
func inherit(cmd *exec.Cmd, f *os.File) (fd int, err error) {
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	return 2 + len(cmd.ExtraFiles), nil
}

// closeOnExec keeps a descriptor away from programs that we run.
func closeOnExec(fd int) { unix.CloseOnExec(fd) }

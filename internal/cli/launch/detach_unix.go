//go:build unix

package launch

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes cmd independent of our terminal.
func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// closeOnExec keeps a descriptor away from programs that we run.
func closeOnExec(fd int) { unix.CloseOnExec(fd) }

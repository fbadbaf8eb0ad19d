package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetPriority sets the nice value of this process: 10, 0 or -10, as tinc does.
// Linux has one for each thread; new threads take over that of their maker.
func SetPriority(p Priority) error {
	nice := [...]int{0, 10, -10}[p]
	if err := allThreads(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(nice)); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

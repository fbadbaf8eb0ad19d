package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// SetPriority sets the nice value of this process: 10, 0 or -10, as tinc does.
// Linux has one for each thread; new threads take over that of their maker.
func SetPriority(p config.Priority) error {
	nice := [...]int{config.PriorityLow: 10, config.PriorityHigh: -10}[p]
	if err := allThreads(unix.SYS_SETPRIORITY, unix.PRIO_PROCESS, 0, uintptr(nice)); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

//go:build unix && !linux

package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// SetPriority sets the nice value of this process: 10, 0 or -10, as tinc does.
func SetPriority(p config.Priority) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, [...]int{config.PriorityLow: 10, config.PriorityHigh: -10}[p]); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

//go:build unix && !linux

package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetPriority sets the nice value of this process: 10, 0 or -10, as tinc does.
func SetPriority(p Priority) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, [...]int{0, 10, -10}[p]); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

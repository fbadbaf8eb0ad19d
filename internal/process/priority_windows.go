package process

import (
	"fmt"

	"golang.org/x/sys/windows"

	"tincan/internal/config"
)

// SetPriority sets the priority class of this process.
func SetPriority(p config.Priority) error {
	class := map[config.Priority]uint32{
		config.PriorityLow: windows.BELOW_NORMAL_PRIORITY_CLASS, config.PriorityNormal: windows.NORMAL_PRIORITY_CLASS, config.PriorityHigh: windows.HIGH_PRIORITY_CLASS,
	}[p]
	if err := windows.SetPriorityClass(windows.CurrentProcess(), class); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

package process

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// SetPriority sets the priority class of this process.
func SetPriority(p Priority) error {
	class := [...]uint32{windows.NORMAL_PRIORITY_CLASS, windows.BELOW_NORMAL_PRIORITY_CLASS, windows.HIGH_PRIORITY_CLASS}[p]
	if err := windows.SetPriorityClass(windows.CurrentProcess(), class); err != nil {
		return fmt.Errorf("setting the priority of the process: %w", err)
	}
	return nil
}

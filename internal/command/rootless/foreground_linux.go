package rootless

import "golang.org/x/sys/unix"

// inForeground tells whether our process group is the one that the keyboard of a terminal is for.
func inForeground(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

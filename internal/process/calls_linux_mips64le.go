package process

import "golang.org/x/sys/unix"

// Calls that not every architecture has; see forbidden and forbiddenHigh.
var (
	forbiddenHere     = []uint32{unix.SYS_CREATE_MODULE, unix.SYS_QUOTACTL_FD, unix.SYS_OPEN_TREE_ATTR, unix.SYS_NFSSERVCTL}
	forbiddenHighHere = []uint32{unix.SYS_FORK, unix.SYS_MKNOD}
)

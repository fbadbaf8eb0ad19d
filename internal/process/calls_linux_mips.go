package process

import "golang.org/x/sys/unix"

// Calls that not every architecture has; see forbidden and forbiddenHigh.
var (
	forbiddenHere     = []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_VM86, unix.SYS_UMOUNT, unix.SYS_STIME, unix.SYS_CLOCK_SETTIME64, unix.SYS_CLOCK_ADJTIME64, unix.SYS_CREATE_MODULE, unix.SYS_QUOTACTL_FD, unix.SYS_OPEN_TREE_ATTR, unix.SYS_NFSSERVCTL, unix.SYS_USELIB}
	forbiddenHighHere = []uint32{unix.SYS_FORK, unix.SYS_MKNOD}
)

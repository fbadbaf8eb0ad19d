package process

import "golang.org/x/sys/unix"

// Calls that not every architecture has; see forbidden and forbiddenHigh.
var (
	forbiddenHere     = []uint32{unix.SYS_KEXEC_FILE_LOAD, unix.SYS_CLOCK_SETTIME64, unix.SYS_CLOCK_ADJTIME64, unix.SYS_QUOTACTL_FD, unix.SYS_OPEN_TREE_ATTR, unix.SYS_NFSSERVCTL, unix.SYS_USELIB}
	forbiddenHighHere = []uint32{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD, unix.SYS_SETUID32, unix.SYS_SETGID32, unix.SYS_SETREUID32, unix.SYS_SETREGID32, unix.SYS_SETRESUID32, unix.SYS_SETRESGID32, unix.SYS_SETFSUID32, unix.SYS_SETFSGID32, unix.SYS_SETGROUPS32}
)

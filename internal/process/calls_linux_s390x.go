package process

import "golang.org/x/sys/unix"

// Calls that not every architecture has; see forbidden and forbiddenHigh.
var (
	forbiddenHere     = []uint32{unix.SYS_KEXEC_FILE_LOAD, unix.SYS_UMOUNT, unix.SYS_CREATE_MODULE, unix.SYS_QUOTACTL_FD, unix.SYS_OPEN_TREE_ATTR, unix.SYS_NFSSERVCTL, unix.SYS_USELIB, unix.SYS_S390_PCI_MMIO_READ, unix.SYS_S390_PCI_MMIO_WRITE}
	forbiddenHighHere = []uint32{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD}
)

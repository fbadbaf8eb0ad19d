package process

import "golang.org/x/sys/unix"

// forbiddenHere are calls that only this architecture has.
func forbiddenHere(high bool) []uint32 {
	calls := []uint32{unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_KEXEC_FILE_LOAD}
	if high {
		calls = append(calls, unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_MKNOD)
	}
	return calls
}

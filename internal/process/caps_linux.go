package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mask is a set of capabilities as the kernel has it.
func mask(caps []Capability) (m uint64) {
	for _, c := range caps {
		m |= 1 << c
	}
	return m
}

// permitted is the set of capabilities that this thread may use.
func permitted() (uint64, error) {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return 0, err
	}
	return uint64(d[1].Permitted)<<32 | uint64(d[0].Permitted), nil
}

// What all threads read in a system call must not lie on a stack, which may move.
var (
	capHeader = unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	capData   [2]unix.CapUserData
)

// keep gives up all capabilities but those wanted, and returns what is left.
func keep(wanted []Capability) (kept []Capability, err error) {
	have, err := permitted()
	if err != nil {
		return nil, err
	}
	left := have & mask(wanted)
	// None are inheritable: a program that we run has none by us, and what root or
	// a setuid bit gives it otherwise.
	capData = [2]unix.CapUserData{
		{Effective: uint32(left), Permitted: uint32(left)},
		{Effective: uint32(left >> 32), Permitted: uint32(left >> 32)},
	}
	if err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&capHeader)), uintptr(unsafe.Pointer(&capData[0]))); err != nil {
		return nil, err
	}
	for _, c := range wanted {
		if left&(1<<c) != 0 {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

// dropBounding takes capabilities away from all programs that this process will
// run, also as root. Without the right to do so there is little to drop.
func dropBounding(keep []Capability) {
	m := mask(keep)
	for c := 0; c <= lastCapability(); c++ {
		if m&(1<<c) == 0 {
			_ = allThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c))
		}
	}
}

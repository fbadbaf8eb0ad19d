package process

import (
	"errors"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"tincan/internal/config"
)

// forbidden are system calls that a node never makes, grouped by what an attacker who has
// taken it over could do with them. They fail with EPERM, in scripts too. Those that only some
// architectures have are in forbiddenHere.
var forbidden = slices.Concat(
	// look into other processes
	[]uint32{unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP, unix.SYS_PERF_EVENT_OPEN},
	// change the kernel, or reach rarely used parts of it
	[]uint32{unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_BPF, unix.SYS_USERFAULTFD,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_PERSONALITY, unix.SYS_FANOTIFY_INIT},
	// change the machine
	[]uint32{unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_QUOTACTL,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SYSLOG, unix.SYS_VHANGUP},
	// bypass the sandbox
	[]uint32{unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR},
)

// forbiddenHigh are added at level High: other programs, and other users.
var forbiddenHigh = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
	unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
	unix.SYS_MKNODAT, unix.SYS_MEMFD_CREATE, unix.SYS_SOCKETPAIR,
}

// forbiddenRequests of ioctl put input into a terminal, as if its user had typed it.
var forbiddenRequests = []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD}

// families of sockets at level High. UNIX sockets lead to services that believe root: the
// node's own are open before.
var families = []uint32{unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// architectures that the filter knows, with the kernel's numbers for them.
var architectures = map[string]uint32{
	"386": unix.AUDIT_ARCH_I386, "amd64": unix.AUDIT_ARCH_X86_64, "arm": unix.AUDIT_ARCH_ARM, "arm64": unix.AUDIT_ARCH_AARCH64,
	"loong64": unix.AUDIT_ARCH_LOONGARCH64, "ppc64le": unix.AUDIT_ARCH_PPC64LE, "riscv64": unix.AUDIT_ARCH_RISCV64,
	"mips": unix.AUDIT_ARCH_MIPS, "mipsle": unix.AUDIT_ARCH_MIPSEL, "mips64": unix.AUDIT_ARCH_MIPS64, "mips64le": unix.AUDIT_ARCH_MIPSEL64,
	"ppc64": unix.AUDIT_ARCH_PPC64, "s390x": unix.AUDIT_ARCH_S390X,
}

// hiddenSockets: here Go makes sockets by socketcall, whose arguments a filter cannot see.
var hiddenSockets = runtime.GOARCH == "386" || runtime.GOARCH == "s390x"

// filterCalls puts a filter for system calls on all threads.
func filterCalls(w Restrictions) error {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return errors.New("not known for this kind of processor")
	}
	raw, err := bpf.Assemble(filter(arch, w.Sandbox == config.SandboxHigh))
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(code)
	if errno != 0 {
		return errno
	}
	return nil
}

// Offsets in struct seccomp_data. Arguments have 64 bits, of which the filter
// checks the lower half.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

func offArg(n uint32) uint32 {
	off := offArgs + 8*n
	if cpu.IsBigEndian {
		off += 4
	}
	return off
}

func refuse(e unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(e)}
}

var allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}

// filter is the program. It is written as a chain of "if this then return": short
// enough to be read, and the kernel compiles it.
func filter(arch uint32, high bool) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		refuse(unix.ENOSYS), // 32-bit calls on a 64-bit kernel have other numbers
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: 0x40000000, SkipTrue: 1},
		refuse(unix.ENOSYS), // and so have those of x32
	}
	calls := slices.Concat(forbidden, forbiddenHere)
	if high {
		calls = slices.Concat(calls, forbiddenHigh, forbiddenHighHere)
	}
	for _, nr := range calls {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: nr, SkipTrue: 1}, refuse(unix.EPERM))
	}
	p = append(p,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_IOCTL, SkipTrue: uint8(2*len(forbiddenRequests) + 2)},
		bpf.LoadAbsolute{Off: offArg(1), Size: 4})
	for _, request := range forbiddenRequests {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: request, SkipTrue: 1}, refuse(unix.EPERM))
	}
	p = append(p, allow)
	if !high {
		return append(p, allow)
	}
	// clone3 hides its flags behind a pointer; who is told that there is none uses clone.
	p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1}, refuse(unix.ENOSYS))
	// New threads, and no new processes.
	flags := offArg(0)
	if arch == unix.AUDIT_ARCH_S390X {
		flags = offArg(1)
	}
	p = append(p,
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE, SkipTrue: 4},
		bpf.LoadAbsolute{Off: flags, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.CLONE_THREAD, SkipTrue: 1},
		refuse(unix.EPERM),
		allow)
	p = append(p, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.SYS_SOCKET, SkipTrue: 1}, allow, bpf.LoadAbsolute{Off: offArg(0), Size: 4})
	for _, f := range families {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: f, SkipTrue: 1}, allow)
	}
	return append(p, refuse(unix.EAFNOSUPPORT))
}

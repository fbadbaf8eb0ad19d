package process

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"tincan/internal/config"
)

// LookUp finds the account of a user. It reads the system's files, so it has to
// come before [Confine].
func LookUp(name string) (*Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("there is no user %.40q", name)
		}
	}
	a := &Account{Name: u.Username}
	if a.UID, err = strconv.Atoi(u.Uid); err == nil {
		a.GID, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", a.Name, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of user %s: %w", a.Name, err)
	}
	for _, id := range ids {
		if gid, err := strconv.Atoi(id); err == nil {
			a.Groups = append(a.Groups, gid)
		}
	}
	return a, nil
}

// Confine applies w. An error means that the restrictions are incomplete and the process
// should exit. Missing abilities of the kernel are an error at level High; at
// Normal the State names them.
//
// The order matters: a new root needs root's rights, and so do the paths of the
// sandbox; the bounding set can be cut only as long as there is a right to do so;
// the filter of system calls comes last, since it forbids some of what goes before.
func Confine(w Restrictions) (State, error) {
	s := State{Sandbox: w.Sandbox.String()}
	if w.Root != "" {
		if usesCgo { // cgo programs reach all threads through /proc
			return s, errors.New("changing the root directory needs a tincan that was built with CGO_ENABLED=0")
		}
		if err := unix.Chroot(w.Root); err != nil {
			return s, fmt.Errorf("making %s the root directory: %w", w.Root, err)
		}
		if err := unix.Chdir("/"); err != nil {
			return s, fmt.Errorf("changing to the new root directory: %w", err)
		}
		s.Root = w.Root
	}
	if w.Sandbox > config.SandboxOff {
		by, missing, err := restrictPaths(w)
		s.Missing = append(s.Missing, missing...)
		if s.note(w.Sandbox, by, "Landlock", err) != nil {
			return s, fmt.Errorf("sandbox of level %s: Landlock: %w", w.Sandbox, err)
		}
		if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
			return s, fmt.Errorf("sandbox of level %s: no_new_privs: %w", w.Sandbox, err)
		}
		s.NoNewPrivs = true
		dropBounding(w.Keep)
	}
	if w.Account != nil {
		if err := become(w.Account); err != nil {
			return s, err
		}
		s.User = w.Account.Name
	}
	kept, err := keep(w.Keep)
	if err != nil {
		return s, fmt.Errorf("giving up capabilities: %w", err)
	}
	for _, c := range kept {
		s.Keeps = append(s.Keeps, c.String())
	}
	if w.Sandbox > config.SandboxOff {
		err := filterCalls(w)
		if s.note(w.Sandbox, "seccomp", "seccomp", err) != nil {
			return s, fmt.Errorf("sandbox of level %s: seccomp: %w", w.Sandbox, err)
		}
	}
	return s, nil
}

// note records one part of the sandbox. It returns an error only if the level cannot do without.
func (s *State) note(l config.Sandbox, by, what string, err error) error {
	switch {
	case err == nil:
		s.By = append(s.By, by)
	case l == config.SandboxHigh:
		return err
	default:
		s.Missing = append(s.Missing, fmt.Sprintf("%s (%v)", what, err))
	}
	return nil
}

// become changes user and groups of all threads, and keeps the capabilities for now.
func become(a *Account) error {
	if a.UID == os.Getuid() && a.GID == os.Getgid() {
		return nil
	}
	err := errors.Join(
		allThreads(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1),
		syscall.Setgroups(a.Groups),
		syscall.Setgid(a.GID),
		syscall.Setuid(a.UID),
	)
	if err != nil {
		return fmt.Errorf("becoming the user %s: %w", a.Name, err)
	}
	return nil
}

// allThreads makes one system call on all threads. Arguments that are not given are 0.
func allThreads(call uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := psx.Syscall6(call, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// LockMemory keeps the memory of this process from being swapped out, also what
// it takes later. [Confine] must keep IPCLock afterwards: without that right and with
// a limit the program would run out of memory soon.
func LockMemory() error {
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	// Only what is touched: the runtime reserves much more than it uses.
	err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	if err != nil {
		return fmt.Errorf("locking memory: %w", err)
	}
	return nil
}

// CanWrite reports whether this process may make files in a directory.
func CanWrite(dir string) bool { return unix.Access(dir, unix.W_OK|unix.X_OK) == nil }

// lastCapability is the highest number that this kernel knows.
func lastCapability() int {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if n, e := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && e == nil {
		return min(n, 63)
	}
	return 63
}

package process

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"

	"tincan/internal/config"
)

// Rights on files, in the kernel's bits.
const (
	readFiles  = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSReadDir)
	writeFiles = landlock.AccessFSSet(ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir |
		ll.AccessFSRemoveFile | ll.AccessFSRemoveDir | ll.AccessFSRefer)
	removeFiles = landlock.AccessFSSet(ll.AccessFSRemoveFile)
	readOne     = landlock.AccessFSSet(ll.AccessFSReadFile)
	writeOne    = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate)
	useDevice   = writeOne | landlock.AccessFSSet(ll.AccessFSIoctlDev)
	execute     = landlock.AccessFSSet(ll.AccessFSExecute)
	resolveUnix = landlock.AccessFSSet(ll.AccessFSResolveUnix)
	makeOther   = landlock.AccessFSSet(ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeSym)
)

// What scripts use at level Normal. Nothing of it is run by root later, as units below
// /run, packages below /var/lib or the handler of core dumps would be, and no disk is
// among the devices.
var (
	normalWrite = []string{"/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp", "/var/log", "/proc/sys/net",
		"/run/lock", "/run/resolvconf", "/run/network", "/run/dhcpcd", "/var/lib/dhcp", "/var/lib/dhcpcd", "/var/lib/misc"}
	normalDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console",
		"/dev/ptmx", "/dev/net/tun"}
)

// Versions of Landlock that can do more than files.
const (
	ioctlABI   = 5 // keep devices from being changed
	scopeABI   = 6 // keep signals and abstract sockets inside
	resolveABI = 9 // keep a process from connecting to sockets that have a path
)

// restrictPaths enters a Landlock domain for w, and says which version of
// it the kernel has, and what that one lacks.
func restrictPaths(w Restrictions) (by string, missing []string, err error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return "", nil, errors.New("this kernel does not have it, or it is not switched on (lsm=)")
	}
	var rules []landlock.Rule
	add := func(rights landlock.AccessFSSet, paths ...string) {
		if abi < 2 {
			rights &^= landlock.AccessFSSet(ll.AccessFSRefer) // with it the library would do nothing at all
		}
		for _, p := range paths {
			rules = append(rules, landlock.PathAccess(rights, p).IgnoreIfMissing())
		}
	}
	handled := landlock.V5.HandledAccessFS
	var scopes landlock.ScopedSet
	if w.Sandbox == config.SandboxNormal {
		all := readFiles | writeFiles | execute | makeOther
		add(readFiles|execute, "/")
		add(all, normalWrite...)
		add(all, w.Write...)
		add(useDevice, normalDevices...)
		add(useDevice|readFiles, "/dev/pts")
	} else {
		handled |= resolveUnix
		scopes = landlock.ScopedSet(ll.ScopeAbstractUnixSocket | ll.ScopeSignal)
		add(readOne, "/dev/urandom", "/dev/random", "/dev/zero")
		add(writeOne, "/dev/null")
		add(readFiles, w.Read...)
		add(readFiles|writeFiles, w.Write...)
	}
	add(removeFiles, w.Remove...)
	add(writeOne, w.Append...)
	args := []any{handled}
	if scopes != 0 {
		args = append(args, scopes)
	}
	cfg, err := landlock.NewConfig(args...)
	if err != nil {
		return "", nil, err
	}
	if err := cfg.BestEffort().Restrict(rules...); err != nil {
		return "", nil, err
	}
	if w.Sandbox == config.SandboxHigh {
		if abi < scopeABI {
			missing = append(missing, "signals to other processes and abstract UNIX sockets stay possible: that needs Linux 6.12")
		}
		if abi < resolveABI && hiddenSockets {
			missing = append(missing, "connections to UNIX sockets stay possible: their system calls cannot be told apart on this kind of processor")
		}
	} else if abi < ioctlABI {
		missing = append(missing, "devices that are open for reading can be changed: that needs Linux 6.10")
	}
	return fmt.Sprintf("landlock %d", abi), missing, nil
}

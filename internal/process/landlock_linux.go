package process

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Rights on files, in the kernel's bits.
const (
	readFiles  = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSReadDir)
	writeFiles = landlock.AccessFSSet(ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir |
		ll.AccessFSRemoveFile | ll.AccessFSRemoveDir | ll.AccessFSRefer)
	removeFiles = landlock.AccessFSSet(ll.AccessFSRemoveFile)
	readOne     = landlock.AccessFSSet(ll.AccessFSReadFile)
	writeOne    = landlock.AccessFSSet(ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSTruncate)
)

// Scripts write here, and nobody would be safer if they could not.
var normalWrite = []string{"/dev", "/proc", "/run", "/tmp", "/var/tmp", "/var/run", "/var/log", "/var/lib", "/var/cache"}

// restrictPaths enters a Landlock domain for w, and says which version of it the kernel has.
func restrictPaths(w Wish) (string, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return "", errors.New("this kernel does not have it, or it is not switched on (lsm=)")
	}
	var rules []landlock.Rule
	add := func(rights landlock.AccessFSSet, paths ...string) {
		if abi < 2 {
			rights &^= landlock.AccessFSSet(ll.AccessFSRefer) // the library would rather do nothing at all
		}
		for _, p := range paths {
			rules = append(rules, landlock.PathAccess(rights, p).IgnoreIfMissing())
		}
	}
	handled := landlock.V3.HandledAccessFS
	if w.Sandbox == Normal {
		all := handled
		add(readFiles|landlock.AccessFSSet(ll.AccessFSExecute), "/")
		add(all, normalWrite...)
		add(all, w.Write...)
	} else {
		handled = landlock.V5.HandledAccessFS
		add(readOne, "/dev/urandom", "/dev/random", "/dev/zero")
		add(writeOne, "/dev/null")
		add(readFiles, w.Read...)
		add(readFiles|writeFiles, w.Write...)
	}
	add(removeFiles, w.Remove...)
	cfg, err := landlock.NewConfig(handled)
	if err != nil {
		return "", err
	}
	if err := cfg.BestEffort().Restrict(rules...); err != nil {
		return "", err
	}
	return fmt.Sprintf("landlock %d", abi), nil
}

package daemon

import (
	"errors"
	"io/fs"
	"syscall"

	"tincan/internal/confdir"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
)

// advise adds what the user can do to an error of the system, if anything is
// known that helps.
func advise(err error, tips ...tip) error {
	for _, t := range tips {
		if t.when == nil || errors.Is(err, t.when) {
			return &Hinted{err, t.say}
		}
	}
	return err
}

type tip struct {
	when error // nil: in any other case
	say  string
}

var diskFull = []tip{
	{syscall.ENOSPC, "the disk is full: make room on it"},
	{syscall.EDQUOT, "the disk quota is used up: make room"},
	{syscall.EROFS, "the disk is mounted read-only"},
}

// adviseFiles is for what goes wrong with the network's directory.
func adviseFiles(l confdir.Layout, err error) error {
	return advise(err,
		tip{fs.ErrNotExist, "is " + l.ConfBase + " the right directory? Make a network with: tincan init NAME, or join one with: tincan join URL"},
		tip{fs.ErrPermission, "run " + oserr.Privileged + ", or as the user who owns " + l.ConfBase})
}

// adviseKey is for what goes wrong with the private key.
func adviseKey(err error) error {
	return advise(err,
		tip{fs.ErrNotExist, "make a key with: tincan tinc generate-ed25519-keys (with the same -n or -c)"},
		tip{fs.ErrPermission, "run " + oserr.Privileged + ", or as the user who owns this key"},
		tip{nil, "get the file back from a backup, or make a new key with: tincan tinc generate-ed25519-keys, or generate-rsa-keys if it is the RSA key (the others must then be given the new public key)"})
}

// adviseClaim is for what goes wrong with pid file and control socket.
func adviseClaim(err error) error {
	if r := new(pidfile.RunningError); errors.As(err, &r) {
		if r.Tinc10 {
			return &Hinted{err, "stop it with: tincd -k (with the same -n or -c), or if it is a service with: systemctl stop tinc@NETWORK"}
		}
		return &Hinted{err, "see it with: tincan status; stop it with: tincan down (with the same -n or -c)"}
	}
	return advise(err, append(diskFull,
		tip{fs.ErrPermission, "run " + oserr.Privileged + ", or choose another place with --pidfile FILE"},
		tip{fs.ErrNotExist, "the directory is missing: make it, or choose another place with --pidfile FILE"})...)
}

// adviseListen is for what goes wrong with an address to listen at.
func adviseListen(err error) error {
	return advise(err,
		tip{oserr.AddressInUse, "another program (perhaps tincd) uses this port; stop it, or choose another with: tincan set Port N (with the same -n or -c)"},
		tip{oserr.NoAddress, "this machine does not have that address; see BindToAddress and ListenAddress"},
		tip{fs.ErrPermission, "ports below 1024 need root; run this with sudo, or choose a higher one with: tincan set Port N (with the same -n or -c)"},
		tip{syscall.ENODEV, "there is no such interface; see BindToInterface"})
}

// Package confdir is the directory of a network: where its files are, as tinc 1.0 and 1.1 lay them out, reading
// all of them into typed values, writing them atomically, and the lock that keeps two commands from
// changing them at once. What is in the files is package config's.
package confdir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/node"
)

// Roots are the system's directories. The zero value means the usual ones;
// tests put their own here.
type Roots struct {
	Sysconf string // holds tinc/: /etc; on Windows it holds tincan\: C:\ProgramData
	Run     string // pid files and sockets: /var/run; "" means the directory of the network, as on Windows
	Log     string // log files: /var/log; "" means the directory of the network
}

func (r Roots) withDefaults() Roots {
	usual := systemRoots()
	r.Sysconf = cmp.Or(r.Sysconf, usual.Sysconf)
	r.Run = cmp.Or(r.Run, usual.Run)
	r.Log = cmp.Or(r.Log, usual.Log)
	return r
}

// SystemDir holds the networks of this machine: /etc/tinc, on Windows C:\ProgramData\tincan.
func SystemDir() string { return Roots{}.top() }

func (r Roots) top() string { return filepath.Join(r.withDefaults().Sysconf, topName) }

// Layout says where the files of one network lie.
type Layout struct {
	NetName  string // "" if there is none
	ConfBase string // holds tinc.conf
	PidFile  string
	LogFile  string // what --logfile without a name means

	// Former is where an earlier version or tinc itself put this network, if it is there and
	// not where it belongs today. It is ConfBase, too, unless others than the administrators
	// of this machine own it: then nothing in it can be trusted.
	Former string

	top      string // the system's own directory, if ConfBase is or should be in it
	pidGiven bool   // the pid file was chosen by hand: no other place will do
	ofUser   bool   // ConfBase is in the directory of a user who is not root
}

// Place is what a command line or the environment says about where a network lies.
type Place struct {
	Net     string // -n; "" and "." mean none
	Conf    string // -c
	PidFile string // --pidfile
	Roots   Roots
}

// ErrNetName is part of the error for a network name that cannot be used.
var ErrNetName = errors.New("invalid character in the name of the network")

// CheckNetName tells whether s can be the name of a network. unsafe is true
// for a name that works but that scripts may trip over; invitations do not
// carry such a name.
func CheckNetName(s string) (unsafe bool, err error) {
	if strings.HasPrefix(s, ".") || strings.ContainsAny(s, `/\`) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false, fmt.Errorf("%w: %q", ErrNetName, s)
	}
	return strings.ContainsAny(s, " `$%<>:\"|?*"), nil
}

// Layout finds the files of the place.
//
// The name of the network also names pid file, socket and log, even when -c
// gives the directory. With -c alone they lie in that directory, so that
// several networks can run side by side.
func (p Place) Layout() (Layout, error) {
	roots := p.Roots.withDefaults()
	net := p.Net
	if net == "." {
		net = ""
	}
	if _, err := CheckNetName(net); err != nil {
		return Layout{}, err
	}
	l := Layout{NetName: net, ConfBase: p.Conf, PidFile: p.PidFile, pidGiven: p.PidFile != ""}
	if err := l.find(roots.top(), p.Roots == Roots{}); err != nil {
		return Layout{}, err
	}
	pidFile := filepath.Join(roots.Run, l.Ident()+".pid")
	if roots.Run == "" || p.Conf != "" && net == "" || l.ofUser {
		pidFile = l.ownPidFile()
	}
	l.LogFile = filepath.Join(roots.Log, l.Ident()+".log")
	if roots.Log == "" || p.Conf != "" && net == "" || l.ofUser {
		l.LogFile = l.ownLogFile()
	}
	if l.PidFile == "" {
		l.PidFile = pidFile
	}
	return l, nil
}

// find sets the directory of the network if it was not chosen. If top is the system's own
// directory the network is also looked for where it used to be.
func (l *Layout) find(top string, system bool) error {
	chosen := l.ConfBase != ""
	if !chosen {
		l.ConfBase = filepath.Join(top, l.NetName)
	}
	if user := userTop(); !chosen && system && user != "" {
		// What is in the system's directory comes first, also if this user may not read it: no two nodes may have one name.
		if _, err := os.Stat(l.TincConf()); errors.Is(err, fs.ErrNotExist) {
			l.ConfBase, l.ofUser = filepath.Join(user, l.NetName), true
			return nil
		}
	}
	if below, err := filepath.Rel(top, l.ConfBase); !system || err != nil || !filepath.IsLocal(below) {
		return nil
	}
	l.top = top
	if err := files.CheckSystemDir(top); err != nil || chosen || readable(l.TincConf()) {
		return err
	}
	for _, dir := range formerTops() {
		dir = filepath.Join(dir, l.NetName)
		if !readable(filepath.Join(dir, "tinc.conf")) {
			continue
		}
		l.Former = dir
		if files.CheckSystemDir(dir) == nil {
			l.ConfBase = dir
		}
		return nil
	}
	return nil
}

// MakeParent makes the directory that ConfBase is in. The system's own is closed to
// everybody but the administrators where no mode of the files does that (Windows).
func (l Layout) MakeParent() error {
	if l.top != "" {
		if err := files.CloseSystemDir(l.top); err != nil {
			return err
		}
	}
	return os.MkdirAll(filepath.Dir(l.ConfBase), 0o755)
}

// FormerPlace says what is wrong with a network that is where an earlier version put it, and
// what to do about it; "" if there is none.
func (l Layout) FormerPlace() string {
	if l.Former == "" {
		return ""
	}
	move := fmt.Sprintf("stop the node and move it, as an administrator: move \"%s\" \"%s\"", l.Former, filepath.Join(l.top, l.NetName))
	if l.ConfBase != l.Former {
		return fmt.Sprintf("%s is not used, because its owner is no administrator of this machine; if you trust what is in it, %s", l.Former, move)
	}
	return fmt.Sprintf("other users of this machine can read the private key in %s, and perhaps change the scripts; %s", l.Former, move)
}

// Abs returns l with absolute paths, for a process that changes its directory.
func (l Layout) Abs() (Layout, error) {
	for _, p := range []*string{&l.ConfBase, &l.PidFile, &l.LogFile} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return l, fmt.Errorf("finding the absolute path of %s: %w", *p, err)
		}
		*p = abs
	}
	return l, nil
}

// ForClient returns l with the pid file where a running daemon left it: if the
// usual one cannot be read, the one in the configuration directory is tried.
func (l Layout) ForClient() Layout {
	if !l.pidGiven && !readable(l.PidFile) && readable(l.ownPidFile()) {
		l.PidFile = l.ownPidFile()
	}
	return l
}

// ForDaemon returns l with a pid file and a log file that can be created. If
// the system's directories are out of reach the configuration directory is
// used, and a warning says so. A pid file that was chosen by hand is left alone.
func (l Layout) ForDaemon() (Layout, []config.Warning) {
	var warnings []config.Warning
	if l.top != "" && l.ConfBase != l.Former {
		// What was moved here still has the access rights of where it was.
		if err := files.CloseSystemDir(l.top); err != nil {
			warnings = append(warnings, config.Warning{Text: err.Error()})
		}
	}
	if text := l.FormerPlace(); text != "" {
		warnings = append(warnings, config.Warning{Text: text})
	}
	if dir := filepath.Dir(l.PidFile); !l.pidGiven && !writableDir(dir) && writableDir(l.ConfBase) {
		warnings = append(warnings, config.Warning{Text: fmt.Sprintf("cannot write to %s: pid file and socket go to %s", dir, l.ConfBase)})
		l.PidFile = l.ownPidFile()
	}
	if !writableDir(filepath.Dir(l.LogFile)) {
		l.LogFile = l.ownLogFile()
	}
	return l, warnings
}

func (l Layout) ownPidFile() string { return filepath.Join(l.ConfBase, "pid") }
func (l Layout) ownLogFile() string { return filepath.Join(l.ConfBase, "log") }

// Ident names the network in log lines and file names: tinc.NET, or tinc.
func (l Layout) Ident() string {
	if l.NetName == "" {
		return "tinc"
	}
	return "tinc." + l.NetName
}

// Socket is the control socket that belongs to the pid file.
func (l Layout) Socket() string {
	return strings.TrimSuffix(l.PidFile, ".pid") + ".socket"
}

// TincConf is the main configuration file.
func (l Layout) TincConf() string { return filepath.Join(l.ConfBase, "tinc.conf") }

// ConfD is the directory with more of the main configuration.
func (l Layout) ConfD() string { return filepath.Join(l.ConfBase, "conf.d") }

// Hosts is the directory of the host files.
func (l Layout) Hosts() string { return filepath.Join(l.ConfBase, "hosts") }

// Host is the host file of a node.
func (l Layout) Host(n node.Name) string { return filepath.Join(l.Hosts(), string(n)) }

// Cache is the directory with the recent addresses of the nodes.
func (l Layout) Cache() string { return filepath.Join(l.ConfBase, "cache") }

// CacheOf is the file with the recent addresses of one node.
func (l Layout) CacheOf(n node.Name) string { return filepath.Join(l.Cache(), string(n)) }

// Roster is the file with the signed members of the network. It is a secret of theirs.
func (l Layout) Roster() string { return filepath.Join(l.ConfBase, "roster") }

// RosterAside is the directory that a node with fewer rights may write, where it cannot write [Layout.Roster].
func (l Layout) RosterAside() string { return filepath.Join(l.ConfBase, "roster.new") }

// RosterNew is a roster in the form of [Layout.Roster] that has what came after that was written. It is a secret, too.
func (l Layout) RosterNew() string { return filepath.Join(l.RosterAside(), "roster") }

// OwnerKey is the file with the private key of an owner of a signed network.
func (l Layout) OwnerKey() string { return filepath.Join(l.ConfBase, "owner_key.priv") }

// RecoveryKey is the file with the recovery key of a signed network that was made when nobody was there to see it. It is
// to be deleted when that has been written down.
func (l Layout) RecoveryKey() string { return filepath.Join(l.ConfBase, "recovery_key") }

// Invitations is the directory of the open invitations.
func (l Layout) Invitations() string { return filepath.Join(l.ConfBase, "invitations") }

// PrivateKey is where the Ed25519 key lies unless Ed25519PrivateKeyFile says otherwise.
func (l Layout) PrivateKey() string { return filepath.Join(l.ConfBase, "ed25519_key.priv") }

// RSAPrivateKey is where the RSA key lies unless PrivateKeyFile says otherwise.
func (l Layout) RSAPrivateKey() string { return filepath.Join(l.ConfBase, "rsa_key.priv") }

// Script is a script in the configuration directory, such as tinc-up.
func (l Layout) Script(name string) string { return filepath.Join(l.ConfBase, name) }

// Networks lists the networks below sysconf/tinc: the names of the directories
// with a readable tinc.conf, and "." if there is one in sysconf/tinc itself.
// Hidden directories are skipped. Networks that are where they used to be count, too.
func Networks(roots Roots) ([]string, error) {
	nets, err := networksIn(roots.top())
	if (roots == Roots{}) {
		tops := formerTops()
		if user := userTop(); user != "" {
			tops = append(tops, user)
		}
		for _, top := range tops {
			if files.CheckSystemDir(top) != nil {
				continue
			}
			more, e := networksIn(top)
			for _, net := range more {
				if !slices.Contains(nets, net) {
					nets = append(nets, net)
				}
			}
			if e == nil {
				err = nil
			}
		}
	}
	return nets, err
}

func networksIn(top string) ([]string, error) {
	entries, err := os.ReadDir(top)
	if err != nil {
		return nil, err
	}
	var nets []string
	for _, e := range entries {
		switch {
		case e.Name() == "tinc.conf":
			nets = append(nets, ".")
		case !strings.HasPrefix(e.Name(), ".") && readable(filepath.Join(top, e.Name(), "tinc.conf")):
			nets = append(nets, e.Name())
		}
	}
	return nets, nil
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/node"
)

// Roots are the system's directories. The zero value means the usual ones;
// tests put their own here.
type Roots struct {
	Sysconf string // holds tinc/: /etc
	Run     string // pid files and sockets: /var/run
	Log     string // log files: /var/log
}

func (r Roots) withDefaults() Roots {
	for _, d := range []struct {
		p     *string
		usual string
	}{{&r.Sysconf, "/etc"}, {&r.Run, "/var/run"}, {&r.Log, "/var/log"}} {
		if *d.p == "" {
			*d.p = d.usual
		}
	}
	return r
}

// Layout says where the files of one network lie.
type Layout struct {
	NetName  string // "" if there is none
	ConfBase string // holds tinc.conf
	PidFile  string
	LogFile  string // what --logfile without a name means

	pidGiven bool // the pid file was chosen by hand: no other place will do
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
	if l.ConfBase == "" {
		l.ConfBase = filepath.Join(roots.Sysconf, "tinc", net)
	}
	pidFile := filepath.Join(roots.Run, l.Ident()+".pid")
	l.LogFile = filepath.Join(roots.Log, l.Ident()+".log")
	if p.Conf != "" && net == "" {
		pidFile, l.LogFile = l.ownPidFile(), l.ownLogFile()
	}
	if l.PidFile == "" {
		l.PidFile = pidFile
	}
	return l, nil
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
func (l Layout) ForDaemon() (Layout, []Warning) {
	var warnings []Warning
	if dir := filepath.Dir(l.PidFile); !l.pidGiven && !writableDir(dir) && writableDir(l.ConfBase) {
		warnings = append(warnings, Warning{"", fmt.Sprintf("cannot write to %s: pid file and socket go to %s", dir, l.ConfBase)})
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
// Hidden directories are skipped.
func Networks(roots Roots) ([]string, error) {
	top := filepath.Join(roots.withDefaults().Sysconf, "tinc")
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

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/mesh"
	"tincan/internal/names"
	"tincan/internal/process"
	"tincan/internal/script"
)

// Process says what becomes of the process that a node runs in, once all is done that
// needs the rights of root.
type Process struct {
	User    string // becomes this user (-U); "" for no other
	Chroot  bool   // sees only the directory of the network (-R)
	Lock    bool   // is never swapped out (-L)
	LogFile string // is written, and opened again on SIGHUP; "" for none
}

// confinement is what Process and the configuration come to.
type confinement struct {
	Process
	account *process.Account
	sandbox config.Sandbox
}

// strict: scripts that need the rights of root must be over before it begins.
func (c *confinement) strict() bool {
	return c != nil && (c.account != nil || c.Chroot || c.sandbox != config.SandboxOff)
}

// prepareProcess works out the confinement, and does what must be done early.
func (d *Daemon) prepareProcess() error {
	s := d.network().Settings
	if d.opts.Process == nil {
		return refuseProcess(s)
	}
	c := &confinement{Process: *d.opts.Process, sandbox: s.Sandbox}
	var err error
	if c.User != "" {
		if c.account, err = process.LookUp(c.User); err != nil {
			return &Hinted{err, "the option -U takes the name of a user of this machine"}
		}
	}
	if c.Lock {
		if err := process.LockMemory(); err != nil {
			return &Hinted{err, "locking memory (-L) needs root, or the capability IPC_LOCK"}
		}
	}
	if s.ProcessPriority != config.PriorityUnchanged {
		if err := process.SetPriority(s.ProcessPriority); err != nil {
			return &Hinted{err, "ProcessPriority = high needs root, or the capability SYS_NICE"}
		}
	}
	d.confined = c
	return nil
}

// refuseProcess refuses settings of the process in one that is not the node's alone. To leave them out
// would be to run with fewer restrictions than the configuration demands.
func refuseProcess(s config.Settings) error {
	variable, value := "", ""
	switch {
	case s.Sandbox != config.SandboxOff:
		variable, value = "Sandbox", s.Sandbox.String()
	case s.ProcessPriority != config.PriorityUnchanged:
		variable, value = "ProcessPriority", s.ProcessPriority.String()
	default:
		return nil
	}
	return &Hinted{fmt.Errorf("%s = %.20s would change this whole process, which is not the node's alone", variable, value),
		"remove the variable from tinc.conf, or run the node in a process of its own: tincan up"}
}

// confine gives up the rights that are not needed any more.
func (d *Daemon) confine() error {
	c := d.confined
	if c == nil || !c.strict() && os.Geteuid() != 0 {
		return nil // whoever started us as a plain user has chosen our rights
	}
	s := d.network().Settings
	ours := d.hasInterface() && !d.hasScript(script.TincUp)
	w := process.Restrictions{Account: c.account, Keep: c.capabilities(s, ours, d.socks.port(s)), Sandbox: c.sandbox}
	if c.Chroot {
		w.Root = d.opts.Layout.ConfBase
		if err := keepResolver(w.Root); err != nil {
			d.log.failed(0, mesh.Warning, fmt.Errorf("host names cannot be resolved from now on: %w", err))
		}
		d.moveInside()
	}
	if c.sandbox == config.SandboxHigh {
		// Doors are where something is: later it could not be made.
		for _, dir := range []string{d.opts.Layout.Invitations(), filepath.Join(d.opts.Layout.ConfBase, "changed")} {
			d.makeDir(filepath.Join(w.Root, dir), 0o700)
		}
	}
	if c.strict() {
		dir := filepath.Join(w.Root, d.opts.Layout.RosterAside())
		d.makeDir(dir, 0o700)
		if !slices.Contains(d.made, dir) {
			d.made = append(d.made, dir) // made for another user, perhaps
		}
	}
	if c.account != nil {
		for _, dir := range d.made { // by root, for whoever we are about to be
			if err := files.Chown(dir, c.account.UID, c.account.GID); err != nil {
				d.log.printf(0, mesh.Warning, "%v", err)
			}
		}
	}
	c.openDoors(&w, d.opts.Layout, s)
	if c.strict() {
		loadRoots()
	}
	state, err := process.Confine(w)
	if err != nil {
		return &Hinted{err, "tincan runs without it with Sandbox = off, and without -U and -R; docs/security.md says what each needs"}
	}
	d.state.Store(&state)
	d.script.Configure(d.scriptConfig(d.network().Settings))
	level, p := 1, mesh.Info
	if c.strict() {
		level, p = 0, mesh.Notice
	}
	d.log.printf(level, p, "from now on: %s", state)
	for _, missing := range state.Missing {
		d.log.printf(0, mesh.Warning, "the sandbox is weaker than it should be, this system lacks: %s", missing)
	}
	if c.account != nil {
		c.sayWhatWillFail(d.opts.Layout, d.log)
	}
	return nil
}

// makeDir makes a directory, if it is not there.
func (d *Daemon) makeDir(dir string, mode os.FileMode) {
	_, missing := os.Lstat(dir)
	if err := confdir.MakeDir(dir, mode); err != nil {
		d.log.printf(0, mesh.Warning, "%v", err)
	} else if missing != nil {
		d.made = append(d.made, dir)
	}
}

// capabilities are those that the node needs from now on.
//
// A node that still is root keeps what its work on files takes. The rest would come back with
// every script, which root's rights are for: it is dropped all the same, for code
// that finds itself in this process and cannot run others.
//
// ours: the interface and its routes are the node's to set. port is the one that it listens at.
func (c *confinement) capabilities(s config.Settings, ours bool, port uint16) (caps []process.Capability) {
	if c.account == nil {
		caps = append(caps, process.Chown, process.DACOverride, process.FOwner, process.Kill, process.NetRaw)
	}
	if c.account == nil || ours || s.Mark() != 0 {
		caps = append(caps, process.NetAdmin)
	}
	if c.account != nil && s.BindToInterface != "" {
		caps = append(caps, process.NetRaw)
	}
	if c.account == nil || port < 1024 || s.Names != config.NamesOff && s.NamesPort < 1024 {
		caps = append(caps, process.NetBindService)
	}
	if c.Lock {
		caps = append(caps, process.IPCLock)
	}
	return caps
}

// openDoors says what the sandbox must let pass.
func (c *confinement) openDoors(w *process.Restrictions, l confdir.Layout, s config.Settings) {
	// Not l.ConfBase itself: tinc.conf and tinc-up say what the next start runs with all rights.
	write := func(file string) {
		if dir := filepath.Dir(file); dir != filepath.Clean(l.ConfBase) {
			w.Write = append(w.Write, dir)
		} else {
			w.Append = append(w.Append, file)
		}
	}
	w.Write = append(w.Write, l.Hosts(), l.Cache(), l.Invitations(), l.RosterAside(), filepath.Join(l.ConfBase, "changed"))
	if c.LogFile != "" {
		write(c.LogFile)
	}
	if f := s.GraphDumpFile; f != "" && !strings.HasPrefix(f, "|") {
		write(f)
	}
	if s.Names == config.NamesHosts {
		w.Append = append(w.Append, names.HostsFile)
	}
	for _, f := range []string{s.CarrierCertificate, s.CarrierKey} {
		if f != "" {
			w.Read = append(w.Read, filepath.Dir(f)) // it may be replaced
		}
	}
	if s.CarrierSite != "" && !config.IsSiteURL(s.CarrierSite) {
		w.Read = append(w.Read, s.CarrierSite)
	}
	w.Remove = append(w.Remove, filepath.Dir(l.PidFile))
	w.Read = append(w.Read, l.ConfBase,
		"/etc", // resolv.conf and its friends are replaced now and then, so their directory has to be open
		"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/usr/share/zoneinfo", "/proc", "/sys/class/net")
}

// moveInside makes the paths those that they will be below the new root directory.
// The protocol core and all that writes files have not begun yet.
func (d *Daemon) moveInside() {
	base := d.opts.Layout.ConfBase
	inside := func(path string) string {
		if rel, err := filepath.Rel(base, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return filepath.Join("/", rel)
		}
		return path
	}
	l := &d.opts.Layout
	for _, p := range []*string{&l.PidFile, &l.LogFile, &l.ConfBase, &d.confined.LogFile} {
		*p = inside(*p)
	}
	n := *d.network()
	for _, p := range []*string{&n.Settings.PrivateKeyFile, &n.Settings.RSAPrivateKeyFile, &n.Settings.GraphDumpFile} {
		*p = inside(*p)
	}
	d.current.Store(&n)
	d.persister.layout = *l
	d.invite.Store(d.invitations(n.Settings))
	d.distribution = d.newDistribution()
	// A directory cannot be left by a path, but there must be something that scripts can read from.
	if null, err := os.Open(os.DevNull); err == nil {
		d.null = null
	}
}

// sayWhatWillFail tells the operator what the new user may not do.
func (c *confinement) sayWhatWillFail(l confdir.Layout, log *logger) {
	warn := func(format string, args ...any) { log.printf(0, mesh.Warning, format, args...) }
	for dir, loss := range map[string]string{
		l.Hosts():       "learned keys will be lost at the end",
		l.Cache():       "addresses of nodes will be lost at the end",
		l.RosterAside(): "in a signed network, removals of members will be forgotten at the end",
	} {
		if !process.CanWrite(dir) {
			warn("the user %s may not write to %s: %s", c.account.Name, dir, loss)
		}
	}
	if _, err := os.Stat(l.Invitations()); !errors.Is(err, os.ErrNotExist) && !process.CanWrite(l.Invitations()) {
		warn("the user %s may not write to %s: nobody can join through this node", c.account.Name, l.Invitations())
	}
	if f, err := os.Open(l.TincConf()); err != nil {
		warn("the user %s may not read %s: the configuration cannot be reloaded", c.account.Name, l.TincConf())
	} else {
		f.Close()
	}
	if c.Chroot {
		return // who knows where that was
	}
	if dir := filepath.Dir(l.PidFile); !process.CanWrite(dir) {
		log.printf(1, mesh.Info, "the user %s may not write to %s: the pid file will be left there empty, and the control socket too", c.account.Name, dir)
	}
	if c.LogFile != "" && !process.CanWrite(filepath.Dir(c.LogFile)) {
		warn("the user %s may not write to %s: SIGHUP will not be able to reopen the log file", c.account.Name, filepath.Dir(c.LogFile))
	}
}

// noScripts is why scripts are not run, "" if they are.
func (d *Daemon) noScripts() string {
	if !d.opts.Scripts {
		return "the program that this node runs in has not asked for scripts"
	}
	if s := d.state.Load(); s != nil && s.Sandbox == config.SandboxHigh.String() {
		return "Sandbox = high"
	}
	return ""
}

// checkSandbox refuses a configuration that runs programs at level high.
func checkSandbox(s config.Settings) error {
	if s.Sandbox != config.SandboxHigh {
		return nil
	}
	if strings.HasPrefix(s.GraphDumpFile, "|") {
		return fmt.Errorf("GraphDumpFile = %.60s runs a program, and Sandbox = high forbids that", s.GraphDumpFile)
	}
	if s.Exit != config.ExitOff {
		return errors.New("an exit node runs the program nft, and Sandbox = high forbids that")
	}
	if s.Proxy.Kind == config.ExecProxy {
		return errors.New("the program of Proxy = exec could not be run: Sandbox = high forbids that")
	}
	return nil
}

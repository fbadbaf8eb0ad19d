// Package script runs the scripts of a network's directory: tinc-up, tinc-down,
// host-up, subnet-up and the others, in the way and with the environment that
// tinc gives them.
//
// Scripts run one after the other, each waited for, but on a goroutine of their
// own, so that a slow script delays the next script and nothing else. What
// happens in the mesh that calls for a script is for the caller to know.
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Names of the scripts that belong to no single node.
const (
	TincUp             = "tinc-up"
	TincDown           = "tinc-down"
	HostUp             = "host-up"
	HostDown           = "host-down"
	SubnetUp           = "subnet-up"
	SubnetDown         = "subnet-down"
	InvitationCreated  = "invitation-created"
	InvitationAccepted = "invitation-accepted"
	Event              = "event" // for each event that people want to be told of
)

// NodeUp is the name of the script that runs after host-up for one node.
func NodeUp(n node.Name) string { return "hosts/" + string(n) + "-up" }

// NodeDown is the name of the script that runs after host-down for one node.
func NodeDown(n node.Name) string { return "hosts/" + string(n) + "-down" }

// Env is what a script is told. A variable whose field is empty is not set.
type Env struct {
	NetName   string // NETNAME
	Name      string // NAME, our own node
	Device    string // DEVICE
	Interface string // INTERFACE
	Debug     string // DEBUG, the debug level; empty for scripts that no daemon runs

	Node           string // NODE
	RemoteAddress  string // REMOTEADDRESS
	RemotePort     string // REMOTEPORT
	Subnet         string // SUBNET, without weight
	Weight         int    // WEIGHT, only with Subnet; tinc 1.1 leaves it empty for the default, 10
	InvitationFile string // INVITATION_FILE
	InvitationURL  string // INVITATION_URL

	Event     string // EVENT, a kind of events
	EventID   string // EVENT_ID
	EventText string // EVENT_TEXT
}

// vars is e as NAME=value, in the order of the fields.
func (e Env) vars() []string {
	var out []string
	set := func(name, value string) {
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	set("NETNAME", e.NetName)
	set("NAME", e.Name)
	set("DEVICE", e.Device)
	set("INTERFACE", e.Interface)
	set("DEBUG", e.Debug)
	set("NODE", e.Node)
	set("REMOTEADDRESS", e.RemoteAddress)
	set("REMOTEPORT", e.RemotePort)
	if e.Subnet != "" {
		weight := ""
		if e.Weight != subnet.DefaultWeight {
			weight = strconv.Itoa(e.Weight)
		}
		out = append(out, "SUBNET="+e.Subnet, "WEIGHT="+weight)
	}
	set("INVITATION_FILE", e.InvitationFile)
	set("INVITATION_URL", e.InvitationURL)
	set("EVENT", e.Event)
	set("EVENT_ID", e.EventID)
	set("EVENT_TEXT", e.EventText)
	return out
}

// ours are the variables that a script never inherits: those of Env, which
// would be stale, and those by which a service manager hands over sockets, which
// scripts do not get.
var ours = map[string]bool{
	"NETNAME": true, "NAME": true, "DEVICE": true, "INTERFACE": true, "DEBUG": true,
	"NODE": true, "REMOTEADDRESS": true, "REMOTEPORT": true, "SUBNET": true, "WEIGHT": true,
	"INVITATION_FILE": true, "INVITATION_URL": true, "EVENT": true, "EVENT_ID": true, "EVENT_TEXT": true,
	"LISTEN_PID": true, "LISTEN_FDS": true, "LISTEN_FDNAMES": true,
}

// environ is the whole environment of a script.
func (e Env) environ(inherited []string) []string {
	vars := e.vars()
	out := make([]string, 0, len(inherited)+len(vars))
	for _, v := range inherited {
		if name, _, _ := strings.Cut(v, "="); !ours[name] {
			out = append(out, v)
		}
	}
	return append(out, vars...)
}

// DefaultTimeout is how long a script may run. tinc waits for ever, and a script
// that hangs stops the whole daemon; here it would stop all later scripts.
const DefaultTimeout = time.Minute

// Config says where scripts are and how they are run.
type Config struct {
	Dir         string // CONFBASE, where the scripts are
	WorkDir     string // working directory, Dir if empty
	Interpreter string // ScriptsInterpreter: a command with arguments put in front of the path, may be empty
	Extension   string // ScriptsExtension: put after the name of the file, may be empty
	// Stdout and Stderr are given to scripts; nil means those of this process. They
	// are files and not writers, so that what a script leaves running in the
	// background can keep them without our waiting for it. Standard input is empty.
	Stdout, Stderr *os.File
	Stdin          *os.File // an open /dev/null, where there is none to be found; may be nil
	// Forbidden is why scripts are not run, "" if they are.
	Forbidden string
	Timeout   time.Duration // DefaultTimeout if 0, none if negative
}

// Exec runs the script called name and waits for it. If there is no such file it
// does nothing: ran is false and err is nil. If the script fails, does not end in time, or ctx
// is cancelled, the error says so; in the last two cases the script is killed with everything
// it has started. What a script that ended by itself leaves in the background lives on.
func (c Config) Exec(ctx context.Context, name string, env Env) (ran bool, err error) {
	path, err := c.Path(name)
	if path == "" || err != nil || c.Forbidden != "" {
		return false, err
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, errTimeout)
		defer cancel()
	}
	cmd := command(ctx, c.Interpreter, path)
	cmd.Dir = c.WorkDir
	if cmd.Dir == "" {
		cmd.Dir = c.Dir
	}
	cmd.Env = env.environ(os.Environ())
	if c.Stdin != nil {
		cmd.Stdin = c.Stdin
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = c.Stderr
	}
	err = run(ctx, cmd)
	switch cause := context.Cause(ctx); {
	case err == nil:
		return true, nil
	case errors.Is(cause, errTimeout):
		return true, fmt.Errorf("script %s did not end within %v and was killed", name, timeout)
	case cause != nil:
		return true, fmt.Errorf("script %s was interrupted: %w", name, cause)
	}
	if DOSLines(path) {
		return true, fmt.Errorf("%w; its lines end with CR LF, as on Windows: convert it, for example with sed -i 's/\\r$//' %s", failure(name, err), path)
	}
	return true, failure(name, err)
}

// DOSLines tells whether the first line of a script ends as on Windows, where another
// system looks for an interpreter with a carriage return in its name.
func DOSLines(path string) bool {
	if runtime.GOOS == "windows" {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 1024)
	n, _ := io.ReadFull(f, head)
	line, _, ended := bytes.Cut(head[:n], []byte("\n"))
	return ended && bytes.HasSuffix(line, []byte("\r"))
}

var errTimeout = errors.New("time is up")

// Path is where the script called name is, "" if there is none. On Windows its file has one
// of the extensions of programs (.com, .exe, .bat, .cmd) unless ScriptsExtension says which.
func (c Config) Path(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	base, err := filepath.Abs(filepath.Join(c.Dir, filepath.FromSlash(name)))
	if err != nil {
		return "", fmt.Errorf("script %s: %w", name, err)
	}
	for _, ending := range c.endings() {
		switch _, err = os.Stat(base + ending); {
		case err == nil:
			return base + ending, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", fmt.Errorf("script %s cannot be looked at: %w", name, err)
		}
	}
	return "", nil
}

// NameOf is the name of the script that a file of this name would be, and the same name if
// it cannot be one.
func (c Config) NameOf(file string) string {
	for _, ending := range c.endings() {
		if name, ok := strings.CutSuffix(file, ending); ok {
			return name
		}
	}
	return file
}

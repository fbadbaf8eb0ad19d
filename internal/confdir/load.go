package confdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/config"
	"tincan/internal/node"
)

// maxFile is the largest configuration file that is read, in bytes.
const maxFile = 16 << 20

// Network is everything that the files of a network say.
type Network struct {
	Layout   Layout
	Name     node.Name // our own
	Settings config.Settings
	Own      config.Host               // our own host file, as the others see us
	Hosts    map[node.Name]config.Host // all the others whose host file could be read

	pool *config.Pool // what Settings and Own were read from
}

// Load reads the whole network. What it can do without (a peer's broken host
// file, a number that is none) becomes a warning; an error means that the node
// cannot start like this, and names everything that has to be fixed.
func Load(l Layout, overrides []config.Override) (*Network, []config.Warning, error) {
	n, warnings, err := Inspect(l, overrides)
	if err != nil {
		return nil, warnings, err
	}
	return n, warnings, nil
}

// Inspect is Load for somebody who wants to look at a network that cannot start:
// unless not even the name of the node is known, it returns what it could read
// together with the error.
func Inspect(l Layout, overrides []config.Override) (*Network, []config.Warning, error) {
	n := &Network{Layout: l}
	entries, warnings, err := serverEntries(l)
	if err != nil {
		return nil, warnings, err
	}
	if n.Name, err = ownName(l, entries, overrides); err != nil {
		return nil, warnings, err
	}

	own, more, err := readFile(l.Host(n.Name))
	warnings = append(warnings, more...)
	if err != nil {
		warnings = append(warnings, config.AsProblem(l.Host(n.Name), err))
	}
	own, more = withoutPrograms(own)
	warnings = append(warnings, more...)
	move(l, entries)
	for _, o := range overrides {
		if o.Host == "" || o.Host == string(n.Name) {
			entries = append(entries, o.Entry)
		}
	}
	n.pool = config.NewPool(slices.Concat(entries, own)...)
	warnings = append(warnings, n.pool.Warnings()...)
	n.Settings, more = config.ReadSettings(n.pool, n.Name, l.ConfBase)
	warnings = append(warnings, more...)
	var bad error
	for _, p := range n.pool.Wrong() {
		bad = errors.Join(bad, p)
	}

	// The main configuration may hold any host variable of ours, so Own is read from the same pool.
	n.Own, more = readHost(l, n.Name, n.pool)
	said := append(config.Problems(bad), warnings...)
	for _, w := range more {
		if !slices.Contains(said, w) {
			warnings = append(warnings, w)
		}
	}

	n.Hosts, more = loadHosts(l, n.Name, overrides)
	return n, append(warnings, more...), bad
}

// Entries returns the lines that say what this node is like: those of tinc.conf,
// conf.d and its own host file, sorted by where they stand.
func (n *Network) Entries() []config.Entry { return n.pool.Entries() }

// OwnName reads just enough to know the name of this node.
func OwnName(l Layout, overrides ...config.Override) (node.Name, error) {
	entries, _, err := serverEntries(l)
	if err != nil {
		return "", err
	}
	return ownName(l, entries, overrides)
}

// serverEntries reads tinc.conf and conf.d.
func serverEntries(l Layout) ([]config.Entry, []config.Warning, error) {
	entries, warnings, err := readFile(l.TincConf())
	if err != nil {
		return nil, warnings, unreadable(err)
	}
	parts, err := os.ReadDir(l.ConfD())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, warnings, unreadable(err)
	}
	for _, part := range parts {
		if len(part.Name()) <= len(".conf") || !strings.HasSuffix(part.Name(), ".conf") {
			continue
		}
		more, w, err := readFile(filepath.Join(l.ConfD(), part.Name()))
		warnings = append(warnings, w...)
		if err != nil {
			return nil, warnings, unreadable(err)
		}
		entries = append(entries, more...)
	}
	return entries, warnings, nil
}

// unreadable says what was being done, unless err says where it went wrong.
func unreadable(err error) error {
	if errors.As(err, new(config.Problem)) {
		return err
	}
	return fmt.Errorf("reading the configuration: %w", err)
}

// readFile reads one file of entries. With an error come the entries before it.
func readFile(path string) ([]config.Entry, []config.Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxFile {
		return nil, nil, config.Problem{Where: path, Text: "this file is too large for a configuration file"}
	}
	return config.Parse(path, data)
}

// ownName finds Name, with its $VARIABLE form.
func ownName(l Layout, entries []config.Entry, overrides []config.Override) (node.Name, error) {
	for _, o := range overrides {
		if o.Host == "" {
			entries = append(entries, o.Entry)
		}
	}
	e, ok := config.NewPool(entries...).Lookup("Name")
	if !ok {
		return "", config.Problem{Where: l.TincConf(), Text: "there is no Name; add a line Name = NAME with the name of this node"}
	}
	text, err := expandName(e.Value)
	if err != nil {
		return "", config.Problem{Where: e.Where(), Text: fmt.Sprintf("Name = %.60s: %v", e.Value, err), Variable: "Name"}
	}
	name := node.Name(text)
	if err := config.CheckName(text); err != nil {
		return "", config.Problem{Where: e.Where(), Text: fmt.Sprintf("Name = %.60s: %v", e.Value, err), Variable: "Name"}
	}
	return name, nil
}

// ExpandName is the name of the node that has value as its Name.
func ExpandName(value string) (node.Name, error) {
	text, err := expandName(value)
	if err != nil {
		return "", err
	}
	return node.ParseName(text)
}

var hostname = os.Hostname // a variable for tests

// expandName replaces $VAR by the variable of the environment, and $HOST, if
// there is no such variable, by the whole host name, as tinc does: another name would
// be another node. What a node name cannot hold becomes "_".
func expandName(s string) (string, error) {
	variable, ok := strings.CutPrefix(s, "$")
	if !ok {
		return s, nil
	}
	value := os.Getenv(variable)
	if value == "" && variable == "HOST" {
		host, err := hostname()
		if err != nil {
			return "", fmt.Errorf("asking for the host name: %w", err)
		}
		value = host
	}
	if value == "" {
		return "", fmt.Errorf("there is no environment variable %s; set it or write the name itself", variable)
	}
	clean := []byte(value)
	for i, c := range clean {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			clean[i] = '_'
		}
	}
	return string(clean), nil
}

// loadHosts reads the host files of all nodes but self.
func loadHosts(l Layout, self node.Name, overrides []config.Override) (map[node.Name]config.Host, []config.Warning) {
	hosts := make(map[node.Name]config.Host)
	files, err := os.ReadDir(l.Hosts())
	if err != nil {
		return hosts, []config.Warning{config.AsProblem(l.Hosts(), err)}
	}
	var warnings []config.Warning
	for _, f := range files {
		name, err := node.ParseName(f.Name())
		if err != nil || name == self || f.IsDir() {
			continue // scripts, backups, our own
		}
		h, more, err := LoadHost(l, name, overrides)
		warnings = append(warnings, more...)
		if err != nil {
			p := config.AsProblem(l.Host(name), err)
			p.Text += "; until this is fixed nothing connects with " + string(name)
			warnings = append(warnings, p)
			continue
		}
		hosts[name] = h
	}
	return hosts, warnings
}

package fsck

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/node"
)

// variables looks whether each variable is known, and stands where it belongs.
func (c *Checker) variables(net *confdir.Network) {
	server := c.entries(c.Layout.TincConf())
	parts, _ := os.ReadDir(c.Layout.ConfD())
	for _, p := range parts {
		if len(p.Name()) > len(".conf") && strings.HasSuffix(p.Name(), ".conf") {
			server = append(server, c.entries(filepath.Join(c.Layout.ConfD(), p.Name()))...)
		}
	}
	c.file(server, true, "tinc.conf")
	files, _ := os.ReadDir(c.Layout.Hosts())
	for _, f := range files {
		if name, err := node.ParseName(f.Name()); err == nil && !f.IsDir() {
			c.file(c.entries(c.Layout.Host(name)), false, string(name))
		}
	}
}

// entries reads what a file says, and complains if it is broken.
func (c *Checker) entries(path string) []config.Entry {
	text, err := os.ReadFile(path)
	if err != nil {
		if !c.told[path] {
			c.say("WARNING: Cannot open config file %s: %s", path, reason(err))
			c.told[path] = true
		}
		return nil
	}
	entries, _, err := config.Parse(path, text)
	if p := config.Problems(err); len(p) > 0 && !c.told[p[0].Where] {
		c.problem("WARNING: ", err)
	}
	return entries
}

// file looks at the variables of the server configuration, or of one host file.
func (c *Checker) file(entries []config.Entry, server bool, name string) {
	var single, repeated []string
	for _, e := range entries {
		v, ok := config.Find(e.Name)
		switch {
		case !ok:
			c.tell(e, "WARNING: unknown variable %.60s in %s line %d", e.Name, e.File, e.Line)
			continue
		case v.Is(config.Obsolete):
			c.tell(e, "WARNING: obsolete variable %s in %s line %d", v.Name, e.File, e.Line)
		case server && !v.Is(config.Server) && v.Is(config.HostFile):
			c.tell(e, "WARNING: host variable %s found in server config %s line %d", v.Name, e.File, e.Line)
		case !server && !v.Is(config.HostFile) && v.Is(config.Server):
			c.tell(e, "WARNING: server variable %s found in host config %s line %d", v.Name, e.File, e.Line)
		}
		if v.Is(config.Multiple) {
			continue
		}
		if slices.Contains(single, v.Name) && !slices.Contains(repeated, v.Name) {
			repeated = append(repeated, v.Name)
		}
		single = append(single, v.Name)
	}
	for _, v := range repeated {
		c.say("WARNING: multiple instances of variable %s in %s", v, name)
	}
}

// tell says something about a line.
func (c *Checker) tell(e config.Entry, format string, args ...any) {
	c.told[e.Where()] = true
	c.say(format, args...)
}

package fsck

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/script"
)

var known = []string{script.TincUp, script.TincDown, script.HostUp, script.HostDown, script.SubnetUp, script.SubnetDown}

// scripts looks whether what should run can run.
func (c *Checker) scripts(net *confdir.Network) {
	explained := false
	for _, dir := range []string{c.Layout.ConfBase, c.Layout.Hosts()} {
		files, err := os.ReadDir(dir)
		if err != nil {
			c.fail("cannot read directory %s: %s", dir, reason(err))
			continue
		}
		for _, f := range files {
			path := filepath.Join(dir, f.Name())
			name := strings.TrimSuffix(f.Name(), net.Settings.ScriptsExtension)
			if !strings.HasSuffix(name, "-up") && !strings.HasSuffix(name, "-down") {
				continue
			}
			if dir == c.Layout.ConfBase && !slices.Contains(known, name) {
				c.say("WARNING: Unknown script %s found.", path)
				if !explained {
					c.say("The only scripts in %s executed by tinc are:\n%s.", dir, strings.Join(known, ", "))
					explained = true
				}
				continue
			}
			c.script(path, net.Settings.ScriptsInterpreter != "")
		}
	}
}

// script looks at one script. What an interpreter reads need not be executable.
func (c *Checker) script(path string, interpreted bool) {
	info, err := os.Stat(path)
	if err == nil {
		var f *os.File
		if f, err = os.Open(path); err == nil {
			f.Close()
		}
	}
	if err == nil && (info.Mode().Perm()&0o111 != 0 || interpreted || !confdir.HasModes) {
		return
	}
	if err == nil {
		err = os.ErrPermission
	}
	c.say("WARNING: cannot read and execute %s: %s", path, reason(err))
	if !c.Fix() {
		return
	}
	if err := files.Chmod(path, 0o755); err != nil {
		c.fail("cannot change the permissions of %s: %s", path, reason(err))
	}
}

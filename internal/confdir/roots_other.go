//go:build !windows

package confdir

import (
	"os"
	"path/filepath"
)

// topName is the directory below Roots.Sysconf.
const topName = "tinc"

// systemRoots are the directories that tinc uses, too.
func systemRoots() Roots { return Roots{Sysconf: "/etc", Run: "/var/run", Log: "/var/log"} }

// formerTops: nothing was anywhere else.
func formerTops() []string { return nil }

// userTop is where a user who is not root has networks of their own: ~/.config/tinc, if they have made that directory; else "".
func userTop() string {
	if os.Geteuid() == 0 {
		return ""
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	dir = filepath.Join(dir, topName)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

//go:build !windows

package confdir

// topName is the directory below Roots.Sysconf.
const topName = "tinc"

// systemRoots are the directories that tinc uses, too.
func systemRoots() Roots { return Roots{Sysconf: "/etc", Run: "/var/run", Log: "/var/log"} }

// formerTops: nothing was anywhere else.
func formerTops() []string { return nil }

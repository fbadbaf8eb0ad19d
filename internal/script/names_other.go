//go:build !windows

package script

// endings are what may follow the name of a script.
func (c Config) endings() []string { return []string{c.Extension} }

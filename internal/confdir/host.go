package confdir

import (
	"os"

	"tincan/internal/config"
	"tincan/internal/node"
)

// LoadHost reads the host file of another node, together with the
// -o NAME.VARIABLE options. The error is fs.ErrNotExist if there is no such
// file; on any error nothing must connect with that node.
func LoadHost(l Layout, name node.Name, overrides []config.Override) (config.Host, []config.Warning, error) {
	entries, warnings, err := readFile(l.Host(name))
	if err != nil {
		return config.Host{}, warnings, err
	}
	for _, o := range overrides {
		if o.Host == string(name) {
			entries = append(entries, o.Entry)
		}
	}
	pool := config.NewPool(entries...)
	// What another node wants of nodes of tinc 1.0 is only a hint.
	warnings = append(warnings, pool.Wrong("Cipher", "Digest", "MACLength", "Compression")...)
	warnings = append(warnings, pool.Unknown()...)
	h, more := readHost(l, name, pool)
	return h, append(warnings, more...), nil
}

// readHost takes the variables of one host out of a pool.
func readHost(l Layout, name node.Name, pool *config.Pool) (config.Host, []config.Warning) {
	h, warnings := config.ReadHost(pool, name, config.Source{File: l.Host(name), Dir: l.ConfBase, Read: os.ReadFile})
	if info, err := os.Stat(l.Host(name)); err == nil {
		h.ModTime = info.ModTime()
	}
	return h, warnings
}

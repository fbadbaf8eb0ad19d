package names

import (
	"context"
	"errors"
	"os"
	"strings"
)

// UsesResolved tells whether programs of this machine ask systemd-resolved when they look up a name: by the C library, or since it is the
// name server of the machine.
func UsesResolved() bool {
	conf, _ := os.ReadFile("/etc/resolv.conf")
	nss, _ := os.ReadFile("/etc/nsswitch.conf")
	return usesResolved(string(conf), string(nss))
}

func usesResolved(conf, nss string) bool {
	for line := range strings.Lines(conf) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "nameserver" && (w[1] == "127.0.0.53" || w[1] == "127.0.0.54") {
			return true
		}
	}
	for line := range strings.Lines(nss) {
		line, _, _ = strings.Cut(line, "#")
		w := strings.Fields(line)
		if len(w) == 0 || w[0] != "hosts:" {
			continue
		}
		for _, service := range w[1:] {
			if service == "resolve" {
				return true
			}
		}
	}
	return false
}

// Clear takes back what a node has left that was killed: the rules of this system, what systemd-resolved was told about an interface, "" if
// there is nothing to look at, and with hosts the block in [HostsFile]. What somebody else has told systemd-resolved about that interface
// stays, unless it is of that domain.
func Clear(ctx context.Context, iface, domain string, hosts bool) (err error) {
	if hosts {
		_, err = ClearHosts(HostsFile, domain)
	}
	if rules := SystemRules(); rules != nil {
		_, e := rules.Clear(domain)
		return errors.Join(err, e)
	}
	if _, e := indexOf(iface); iface == "" || e != nil {
		return err
	}
	r, e := FindResolved(ctx)
	if e != nil {
		return err // then nobody asks it either
	}
	defer r.Close()
	if ours, e := r.Has(iface, domain); e != nil || !ours {
		return err
	}
	return errors.Join(err, r.Reset(iface))
}

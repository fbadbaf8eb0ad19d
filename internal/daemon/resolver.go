package daemon

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
)

// resolvConf says which name servers the machine uses.
const resolvConf = "/etc/resolv.conf"

// maxNameServers is how many of them count, as in the C library.
const maxNameServers = 3

// nameServers reads those of a resolv.conf.
func nameServers(r io.Reader) (list []string) {
	for lines := bufio.NewScanner(io.LimitReader(r, 64<<10)); lines.Scan() && len(list) < maxNameServers; {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil {
			list = append(list, net.JoinHostPort(a.String(), "53"))
		}
	}
	return list
}

// resolveWith makes r ask these servers by turns, whatever it would find in /etc.
func resolveWith(r *net.Resolver, servers []string) {
	var turn atomic.Uint32
	r.PreferGo = true
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		at := servers[int(turn.Add(1)-1)%len(servers)]
		return new(net.Dialer).DialContext(ctx, network, at)
	}
}

// keepResolver keeps host names resolvable when /etc is about to vanish: in a directory without a
// resolv.conf of its own the name servers of the machine are asked that count now.
func keepResolver(root string) error {
	if _, err := os.Stat(root + resolvConf); err == nil {
		return nil
	}
	f, err := os.Open(resolvConf)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if servers := nameServers(f); len(servers) > 0 {
		resolveWith(net.DefaultResolver, servers)
	}
	return nil
}

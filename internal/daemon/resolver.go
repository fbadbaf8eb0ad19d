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

	"tincan/internal/config"
	"tincan/internal/gateway"
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

// outerResolver looks up names by the machine's own routes if its queries may leave by an exit node: the address of that one may
// be what is looked up. Nil: as all other programs do.
func outerResolver(s config.Settings) *net.Resolver {
	if !s.ViaDefault() {
		return nil
	}
	dialer := net.Dialer{Control: marked(s.Mark(), "")}
	var turn atomic.Uint32
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		// A service on this machine asks others, by routes of its own.
		if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
			if list := gateway.FindResolvers(); len(list) > 0 {
				address = net.JoinHostPort(list[int(turn.Add(1)-1)%len(list)].String(), port)
			}
		}
		return dialer.DialContext(ctx, network, address)
	}}
}

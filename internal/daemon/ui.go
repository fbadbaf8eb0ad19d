package daemon

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"tincan/internal/inside"
	"tincan/internal/limit"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/route"
)

const (
	// uiPort is where the page is, at the addresses of the VPN.
	uiPort = 9656
	// uiAgain is how often the addresses are looked up: the interface may get some later.
	uiAgain = 15 * time.Second

	maxUIConns = 32
)

// memberPage is the server of the page for members.
type memberPage struct{ *Daemon }

// run answers members at the addresses of this node in the VPN, if the configuration says so.
func (d memberPage) run(ctx context.Context) {
	s := d.network().Settings
	if !s.UI || d.opts.UI == nil {
		return
	}
	if s.Mode != route.ByAddress || !s.SourceCheck || !d.hasInterface() {
		d.log.printf(0, mesh.Warning, "UI: not served: without Mode = router, SourceCheck = yes and an interface nobody can tell whose an address is")
		return
	}
	server := apiServer(d.opts.UI(d.Inside()))
	defer context.AfterFunc(ctx, func() { server.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	var mu sync.Mutex
	serving := map[netip.Addr]bool{}
	for told := false; ctx.Err() == nil; {
		addrs, _ := inside.Addresses(d.netif.Name())
		for _, a := range addrs {
			mu.Lock()
			open := serving[a]
			mu.Unlock()
			if open {
				continue
			}
			ls, err := inside.Listen(ctx, netip.AddrPortFrom(a, uiPort), d.netif.Name())
			if err != nil {
				if !told && ctx.Err() == nil {
					d.log.printf(0, mesh.Warning, "UI: %v; trying again every %v", err, uiAgain)
				}
				told = true
				continue
			}
			d.log.printf(0, mesh.Notice, "members see the page at http://%s/", net.JoinHostPort(a.String(), strconv.Itoa(uiPort)))
			mu.Lock()
			serving[a] = true
			mu.Unlock()
			for _, l := range ls {
				all.Go(func() {
					_ = server.Serve(&limit.Listener{Listener: l, Total: maxUIConns, Each: maxUIConns / 2})
					for _, other := range ls { // all of them work, or all are opened anew
						other.Close()
					}
					mu.Lock()
					delete(serving, a)
					mu.Unlock()
				})
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(uiAgain):
		}
	}
}

// OwnerOf is the node whose an address in the VPN is: the one that packets for it go to; "" if it is nobody's.
func (i *Inside) OwnerOf(a netip.Addr) node.Name {
	owner, _ := i.d.plane.Owner(a)
	return owner
}

package keydist

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/inside"
	"tincan/internal/limit"
)

// Limits of the HTTP side.
const (
	maxBody        = 64 << 10 // bytes of a request or an answer
	maxHeader      = 8 << 10  // bytes of its header
	httpTimeout    = 10 * time.Second
	maxConns       = 128 // at an address
	maxConnsOfPeer = 16
	// The own addresses are looked at when they may have changed, and now and then: at first, and after such a
	// change, soon again, because an address may not be usable at once (IPv6, while it is tentative).
	relistenAfter   = time.Second
	relistenSlower  = 4 // times as long each time
	relistenAtLeast = 10 * time.Minute
)

// place is something to listen at.
type place struct {
	at      netip.AddrPort
	handler http.Handler
}

// serve listens at the own addresses, now and whenever they change, until ctx
// ends. Run waits for it.
func (m *Monitor) serve(ctx context.Context) {
	open := map[netip.AddrPort]*http.Server{}
	last := ""
	listen := func() {
		if text := m.relisten(ctx, open); text != last {
			if last = text; text != "" {
				m.logf(0, "key distribution: %s", text)
			}
		}
	}
	listen()
	longest := relistenAtLeast
	if m.cfg.AddressesTouched == nil {
		longest = relistenAfter
	}
	m.wg.Go(func() {
		defer func() {
			for _, s := range open {
				s.Close()
			}
		}()
		wait := relistenAfter
		for {
			select {
			case <-ctx.Done():
				return
			case <-m.killed:
				return
			case <-m.cfg.AddressesTouched:
				wait = relistenAfter
			case <-time.After(wait):
				wait = min(relistenSlower*wait, longest)
			}
			listen()
		}
	})
}

// relisten opens and closes sockets until they are those of the own addresses. It
// returns what is wrong, "" if nothing is.
func (m *Monitor) relisten(ctx context.Context, open map[netip.AddrPort]*http.Server) (problem string) {
	own, err := m.cfg.Addresses()
	if err != nil {
		problem = err.Error()
	}
	m.mu.Lock()
	m.own = own
	m.mu.Unlock()
	var wanted []place
	for _, a := range own {
		wanted = append(wanted, place{netip.AddrPortFrom(a, m.cfg.Port), m.handler()})
		if m.cfg.Discovery {
			wanted = append(wanted, place{netip.AddrPortFrom(a, DiscoveryPort), m.discoveryHandler()})
		}
	}
	if len(own) == 0 && problem == "" {
		problem = "the VPN interface has no address yet, so other nodes cannot fetch the host file of this one"
	}
	for at, server := range open {
		if !slices.ContainsFunc(wanted, func(w place) bool { return w.at == at }) {
			server.Close()
			delete(open, at)
		}
	}
	for _, w := range wanted {
		if open[w.at] != nil {
			continue
		}
		ls, err := inside.Listen(ctx, w.at, m.cfg.Device)
		if err != nil {
			problem = err.Error()
			continue
		}
		server := &http.Server{
			Handler:           m.guard(w.handler),
			ReadHeaderTimeout: httpTimeout, ReadTimeout: httpTimeout, WriteTimeout: httpTimeout, IdleTimeout: httpTimeout,
			MaxHeaderBytes: maxHeader,
			ErrorLog:       nil,
		}
		open[w.at] = server
		m.logf(1, "host files are shown at http://%s", w.at)
		for _, l := range ls {
			m.wg.Go(func() {
				if err := server.Serve(&limit.Listener{Listener: l, Total: maxConns, Each: maxConnsOfPeer}); !errors.Is(err, http.ErrServerClosed) {
					m.logf(0, "key distribution at %s: %v", w.at, err)
				}
			})
		}
	}
	return problem
}

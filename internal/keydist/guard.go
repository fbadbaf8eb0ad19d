package keydist

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard lets only those in who are in the VPN and ask for this very address: no
// neighbour on another network of this machine, and no web page that a browser
// was made to send here by a name that points to us.
func (m *Monitor) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, own := m.sender(r)
		switch {
		case !from.IsValid(), !m.ownHost(r.Host), !m.ownOrigin(r):
			forbid(w)
			return
		case !own && m.cfg.Engine != nil:
			if _, ok := m.cfg.Engine.Owner(from); !ok {
				forbid(w)
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// forbid refuses a request, and what else may come on its connection.
func forbid(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusForbidden)
}

// sender is who sent a request, and whether that is this machine itself: the
// kernel does not let anybody else use an address of ours.
func (m *Monitor) sender(r *http.Request) (from netip.Addr, own bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	from = at.Addr().Unmap().WithZone("")
	return from, m.isOwn(from)
}

func (m *Monitor) isOwn(a netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.own, a)
}

// ownHost tells whether a Host header names one of the own addresses.
func (m *Monitor) ownHost(host string) bool {
	if at, err := netip.ParseAddrPort(host); err == nil {
		return m.isOwn(at.Addr().Unmap())
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && m.isOwn(a.Unmap())
}

// ownOrigin tells whether a request comes from no web page, or from one of ours.
func (m *Monitor) ownOrigin(r *http.Request) bool {
	origin := r.Header.Values("Origin")
	if len(origin) == 0 {
		return true
	}
	u, err := url.Parse(origin[0])
	return err == nil && len(origin) == 1 && u.Scheme == "http" && strings.EqualFold(u.Host, r.Host)
}

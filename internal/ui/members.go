package ui

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"tincan/internal/api"
	"tincan/internal/daemon"
	"tincan/internal/members"
)

// Members is the page for other members, at the addresses of a node in the VPN (daemon.Options.UI). Who asks is known by the address
// that a request comes from, which the data plane has checked: it is of a machine, not of a person, and everything that runs there
// can use it. So nothing can be changed here, also by owners.
func Members(n *daemon.Inside) http.Handler {
	inner := page(api.Handler(n, func(r *http.Request) api.Role {
		role, _ := r.Context().Value(roleKey{}).(api.Role)
		return role
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		w.Header().Del("Cross-Origin-Opener-Policy") // browsers complain about it where there is no TLS
		switch {
		case !ownAddress(r):
			refuse(w, r, http.StatusMisdirectedRequest, "ask for this page by the address of the node: another name may have been made to lead here by a foreign web page")
			return
		case foreign(r):
			refuse(w, r, http.StatusForbidden, "another web page has made this request")
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuse(w, r, http.StatusForbidden, "over the VPN this page is to look only; what changes the network is done with tincan ui, on a machine with an owner's key")
			return
		}
		role := roleOf(n, r)
		if role == api.Nobody {
			refuse(w, r, http.StatusForbidden, "this page is for members of the network")
			return
		}
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), roleKey{}, role)))
	})
}

// roleKey marks the role of who asks in the context of a request.
type roleKey struct{}

// roleOf is what the node may do whose address in the VPN a request comes from. It asks the protocol core.
func roleOf(n *daemon.Inside, r *http.Request) api.Role {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return api.Nobody
	}
	owner := n.OwnerOf(from.Addr().Unmap())
	if owner == "" {
		return api.Nobody
	}
	v, _ := n.Members().(members.View)
	switch {
	case v.Mode != "signed":
		return api.Reader
	case slices.ContainsFunc(v.Members, func(m members.Member) bool { return m.Name == owner }):
		return api.Member
	}
	return api.Nobody
}

// ownAddress tells whether the Host of a request is the address at which it has arrived.
func ownAddress(r *http.Request) bool {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	local, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return false
	}
	host, err := netip.ParseAddrPort(r.Host)
	return err == nil && host.Port() == local.Port() && host.Addr().Unmap() == local.Addr().Unmap()
}

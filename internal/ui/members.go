package ui

import (
	"net"
	"net/http"
	"net/netip"

	"tincan/internal/api"
	"tincan/internal/daemon"
	"tincan/internal/members"
	"tincan/internal/node"
)

// Members is the page for other members, at the addresses of a node in the VPN (daemon.Options.UI). Who asks is known by the address
// that a request comes from, which the data plane has checked: it is of a machine, not of a person, and everything that runs there
// can use it. So nothing can be changed here, also by owners.
func Members(n *daemon.Inside) http.Handler {
	return remote(n, func(from netip.Addr) (node.Name, api.Role) {
		owner := n.OwnerOf(from)
		if owner == "" {
			return "", api.Nobody
		}
		v, _ := n.Members().(members.View)
		if v.Mode != "signed" {
			return owner, api.Reader
		}
		for _, m := range v.Members {
			if m.Name == owner {
				return owner, api.Member
			}
		}
		return owner, api.Nobody
	})
}

// remote is the page for those whom who lets in.
func remote(n api.Backend, who func(from netip.Addr) (node.Name, api.Role)) http.Handler {
	role := func(r *http.Request) api.Role {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return api.Nobody
		}
		_, role := who(from.Addr().Unmap())
		return min(role, api.Member)
	}
	inner := page(api.Handler(n, role))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		w.Header().Del("Cross-Origin-Opener-Policy") // browsers complain about it where there is no TLS
		switch {
		case !ownAddress(r):
			refuse(w, r, http.StatusMisdirectedRequest, "ask for this page by the address of the node: another name may have been made to lead here by a foreign web page")
		case foreign(r):
			refuse(w, r, http.StatusForbidden, "another web page has made this request")
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			refuse(w, r, http.StatusForbidden, "over the VPN this page is to look only; what changes the network is done with tincan ui, on a machine with an owner's key")
		case role(r) == api.Nobody:
			refuse(w, r, http.StatusForbidden, "this page is for members of the network")
		default:
			inner.ServeHTTP(w, r)
		}
	})
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

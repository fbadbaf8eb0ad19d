package api

import (
	"net/http"

	"tincan/internal/daemon"
)

// Local is the API at the socket of a node (daemon.Options.API): whoever can connect is an admin, but for users of ControlGroup, who are
// readers.
func Local(node *daemon.Inside) http.Handler {
	return Handler(node, func(r *http.Request) Role {
		if node.ReaderOnly(r) {
			return Reader
		}
		return Admin
	})
}

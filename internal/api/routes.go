package api

import (
	"net/http"

	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/members"
	"tincan/internal/report"
)

// route is one thing that can be asked or done. openapi.json is made from the table of them.
type route struct {
	method, path string
	role         Role // the least one
	summary      string
	params       []param
	body         any // the form of the request's body, nil: none
	answer       any // the form of the answer; of a stream, of each event's data
	kind         kind
	do           func(*server, *request) (any, error)
	raw          func(*server, http.ResponseWriter, *http.Request) // in place of do
}

// kind is how an answer is written.
type kind string

const (
	jsonAnswer kind = ""
	stream     kind = "text/event-stream"
	text       kind = "text/plain"
)

// param is a parameter in the path or the query.
type param struct {
	name, in string // in: path or query
	typ      string // string, integer or number
	meaning  string
}

var (
	nodeParam   = param{"name", "path", "string", "name of a node"}
	reasonParam = param{"reason", "query", "string", "for the members, one line"}
)

// routes are all of them. They are set by init, as some of them tell of the table.
var routes []route

func init() {
	routes = []route{
		{method: "GET", path: "/v1/openapi.json", role: Reader, summary: "This description", answer: map[string]any{}, raw: (*server).openAPI},
		{method: "GET", path: "/v1/caller", role: Reader, summary: "Who asks, and what this node is", answer: Caller{}, do: (*server).caller},
		{method: "GET", path: "/v1/status", role: Reader, summary: "All that this node knows of itself and the others, as by status --json", answer: control.Status{}, do: (*server).status},
		{method: "GET", path: "/v1/nodes", role: Reader, summary: "All nodes, and how packets reach them", answer: Nodes{}, do: (*server).nodes},
		{method: "GET", path: "/v1/nodes/{name}", role: Reader, summary: "One node", params: []param{nodeParam}, answer: Node{}, do: (*server).oneNode},
		{method: "GET", path: "/v1/drops", role: Reader, summary: "Packets that were dropped here, by reason", answer: Drops{}, do: (*server).drops},
		{method: "GET", path: "/v1/mesh", role: Reader, summary: "Who reaches whom and how: the pairs of all nodes",
			params: []param{{"after", "query", "integer", "only rows that are new after this serial"}, {"at", "query", "string", "as it was then, in RFC 3339, as far as that is remembered"}}, answer: control.MeshReport{}, do: (*server).mesh},
		{method: "GET", path: "/v1/mesh/past", role: Reader, summary: "Of which times in the last hour the node remembers who reached whom", answer: MeshPast{}, do: (*server).meshPast},
		{method: "GET", path: "/v1/events", role: Reader, summary: "What happens, as server-sent events; Last-Event-ID goes on where a reader was",
			params: []param{{"after", "query", "string", "id of the last event that is known; all: begin with the oldest one"}}, answer: events.Event{}, kind: stream, raw: (*server).events},
		{method: "GET", path: "/metrics", role: Reader, summary: "The state of this node for Prometheus", kind: text, raw: (*server).metrics},

		{method: "GET", path: "/v1/why", role: Member, summary: "Why packets for a node take the path they do, as by why --json", params: []param{
			{"to", "query", "string", "name of a node"}, {"target", "query", "string", "what the policy is asked about, such as web1:22"},
		}, answer: control.WhyReport{}, do: (*server).why},
		{method: "GET", path: "/v1/netcheck", role: Member, summary: "What this node's network lets through, as by netcheck --json", answer: control.NetReport{}, do: (*server).netCheck},
		{method: "GET", path: "/v1/members", role: Member, summary: "What the roster says, as by members --json", answer: members.View{}, do: (*server).members},
		{method: "GET", path: "/v1/owners", role: Member, summary: "The owners, as by owners show --json", answer: report.Owners{}, do: (*server).owners},
		{method: "GET", path: "/v1/devices", role: Member, summary: "Devices that have WireGuard, and where they are, as by device list --json", answer: report.Devices{}, do: (*server).devices},
		{method: "GET", path: "/v1/policy", role: Member, summary: "The access policy, as by policy show --json", answer: report.Policy{}, do: (*server).policy},
		{method: "GET", path: "/v1/invitations", role: Member, summary: "Open invitations, as by dump invitations --json", answer: report.Invitations{}, do: (*server).invitations},
		{method: "GET", path: "/v1/pending", role: Member, summary: "Newcomers that wait for approval", answer: Pending{}, do: (*server).pending},

		{method: "POST", path: "/v1/invitations", role: Owner, summary: "Make an invitation", body: NewInvitation{}, answer: MadeInvitation{}, do: (*server).invite},
		{method: "DELETE", path: "/v1/invitations/{id}", role: Owner, summary: "Withdraw an invitation", params: []param{
			{"id", "path", "string", "its fingerprint, or in an open network the name of its file"},
		}, answer: Done{}, do: (*server).withdraw},
		{method: "POST", path: "/v1/pending/{name}/approve", role: Owner, summary: "Make a newcomer that waits a member", params: []param{nodeParam}, answer: Done{}, do: (*server).approve},
		{method: "POST", path: "/v1/pending/{name}/deny", role: Owner, summary: "Refuse a newcomer that waits, for ever", params: []param{nodeParam}, answer: Done{}, do: (*server).deny},
		{method: "DELETE", path: "/v1/members/{name}", role: Owner, summary: "Remove a member, for ever; in an open network only from this node's files",
			params: []param{{"name", "path", "string", "name of a member, or fingerprint of a key"}, reasonParam}, answer: Done{}, do: (*server).remove},
		{method: "POST", path: "/v1/devices", role: Owner, summary: "Add a device; its configuration is told once", body: NewDevice{}, answer: MadeDevice{}, do: (*server).addDevice},
		{method: "DELETE", path: "/v1/devices/{name}", role: Owner, summary: "Remove a device, for ever",
			params: []param{{"name", "path", "string", "name of a device"}, reasonParam}, answer: Done{}, do: (*server).removeDevice},
		{method: "POST", path: "/v1/doors/rekey", role: Owner, summary: "Give the doors another key, which all devices need then", answer: Rekeyed{}, do: (*server).rekeyDoors},
		{method: "POST", path: "/v1/policy/check", role: Member, summary: "Check a policy, and run its tests, as by policy check --json", body: NewPolicy{}, answer: report.PolicyCheck{}, do: (*server).checkPolicy},
		{method: "PUT", path: "/v1/policy", role: Owner, summary: "Sign a policy", body: NewPolicy{}, answer: Done{}, do: (*server).setPolicy},
		{method: "DELETE", path: "/v1/policy", role: Owner, summary: "Have no policy any more: everything is allowed", answer: Done{}, do: (*server).clearPolicy},

		{method: "GET", path: "/v1/log", role: Admin, summary: "The log of this node as it grows, as server-sent events",
			params: []param{{"level", "query", "integer", "how much: 0 to 5; without, as much as the node logs anyway"}}, answer: report.LogLine{}, kind: stream, raw: (*server).log},
	}
}

package control

import (
	"time"

	"tincan/internal/node"
)

// MeshReport is who reaches whom and how, as far as this node knows: the pairs of all nodes. Rows and columns are numbers of nodes
// in Nodes. What is not in a row is idle, or not reached.
type MeshReport struct {
	Time   time.Time  `json:"time"`
	Serial uint64     `json:"serial"` // for the parameter after of the next request
	Nodes  []MeshNode `json:"nodes"`  // by name
	Rows   []MeshRow  `json:"rows"`   // of those whose paths are known; with after only those that are new since
}

// MeshNode is one node of a [MeshReport].
type MeshNode struct {
	Name      node.Name `json:"name"`
	Reachable bool      `json:"reachable"`
	// Source is where its row is from: self, node (it was asked), edges (it runs tinc, or a tincan that does not tell), none (it has
	// not answered yet).
	Source string `json:"source"`
}

// The sources of rows.
const (
	MeshSelf  = "self"
	MeshTold  = "node"
	MeshEdges = "edges"
	MeshNone  = "none"
)

// MeshRow is the paths of one node. All lists are as long as To, except those that are missing.
type MeshRow struct {
	Node int       `json:"node"` // its number
	Time time.Time `json:"time"` // when it told
	To   []int     `json:"to"`   // numbers of nodes
	// Path has a letter for each: u direct by UDP, t direct by TCP, r relayed (by UDP to the relay), R relayed (by TCP to the relay or the
	// next node), k no key, e: only an edge is known, which is a meta connection.
	Path string `json:"path"`
	// Via is the relays' numbers, -1: none; missing if there is no relay at all.
	Via []int `json:"via,omitempty"`
	// RTT is round trip times in microseconds, 0: not measured; of edges their weight, which tinc measures in milliseconds.
	RTT []int `json:"rtt_us,omitempty"`
	// Loss is lost probes of 1,000; missing if none is lost.
	Loss []int `json:"loss_permille,omitempty"`
	// MTU is the path MTU in bytes of IP packet, 0: not known.
	MTU []int `json:"mtu_bytes,omitempty"`
	// Since is for how many seconds, before Time, the path has been the same, -1: not known.
	Since []int64 `json:"since_seconds,omitempty"`
}

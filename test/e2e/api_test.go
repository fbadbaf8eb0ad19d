//go:build linux

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
)

const apiSocket = "/var/run/tinc.home.api.socket"

// TestTheWholeMeshFromOneNode sees by the HTTP API of one node how the others reach each other, a node of tinc among them, and
// what happens when one is gone.
func TestTheWholeMeshFromOneNode(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	w := newWorld(t, "ip4")
	n := w.static(site{name: "a"}, site{name: "b", connect: []string{"a"}}, site{name: "c", kind: tinc11, connect: []string{"a"}})
	a, b := n[0], n[1]
	upAll(n...)
	w.allReach("ip4", n...)
	get := func(path string) string {
		out, err := a.Run(curl, "-sS", "--fail", "--max-time", "5", "--unix-socket", apiSocket, "http://tincan"+path)
		w.must(err)
		return out
	}
	// pair is the letter of the path between two nodes; "" is unknown.
	pair := func(from, to string) (letter, source string) {
		var r control.MeshReport
		w.must(json.Unmarshal([]byte(get("/v1/mesh")), &r))
		for _, row := range r.Rows {
			if x := r.Nodes[row.Node]; string(x.Name) == from {
				source = x.Source
				for i, k := range row.To {
					if string(r.Nodes[k].Name) == to {
						letter = row.Path[i : i+1]
					}
				}
			}
		}
		return letter, source
	}
	var was [][2]string
	w.eventually("all rows are known", 30*time.Second, func() bool {
		was = nil
		for _, p := range [][2]string{{"a", "b"}, {"b", "a"}, {"b", "c"}, {"c", "a"}} {
			letter, source := pair(p[0], p[1])
			was = append(was, [2]string{letter, source})
		}
		return was[0][0] == "u" && was[1][0] == "u" && was[1][1] == control.MeshTold && was[2][0] != "" && was[3] == [2]string{"e", control.MeshEdges}
	})
	if text := get("/metrics"); !strings.Contains(text, "\ntincan_handshakes_made_total ") || !strings.Contains(text, `tincan_peers{path="direct-udp"} `) {
		t.Errorf("the metrics: %s", text)
	}
	b.tincan("down")
	w.eventually("it is told that b is gone", 30*time.Second, func() bool {
		out, _ := a.Run(curl, "-sS", "--max-time", "1", "--unix-socket", apiSocket, "http://tincan/v1/events?after=all") // it ends because its time is up
		return strings.Contains(out, `"event":"node-down"`) && strings.Contains(out, `"node":"b"`)
	})
}

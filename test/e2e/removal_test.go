//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// removes deletes the host file of o at n, as its owner does, and reloads.
func (n *node) removes(o string) {
	n.w.Helper()
	n.w.must(n.InFiles(func() error { return os.Remove(confBase + "/hosts/" + o) }))
	n.tincan("reload")
}

// knowsKeyOf tells whether n has a host file of o, or has learned its key.
func (n *node) knowsKeyOf(o string) bool {
	return n.file("hosts/"+o) != "" || strings.Contains(n.file("cache/keys.json"), `"`+o+`": {`)
}

// Six nodes, and the owner goes from one to the next, under traffic. Whoever has deleted the file does not get it back
// from those who have not, and in the end the removed node is out.
func TestRollingRemovalOverSix(t *testing.T) {
	w := newWorld(t, "ip4")
	for i := range 7 {
		n := w.node(fmt.Sprintf("n%d", i+1))
		if i == 0 {
			n.found()
			n.up()
		} else {
			n.joins(w.nodes[0].invite(n.Name()))
		}
	}
	members, gone := w.nodes[:6], w.nodes[6]
	w.eventually("all know each other", patience, func() bool { return len(strangers(w.nodes...)) == 0 })
	gone.reaches(members[5])
	for i, n := range members {
		n.removes(gone.Name())
		for k := range 3 { // packets for the removed one are what would have its key asked for
			_, _ = n.try("ping", "-c", "1", gone.Name())
			members[(i+k)%6].reaches(members[(i+k+1)%6])
		}
		for _, m := range members[:i+1] {
			if m.knowsKeyOf(gone.Name()) {
				t.Errorf("%s knows %s again, after %d of 6 were done", m.Name(), gone.Name(), i+1)
			}
		}
	}
	time.Sleep(5 * time.Second)
	for _, m := range members {
		if m.knowsKeyOf(gone.Name()) {
			t.Errorf("%s knows %s again", m.Name(), gone.Name())
		}
		if list := m.tincan("accept"); !strings.Contains(list, gone.Name()+" removed ") {
			t.Errorf("accept at %s lists %q", m.Name(), list)
		}
	}
	w.eventually("the removed one is alone", patience, func() bool {
		return strings.Contains(gone.tincan("status", "--json"), `"connections": 0`)
	})
	members[0].reaches(members[5])
}

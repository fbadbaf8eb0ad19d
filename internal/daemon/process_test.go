//go:build unix

package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestTheMapOfTheMesh(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a", "GraphDumpFile = map.dot")
	b := newNode(t, "b", "ConnectTo = a", "GraphDumpFile = |cat > "+filepath.Join(t.TempDir(), "map"))
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	eventually(t, "the map has both nodes and the edge between them", func() bool {
		text, _ := os.ReadFile(a.path("map.dot"))
		return strings.HasPrefix(string(text), "digraph {\n") && strings.Contains(string(text), `"a" -> "b"`) && strings.Contains(string(text), `"b" [label`)
	})
	file := strings.TrimPrefix(b.read("tinc.conf")[strings.Index(b.read("tinc.conf"), "|cat > "):], "|cat > ")
	file, _, _ = strings.Cut(file, "\n")
	eventually(t, "the command has got the map", func() bool {
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), `"b" -> "a"`)
	})
}

func TestSandboxHighRunsNoPrograms(t *testing.T) {
	a := newNode(t, "a", "Sandbox = high", "GraphDumpFile = |dot")
	if err := a.tryStart(Options{}); err == nil || !strings.Contains(err.Error(), "Sandbox = high forbids") {
		t.Errorf("error %v", err)
	}
}

func TestAUserWhoDoesNotExist(t *testing.T) {
	a := newNode(t, "a")
	err := a.tryStart(Options{Process: &Process{User: "no-such-user"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-user") && !strings.Contains(err.Error(), "Linux") {
		t.Errorf("error %v", err)
	}
	if left := a.files(); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWINCHForgetsNodesThatAreGone(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	c := a.client()
	eventually(t, "a sees b", func() bool { return a.sees(c, "b") })
	b.stop()
	must(t, os.Remove(a.path("hosts/b")))
	must(t, a.reload())
	eventually(t, "b is gone, and still remembered", func() bool { return !a.sees(c, "b") && a.remembers("b") })
	must(t, syscall.Kill(os.Getpid(), syscall.SIGWINCH))
	eventually(t, "b is forgotten", func() bool { return !a.remembers("b") })
}

// remembers tells whether the node has anything about another one.
func (n *testNode) remembers(name string) bool {
	n.Helper()
	list, err := n.client().Nodes("")
	must(n, err)
	for _, x := range list {
		if string(x.Name) == name {
			return true
		}
	}
	return false
}

func TestNamesInTheLog(t *testing.T) {
	var asked atomic.Int32
	h := newHostnames(func(a netip.Addr) string {
		asked.Add(1)
		return map[string]string{"192.0.2.1": "alpha.example", "2001:db8::1": "beta.example"}[a.String()]
	})
	const line = "connected to 192.0.2.1:655, [2001:db8::1]:655, 2001:db8::1 port 655, 198.51.100.1, not 192.0.2.0/24 or 1.2.3 at 12:30:45"
	if got := h.replace(line); got != line || asked.Load() != 0 {
		t.Errorf("switched off: %q", got)
	}
	h.on.Store(true)
	if got := h.replace(line); got != line {
		t.Errorf("at first: %q", got)
	}
	const want = "connected to alpha.example:655, beta.example:655, beta.example port 655, 198.51.100.1, not 192.0.2.0/24 or 1.2.3 at 12:30:45"
	eventually(t, want, func() bool { return h.replace(line) == want && asked.Load() >= 3 })
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestNamesDoNotHoldUpTheLog(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	h := newHostnames(func(netip.Addr) string { <-release; return "late" })
	h.on.Store(true)
	for i := range 3 * maxNames {
		h.replace(fmt.Sprintf("from 10.0.%d.%d", i/256, i%256))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) > maxNames || len(h.busy) != maxLookUps {
		t.Errorf("%d names, %d under way", len(h.known), len(h.busy))
	}
}

func TestTheNameOfAnAddressIsOneWord(t *testing.T) {
	for in, want := range map[string]string{"a.example.": "a.example.", "a b": "", "a\nERROR": "", "ü.example": "", strings.Repeat("a", 300): ""} {
		if got := oneWord(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestFirstScriptsBelongToTheOldUser(t *testing.T) {
	var c *confinement
	if c.strict() {
		t.Error("a process that is not ours is confined")
	}
	if !(&confinement{Process: Process{Chroot: true}}).strict() {
		t.Error("-R does not wait for the first scripts")
	}
}

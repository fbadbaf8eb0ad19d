package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/wire"
)

// TestCostOfAViewer measures what one viewer of the page costs the node that he looks at, and the command that serves the page, in a mesh
// of SOAK_NODES nodes: a real node and a real "tincan ui", in processes of their own. The other nodes are real, too, with a session each,
// but all in this process, and they tell of paths between all of them that are not there.
func TestCostOfAViewer(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("SOAK_NODES"))
	if err != nil || count < 3 {
		t.Skip("SOAK_NODES says how many")
	}
	of := time.Minute
	if n, err := strconv.Atoi(os.Getenv("SOAK_MINUTES")); err == nil {
		of = time.Duration(n) * time.Minute
	}
	program := filepath.Join(t.TempDir(), "tincan")
	build := exec.Command("go", "build", "-trimpath", "-o", program, "tincan/cmd/tincan")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	hub, viewed := newNode(t, "hub"), newNode(t, "viewed", "ConnectTo = hub")
	others := []*testNode{hub}
	for i := range count - 2 {
		n := newNode(t, node.Name(fmt.Sprintf("n%03d", i)), "ConnectTo = hub", "KeyDistribution = no")
		n.knows(viewed)
		hub.knows(n)
		viewed.knows(n)
		others = append(others, n)
	}
	hub.knows(viewed)
	for _, n := range others {
		n.quiet, n.mute = true, true
		if n != hub {
			n.knows(hub)
		}
		n.start()
		tellsOfAll(n, others)
	}
	viewed.knows(hub)
	var log bytes.Buffer
	daemon := exec.Command(program, "-c", viewed.layout.ConfBase, "--pidfile", viewed.layout.PidFile, "up")
	daemon.Stdout, daemon.Stderr = &log, &log
	must(t, daemon.Start())
	defer func() {
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait()
		if t.Failed() {
			t.Logf("log of the node: %s", log.Bytes())
		}
	}()
	eventually(t, "the node runs", func() bool { _, err := pidfile.Read(viewed.layout.PidFile); return err == nil })
	c := viewed.client()
	eventually(t, "all are one mesh", func() bool {
		return slices.ContainsFunc(others, func(n *testNode) bool { return viewed.sees(c, n.name) })
	})
	must(t, c.Close())
	time.Sleep(30 * time.Second) // what the start needs is over
	idle := spent(t, daemon.Process.Pid)
	time.Sleep(of)
	idle = spent(t, daemon.Process.Pid) - idle

	page := exec.Command(program, "-c", viewed.layout.ConfBase, "--pidfile", viewed.layout.PidFile, "ui", "--no-browser")
	said, err := page.StdoutPipe()
	must(t, err)
	page.Stderr = page.Stdout
	must(t, page.Start())
	defer func() { _ = page.Process.Kill(); _ = page.Wait() }()
	link := ""
	for buf, b := make([]byte, 4096), []byte(nil); link == ""; {
		n, err := said.Read(buf)
		must(t, err)
		b = append(b, buf[:n]...)
		link = string(regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S+`).Find(b))
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	v := newViewer(t, link)
	go v.listens()
	v.looks(time.Minute + of/10) // all have been asked
	served, looked, bytes := spent(t, page.Process.Pid), spent(t, daemon.Process.Pid), v.bytes
	v.looks(of)
	served, looked = spent(t, page.Process.Pid)-served, spent(t, daemon.Process.Pid)-looked
	part := func(d time.Duration) string { return fmt.Sprintf("%.2f ms/s", d.Seconds()*1000/of.Seconds()) }
	t.Logf("%s, %d nodes, %d pairs known: the node alone %s; with a viewer %s, and tincan ui %s; %d bytes/s",
		runtime.GOARCH, count, v.pairs(), part(idle), part(looked), part(served), (v.bytes-bytes)/int(of.Seconds()))
	if v.pairs() < (count-1)*(count-2) {
		t.Errorf("only %d pairs are known", v.pairs())
	}
	if extra := looked - idle + served; extra > of/100 {
		t.Errorf("a viewer costs %.2f %% of a processor", 100*float64(extra)/float64(of))
	}
}

// tellsOfAll has a node say that it reaches all of others by UDP, with round trips that change. It answers after a time of its own, as if it
// were far away: answers that all come at once would cost less.
func tellsOfAll(n *testNode, others []*testNode) {
	d, fake := n.daemon, newMeshView(n.daemon)
	d.core.call(func(*mesh.Mesh) { d.meshView = fake })
	ctx, cancel := context.WithCancel(context.Background())
	n.Cleanup(cancel)
	far := time.Duration(rand.IntN(200)) * time.Millisecond
	var all []wire.PathEntry
	for i, o := range others {
		if o != n {
			all = append(all, wire.PathEntry{To: o.name.ID(), Path: wire.PathUDP, MTU: 1423, Age: uint32(i)})
		}
	}
	slices.SortFunc(all, func(a, b wire.PathEntry) int { return bytes.Compare(a.To[:], b.To[:]) })
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case q := <-fake.questions:
				from, found := slices.BinarySearchFunc(all, q.After, func(e wire.PathEntry, id node.ID) int { return bytes.Compare(e.To[:], id[:]) })
				if found {
					from++
				}
				for i := range all[from:] {
					all[from+i].RTT = time.Duration(1000+rand.IntN(200_000)) * time.Microsecond
					all[from+i].Loss = max(rand.IntN(200)-180, 0)
				}
				data, k := wire.AppendPaths(nil, all[from:], q.Room)
				time.AfterFunc(far, func() {
					d.core.call(func(m *mesh.Mesh) {
						m.Handle(now(), mesh.TellPaths{Node: q.Node, Number: q.Number, Size: q.Size, More: from+k < len(all), Data: data})
					})
				})
			}
		}
	}()
}

// spent is the processor time that a process has used, to the nanosecond.
func spent(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("process %d: %v", pid, err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		word, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(word, 10, 64)
		must(t, err)
		sum += time.Duration(ns)
	}
	return sum
}

// viewer asks what the page asks while it shows the mesh.
type viewer struct {
	*testing.T
	client       *http.Client
	base         string
	bytes        int
	serial       uint64
	known        map[int]int
	status, rest time.Time
}

func newViewer(t *testing.T, link string) *viewer {
	jar, err := cookiejar.New(nil)
	must(t, err)
	base := link[:strings.Index(link[8:], "/")+8]
	v := &viewer{T: t, client: &http.Client{Jar: jar}, base: base, known: map[int]int{}}
	v.get(strings.TrimPrefix(link, base))
	return v
}

func (v *viewer) get(path string) []byte {
	v.Helper()
	r, err := v.client.Get(v.base + path)
	must(v, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		v.Fatalf("%s: %d %v %.200s", path, r.StatusCode, err, text)
	}
	v.bytes += len(text)
	return text
}

// listens follows the events, as the page does; what they make it ask comes with looks.
func (v *viewer) listens() {
	r, err := v.client.Get(v.base + "/v1/events")
	if err != nil {
		return
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, r.Body)
}

// looks asks what the page asks in a time.
func (v *viewer) looks(long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Second) {
		now := time.Now()
		if now.Sub(v.status) > 10*time.Second {
			v.status = now
			v.get("/v1/status")
		}
		if now.Sub(v.rest) > time.Minute {
			v.rest = now
			v.get("/v1/mesh/past")
			v.get("/v1/members")
		}
		var r struct {
			Serial uint64
			Rows   []struct {
				Node int
				To   []int
			}
		}
		must(v, json.Unmarshal(v.get(fmt.Sprintf("/v1/mesh?after=%d", v.serial)), &r))
		v.serial = r.Serial
		for _, row := range r.Rows {
			v.known[row.Node] = len(row.To)
		}
	}
}

// pairs is how many pairs the viewer knows.
func (v *viewer) pairs() (n int) {
	for _, row := range v.known {
		n += row
	}
	return n
}

//go:build linux

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tincan/internal/lab"
)

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
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// minutes is how long is measured.
func minutes(t *testing.T) time.Duration {
	n, err := strconv.Atoi(os.Getenv("SOAK_MINUTES"))
	if err != nil {
		t.Skip("SOAK_MINUTES says how long")
	}
	return time.Duration(n) * time.Minute
}

// perSecond writes a share of time.
func perSecond(d, of time.Duration) string {
	return fmt.Sprintf("%.0f µs/s", float64(d.Microseconds())/of.Seconds())
}

// What metrics and names cost while nobody asks: two networks of two, side by side, one with both and one without.
func TestCostOfMetricsAndNames(t *testing.T) {
	of := minutes(t)
	w := newWorld(t, "ip4")
	pair := func(a, b string, conf string) (both []*node) {
		alice, bob := w.node(a), w.node(b)
		alice.found()
		set := func(n *node) {
			n.tincan("set", "Names", map[bool]string{true: "no", false: "auto"}[conf == ""])
			n.appendTo("tinc.conf", conf)
		}
		set(alice)
		alice.up()
		bob.tincan("join", alice.invite(b))
		set(bob)
		bob.up()
		w.allReach("ip4", alice, bob)
		return []*node{alice, bob}
	}
	without, with := pair("alice", "bob", ""), pair("carol", "dave", "Metrics = 127.0.0.1\n")
	time.Sleep(30 * time.Second) // keys, ports and paths are settled
	for range 5 {
		sum := func(list []*node) (d time.Duration) {
			for _, n := range list {
				d += spent(t, n.daemon.PID())
			}
			return d
		}
		a, b := sum(without), sum(with)
		time.Sleep(of)
		a, b = (sum(without)-a)/2, (sum(with)-b)/2
		t.Logf("without: %s, with metrics and names: %s, of a processor's time for each node", perSecond(a, of), perSecond(b, of))
	}
}

// What one viewer of the page costs the node that he looks at, and the command that serves it, in a mesh of SOAK_NODES.
func TestCostOfAViewer(t *testing.T) {
	of := minutes(t)
	n, err := strconv.Atoi(os.Getenv(sizeVar))
	if err != nil {
		t.Skip("SOAK_NODES says how many")
	}
	c := newCrowd(t, n)
	c.start()
	t.Logf("%d nodes are one mesh after %v", n, c.together(c.members, time.Duration(n)*3*time.Second))
	time.Sleep(time.Minute)
	m := c.members[1]
	daemon := m.daemon.PID()
	before := spent(t, daemon)
	time.Sleep(of)
	before = spent(t, daemon) - before

	page, err := c.host.Start(os.Getenv(binaryVar), "--config", m.dir, "--pidfile", filepath.Join(m.dir, "pid"), "ui", "--no-browser")
	c.must(err)
	c.must(page.WaitLog(`http://127\.0\.0\.1:\d+/\S+`, 10*time.Second))
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S+`).FindString(page.Log())
	v := &viewer{T: t, host: c.host, client: c.host.HTTP(), base: link[:strings.Index(link[8:], "/")+8]}
	v.client.Jar, _ = cookiejar.New(nil)
	v.get(strings.TrimPrefix(link, v.base))
	go v.listens()
	settled := time.Now().Add(time.Minute) // all have been asked once
	for time.Now().Before(settled) {
		v.looks()
	}
	served, looked := spent(t, page.PID()), spent(t, daemon)
	v.bytes = 0
	for end := time.Now().Add(of); time.Now().Before(end); {
		v.looks()
	}
	served, looked = spent(t, page.PID())-served, spent(t, daemon)-looked
	t.Logf("%d nodes, %d pairs known: the node alone %s; with a viewer %s, and tincan ui %s; %d bytes/s",
		n, v.pairs, perSecond(before, of), perSecond(looked, of), perSecond(served, of), v.bytes/int(of.Seconds()))
	if extra := looked - before + served; extra > of/100 {
		t.Errorf("a viewer costs %.2f %% of a processor", 100*float64(extra)/float64(of))
	}
}

// viewer asks what the page asks while it shows the mesh.
type viewer struct {
	*testing.T
	host   *lab.Host
	client *http.Client
	base   string

	serial       uint64
	pairs, bytes int
	known        map[int]int
	status, rest time.Time
}

func (v *viewer) get(path string) []byte {
	v.Helper()
	r, err := v.client.Get(v.base + path)
	if err != nil {
		v.Fatal(err)
	}
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
	for s := bufio.NewScanner(r.Body); s.Scan(); {
	}
}

// looks is five seconds of the page.
func (v *viewer) looks() {
	now := time.Now()
	if now.Sub(v.status) > 10*time.Second {
		v.status = now
		v.get("/v1/status")
	}
	if now.Sub(v.rest) > time.Minute {
		v.rest = now
		v.get("/v1/mesh/past")
	}
	var report struct {
		Serial uint64
		Rows   []struct {
			Node int
			To   []int
		}
	}
	if err := json.Unmarshal(v.get(fmt.Sprintf("/v1/mesh?after=%d", v.serial)), &report); err != nil {
		v.Fatal(err)
	}
	v.serial = report.Serial
	if v.known == nil {
		v.known = map[int]int{}
	}
	for _, row := range report.Rows {
		v.pairs += len(row.To) - v.known[row.Node]
		v.known[row.Node] = len(row.To)
	}
	time.Sleep(5 * time.Second)
}

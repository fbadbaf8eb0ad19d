package metrics

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/node"
)

var update = flag.Bool("update", false, "rewrite testdata")

// full is a status with everything in it.
func full() *control.Status {
	started := time.Unix(1_800_000_000, 0)
	return &control.Status{
		Network: "home", Version: "0.1.0", PID: 1, Started: &started,
		Parallel: &control.Parallel{Workers: 6, Sealed: 10, Opened: 20},
		Self:     control.NodeView{Name: "alice", Path: control.PathSelf, Subnets: []string{"10.0.0.1"}, Rx: control.PacketView{Packets: 1, Bytes: 2}, Tx: control.PacketView{Packets: 3, Bytes: 4}},
		Nodes: []control.NodeView{
			{
				Name: "bob", Reachable: true, Connected: true, Path: control.PathUDP, RTT: control.Millis(1500 * time.Microsecond), Loss: 0.25, MTU: 1400,
				Probes:  &control.Probes{RTT: control.Histogram{Count: 9, Sum: 12.5, Buckets: []uint32{4, 5, 0, 0, 0, 0, 0, 0, 0, 0}}, Lost: 2},
				Subnets: []string{"10.0.0.0/24", "10.0.0.2/32#5", "10.0.0.3"}, Rx: control.PacketView{Packets: 5, Bytes: 6_000_000_000_000}, Tx: control.PacketView{Packets: 7, Bytes: 8},
			},
			{Name: "carol", Reachable: true, Path: control.PathRelayed, Via: "bob", Subnets: []string{"fd00::3"}},
			{Name: "dave", Path: control.PathUnreachable, Subnets: []string{"10.1.0.0/16"}},
		},
		Summary:  control.StatusTotals{Nodes: 4, Reachable: 3, Connections: 1, Edges: 2},
		Problems: []control.Problem{{Code: "x"}},
		Drops:    []control.Drop{{Reason: `he said "no"` + "\n\\", Count: 9}},
		Totals:   &control.Totals{HandshakesBegun: 4, HandshakesMade: 3, Failovers: control.Histogram{Count: 3, Sum: 4100, Buckets: []uint32{0, 0, 0, 0, 0, 1, 1, 0, 0, 0}}},
		Roster:   &control.RosterTotals{Owners: 1, Members: 4, Pending: 1, Invitations: 2, Removed: 3},
		Limits:   &control.Limits{Nodes: control.Held{Held: 1, Limit: 10000}, Connections: control.RefusedConns{Count: 3}},
	}
}

func TestMetricsAreAsPrometheusReadsThem(t *testing.T) {
	const golden = "testdata/full.prom"
	var b bytes.Buffer
	if err := Write(&b, full(), Process{CPU: 1500 * time.Millisecond, Resident: 1 << 24, Started: time.Unix(1_800_000_000, 0)}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("the metrics differ from %s (-update rewrites it):\n%s", golden, b.Bytes())
	}
	lint(t, b.Bytes())
}

// lint checks the metrics as promtool does, and by promtool if there is one.
func lint(t *testing.T, text []byte) {
	t.Helper()
	types := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
			if name := words[2]; types[name] != "" || (words[3] == "counter") != strings.HasSuffix(name, "_total") {
				t.Errorf("%s", line)
			}
			types[words[2]] = words[3]
		} else if name, _, _ := strings.Cut(words[0], "{"); !strings.HasPrefix(line, "#") && types[name] == "" && !partOfHistogram(types, name) {
			t.Errorf("no type: %s", line)
		}
	}
	promtool(t, text, "check", "metrics")
}

// partOfHistogram tells whether a name is that of a part of a histogram.
func partOfHistogram(types map[string]string, name string) bool {
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if whole, ok := strings.CutSuffix(name, part); ok && types[whole] == "histogram" {
			return true
		}
	}
	return false
}

// promtool has Prometheus' tool look at text. scripts/peers fetches it.
func promtool(t *testing.T, text []byte, args ...string) {
	t.Helper()
	tool, err := exec.LookPath(cmp.Or(os.Getenv("PROMTOOL"), "promtool"))
	if err != nil {
		t.Log("*** there is no promtool (package prometheus of Debian): only this test has looked ***")
		return
	}
	cmd := exec.Command(tool, args...)
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// TestAlertsAndDashboardKnowTheMetrics checks that what comes with the packages uses metrics that exist.
func TestAlertsAndDashboardKnowTheMetrics(t *testing.T) {
	golden, err := os.ReadFile("testdata/full.prom")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"tincan.rules.yml", "grafana-dashboard.json"} {
		path := filepath.Join("../../packaging/prometheus", file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\b(tincan|process)_[a-z_]+\b`).FindAllString(string(text), -1)
		if len(names) < 8 {
			t.Errorf("%s: only %d metrics", file, len(names))
		}
		for _, name := range names {
			if !bytes.Contains(golden, []byte("# TYPE "+name+" ")) && !bytes.Contains(golden, []byte("\n"+name+"{")) && !bytes.Contains(golden, []byte("\n"+name+" ")) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", file)
		}
		if strings.HasSuffix(file, ".yml") {
			promtool(t, nil, "check", "rules", path)
			promtool(t, nil, "test", "rules", "testdata/alerts.yml")
		}
	}
	page, err := os.ReadFile("../../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok && !bytes.Contains(page, []byte("`"+strings.Fields(name)[0]+"`")) {
			t.Errorf("docs/monitoring.md does not explain %s", strings.Fields(name)[0])
		}
	}
}

func TestManyNodesDoNotMakeManySeries(t *testing.T) {
	s := full()
	for i := range 3 * maxPeers {
		s.Nodes = append(s.Nodes, control.NodeView{Name: node.Name(fmt.Sprint("n", i)), Path: control.PathUnreachable})
	}
	var b bytes.Buffer
	if err := Write(&b, s, Process{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "\ntincan_peer_up{"); n != maxPeers {
		t.Errorf("%d nodes have series", n)
	}
	for _, want := range []string{`tincan_peer_up{peer="bob"} 1`, `tincan_peer_up{peer="carol"} 1`, fmt.Sprintf("tincan_peers_omitted %d\n", 2*maxPeers+3)} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
	lint(t, b.Bytes())
}

func TestTargets(t *testing.T) {
	got, err := json.Marshal(Targets(full(), "9655"))
	want := `[{"targets":["10.0.0.1:9655"],"labels":{"__meta_tincan_network":"home","__meta_tincan_node":"alice"}},` +
		`{"targets":["10.0.0.2:9655"],"labels":{"__meta_tincan_network":"home","__meta_tincan_node":"bob"}},` +
		`{"targets":["[fd00::3]:9655"],"labels":{"__meta_tincan_network":"home","__meta_tincan_node":"carol"}}]`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
}

func TestWhoAsksByAForeignNameIsRefused(t *testing.T) {
	h := handler("9655", func() control.Status { return *full() })
	own, _ := os.Hostname()
	for host, code := range map[string]int{
		"127.0.0.1:9655": 200, "[::1]:9655": 200, "10.0.0.1": 200, "localhost:9655": 200, "LOCALHOST": 200, own + ":9655": 200,
		"evil.example:9655": 421, "": 421, "127.0.0.1.evil.example": 421, own + ".evil.example": 421,
	} {
		for _, path := range []string{"/", "/metrics", "/targets"} {
			r := httptest.NewRequest("GET", path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != code {
				t.Errorf("%s of host %q: %d instead of %d", path, host, w.Code, code)
			}
		}
	}
	for request, code := range map[string]int{"POST /metrics": 405, "GET /other": 404, "DELETE /targets": 405} {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != code {
			t.Errorf("%s: %d", request, w.Code)
		}
	}
}

func TestServingEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		Serve(ctx, l, func() control.Status { return *full() })
		close(ended)
	}()
	resp, err := http.Get("http://" + l.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.Header.Get("Content-Type") != ContentType || !bytes.Contains(text, []byte("tincan_build_info{version=")) {
		t.Errorf("%q, %v", text, err)
	}
	stop()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}

func TestProcessOfThisTest(t *testing.T) {
	p := ProcessOf(os.Getpid(), nil)
	if _, err := os.Stat("/proc/self/statm"); err != nil {
		t.Skip("this system does not tell")
	}
	if p.Resident < 1<<20 || p.CPU < 0 || p.CPU > time.Hour {
		t.Errorf("%+v", p)
	}
	if p := ProcessOf(1<<30, nil); p != (Process{}) {
		t.Errorf("no process: %+v", p)
	}
}

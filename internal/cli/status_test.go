//go:build linux

package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/fixture"
)

// aMesh is what a daemon says that knows bob, who is reachable, and db1 and db2, of whom one is.
const aMesh = `{"network":"home","self":{"name":"alice","id":"00","reachable":true,"path":"self","subnets":["10.0.0.1"]},
"summary":{"nodes":4,"reachable":3,"connections":1,"edges":3},"nodes":[
{"name":"bob","id":"01","reachable":true,"connected":true,"address":"192.0.2.2:655","path":"direct-udp","transport":"udp","rtt_ms":1.5,"path_mtu":1400,"subnets":["10.0.0.2"],"rx":{"packets":1,"bytes":2},"tx":{"packets":3,"bytes":4}},
{"name":"db1","id":"02","reachable":true,"path":"relayed","via":"bob","transport":"tcp","subnets":["10.0.0.3","10.0.1.0/24","10.0.2.0/24"]},
{"name":"db2","id":"03","path":"unreachable","subnets":[],"problem":"the signature does not fit","wrong_key":true}]}`

// object is the answer of a daemon to a request for JSON.
func object(request int, text string) string {
	return fmt.Sprintf("18 %d %d\n%s", request, len(text), text)
}

// looking makes a stub of a daemon with that mesh and returns what runs tincan beside it.
func looking(t *testing.T) func(args ...string) outcome {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alice\n")
	stubDaemon(t, dir, strings.Repeat("0", 64), map[string][]string{"100": {object(100, aMesh)}, "102": {object(102, `{"node":"bub","error":"there is no node bub in this network"}`)},
		"3": {"18 3 bob 0416a26ba554 192.0.2.2 port 655 0 0 0 0 700000c 12 bob bob 1 1400 1400 1518 0 -1 0 0 0 0", "18 3"}})
	return func(args ...string) outcome {
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...)
	}
}

func TestStatusOfSomeNodesOrOne(t *testing.T) {
	tincan := looking(t)
	for line, want := range map[string]string{
		"status":                      "bob db1 db2",
		"status --reachable":          "bob db1",
		"status --unreachable":        "db2",
		"status db*":                  "db1 db2",
		"status db? --reachable":      "db1",
		"status nobody*":              "",
		"status --json":               "bob db1 db2",
		"status --json db1":           "db1",
		"status --json --unreachable": "db2",
	} {
		got := tincan(strings.Fields(line)...).must(t).out
		var names []string
		if strings.Contains(line, "--json") {
			var s control.Status
			if err := json.Unmarshal([]byte(got), &s); err != nil {
				t.Fatal(err)
			}
			for _, n := range s.Nodes {
				names = append(names, string(n.Name))
			}
		} else {
			for _, m := range regexp.MustCompile(`(?m)^(bob|db\d)  `).FindAllStringSubmatch(got, -1) {
				names = append(names, m[1])
			}
		}
		if text := strings.Join(names, " "); text != want {
			t.Errorf("%s: %q, want %q\n%s", line, text, want, got)
		}
	}
	got := tincan("status", "db1").must(t).out
	for _, want := range []string{"node     db1 (id 02)\n", "subnets  10.0.0.3 10.0.1.0/24 10.0.2.0/24\n", "path     relayed via bob (TCP)\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	tincan("status", "db3").refused(t, `there is no node "db3" in this network`, `hint: did you mean "db1"?`)
	tincan("status", "10.0.0.2").refused(t, "10.0.0.2 is an address, and not the name of a node", "info 10.0.0.2")
	tincan("status", "alicf").refused(t, `hint: did you mean "alice"?`)
	tincan("status", "--reachable", "--unreachable").refused(t, "choose one of")
	tincan("status", "--drops", "bob").refused(t, "--drops is about all nodes")
	tincan("status", "--watch=1ms").refused(t, "--watch must be at least")
}

// Where the output is no terminal there are no colours, and lines fit COLUMNS or 80.
func TestStatusFits(t *testing.T) {
	tincan := looking(t)
	t.Setenv("TERM", "xterm-256color")
	for _, width := range []string{"", "50", "200"} {
		t.Setenv("COLUMNS", width)
		most := 80
		fmt.Sscan(width, &most)
		got := tincan("status").must(t).out
		for line := range strings.Lines(got) {
			if len([]rune(line)) > most+1 || strings.Contains(line, "\x1b") {
				t.Errorf("COLUMNS=%s: %q", width, line)
			}
		}
		if strings.Contains(got, "  RX  ") != (width == "200") || !strings.Contains(got, "wrong key: db2 was refused") {
			t.Errorf("COLUMNS=%s:\n%s", width, got)
		}
	}
}

// On a pipe --watch writes one block after the other, until Ctrl-C.
func TestStatusIsWatched(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		dir := t.TempDir()
		fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alice\n")
		stubDaemon(t, dir, strings.Repeat("0", 64), map[string][]string{"100": {object(100, aMesh)}})
		cmd := exec.Command(filepath.Join(bin, "tincan"), "-c", dir, "status", "--watch=100ms", fmt.Sprintf("--json=%v", asJSON))
		var out bytes.Buffer
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() }).Stop()
		mark := "node alice"
		if asJSON {
			mark = `{"time":`
		}
		var chunk [4096]byte
		for strings.Count(out.String(), mark) < 3 {
			n, err := stdout.Read(chunk[:])
			out.Write(chunk[:n])
			if err != nil {
				t.Fatalf("%v after %s", err, &out)
			}
		}
		cmd.Process.Signal(os.Interrupt)
		out.ReadFrom(stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("Ctrl-C: %v", err)
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q", out.String())
		}
	}
}

func TestTheNodeThatWasMeant(t *testing.T) {
	looking(t)("ping", "bub").refused(t, "there is no node bub in this network", `hint: did you mean "bob"?`)

	dir, _ := network(t)
	fixture.Put(t, filepath.Join(dir, "hosts", "carol"), "Port = 655\n")
	fixture.Put(t, filepath.Join(dir, "changed", "carol"), "Ed25519PublicKey = "+strings.Repeat("A", 43)+"\n")
	run(t, "", "tincan", "-c", dir, "accept", "carl").refused(t, `hint: did you mean "carol"?`)
}

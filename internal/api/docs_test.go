//go:build !windows

package api

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"tincan/internal/pidfile"
)

const page = "../../docs/api.md"

// TestTheRoutesAreDocumented compares the table in docs/api.md with the routes.
func TestTheRoutesAreDocumented(t *testing.T) {
	const begin, end = "<!-- routes: made by go test ./internal/api -update -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	must(t, err)
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("docs/api.md has no place for the routes")
	}
	var b strings.Builder
	b.WriteString("| request | role | |\n|---|---|---|\n")
	for _, r := range routes {
		query := ""
		for _, p := range r.params {
			if p.in == "query" {
				query += "; `" + p.name + "`: " + p.meaning
			}
		}
		fmt.Fprintf(&b, "| `%s %s` | %s | %s%s |\n", r.method, r.path, r.role, r.summary, query)
	}
	if old == b.String() {
		return
	}
	if !*update {
		t.Fatal("docs/api.md has another table; run: go test ./internal/api -update")
	}
	must(t, os.WriteFile(page, []byte(head+begin+b.String()+end+tail), 0o666))
}

// TestTheExamplesWork runs the commands of docs/api.md.
func TestTheExamplesWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	text, err := os.ReadFile(page)
	must(t, err)
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("there are no examples")
	}
	a := start(t, "alice", true)
	commands := strings.Split(strings.TrimSpace(string(block[1])), "\n")
	if len(commands) < 10 || !strings.HasPrefix(commands[0], "socket=") {
		t.Fatalf("the examples begin with %q", commands[0])
	}
	for _, command := range commands[1:] {
		cmd := exec.Command("sh", "-c", strings.Replace(command, "curl ", "curl -sS --fail ", 1))
		cmd.Env = append(os.Environ(), "socket="+pidfile.APISocketPath(a.layout.PidFile))
		out, err := cmd.CombinedOutput()
		if timeLimit := strings.Contains(command, "--max-time"); timeLimit && strings.Contains(string(out), "event: started") {
			continue // it ends because its time is up
		}
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

// Stages runs the tests of tincan, stage by stage, and goes on after a failure. For each stage
// it prints the packages as they end and what failed; at the end a table, one line with the sums
// ("N passed, N failed, N skipped"), and what each test that failed said, without the logs of daemons.
//
//	go run ./test/stages [STAGE...]
//
// Without arguments all stages are run, in the order of the table below. A command that is no
// test (vet, a build) counts as one.
//
// A skipped test is listed with its reason. With CI set in the environment one that matches
// no line of test/skips.txt counts as failed. FUZZTIME is passed on to scripts/fuzz.
//
// Where real daemons or the race detector meet a busy machine, up to three tests that failed are
// repeated once, alone. Those that pass then are flaky: listed with what they said at first,
// counted apart. RETRY=0 turns that off. See repeat.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// stage is a number of commands, which run one after the other.
type stage struct {
	name  string
	cmds  []command
	alone command // what repeats a test of the stage, but for "-run" and the package; empty: nothing does
}

type command struct {
	args []string
	env  []string
	test bool // its output is that of "go test -json"
}

// Nothing runs beside the tests of e2e, which look at the clock. The bounds of time are for slow and
// busy machines. "go vet" has seen all of it when the tests are run. Some packages mostly wait in
// their tests, so that four at a time keep two processors busy.
var stages = []stage{
	{name: "check", cmds: []command{
		{args: []string{"sh", "-c", `files=$(gofmt -l .); [ -z "$files" ] || { echo "not formatted:" $files; exit 1; }`}},
		{args: goes("vet", "./...")},
		{args: goes("vet", "-tags", "netstack", "./cmd/tincan", "./internal/command/rootless")},
		{args: goes("tool", "staticcheck", "./...")},
		{args: goes("test", "-json", "./test/layers", "./test/docs", "./test/stages"), test: true},
		cross("linux", "arm"), cross("darwin", "arm64"), cross("windows", "amd64"), cross("freebsd", "amd64"), cross("openbsd", "amd64"),
	}},
	{name: "unit", cmds: []command{{args: goes("test", "-json", "-vet=off", "-p", "4", "-timeout", "30m", ".", "./cmd/...", "./internal/..."), test: true}},
		alone: command{args: goes("test", "-json", "-vet=off", "-count=1", "-timeout", "5m"), test: true}},
	{name: "race", cmds: []command{{
		args: []string{"sh", "-c", "exec " + strings.Join(goes("test", "-json", "-vet=off", "-race", "-short", "-p", "4", "-timeout", "40m",
			"$("+strings.Join(goes("list", ".", "./internal/..."), " ")+" | grep -vxE 'tincan/internal/("+strings.Join(sequential, "|")+")')"), " ")},
		env: []string{"CGO_ENABLED=1"}, test: true,
	}}, alone: command{args: goes("test", "-json", "-vet=off", "-race", "-short", "-count=1", "-timeout", "5m"), env: []string{"CGO_ENABLED=1"}, test: true}},
	{name: "fuzz", cmds: []command{{args: []string{"scripts/fuzz", "-json"}, test: true}}},
	{name: "packages", cmds: []command{{args: goes("-C", "packaging/build", "vet", ".")}, {args: goes("test", "-json", "-vet=off", "-count=1", "-timeout", "15m", "./test/packages"), test: true}}},
	{name: "e2e", cmds: []command{{args: goes("test", "-json", "-vet=off", "-count=1", "-parallel", "6", "-timeout", "20m", "./test/e2e"), test: true}},
		alone: command{args: goes("test", "-json", "-vet=off", "-count=1", "-parallel", "6", "-timeout", "5m"), test: true}},
	{name: "browser", cmds: []command{{args: goes("-C", "test/browser", "vet", ".")}, {args: goes("-C", "test/browser", "test", "-json", "-vet=off", "-count=1", "-timeout", "15m", "."), test: true}}},
	{name: "wine", cmds: []command{{args: goes("test", "-json", "-vet=off", "-count=1", "-timeout", "15m", "./test/wine"), test: true}}},
}

// sequential packages in internal/ start no goroutines and share nothing between them, so that the race
// detector has nothing to find in their own tests, but needs minutes for them. Those of the packages that
// use them concurrently are run with it. A test checks that they are still like this.
var sequential = []string{
	"forward", "graph", "hostfile", "mesh", "nearest", "node", "packet", "reconcile", "roster", "route", "scan", "sim",
}

func goes(args ...string) []string {
	tool := os.Getenv("GO")
	if tool == "" {
		tool = "go"
	}
	return append([]string{tool}, args...)
}

func cross(system, arch string) command {
	return command{args: goes("build", "-tags", "netstack", "-o", os.DevNull, "./..."), env: []string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + arch}}
}

const (
	skipList   = "test/skips.txt"
	maxPrinted = 150 // lines of a test that failed: the last
	maxSaid    = 20  // lines of its own messages, at the very end
	maxRepeats = 3   // tests of a stage: if more have failed, that is no chance
)

func main() {
	list, err := os.ReadFile(skipList)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stages:", err)
		os.Exit(1)
	}
	allowed, err := parseSkips(string(list))
	if err != nil {
		fmt.Fprintln(os.Stderr, "stages:", err)
		os.Exit(1)
	}
	strict := os.Getenv("CI") != ""
	var all total
	var table []string
	for _, want := range os.Args[1:] {
		if !slices.ContainsFunc(stages, func(s stage) bool { return s.name == want }) {
			fmt.Fprintf(os.Stderr, "stages: there is no stage %q\n", want)
			os.Exit(2)
		}
	}
	for _, s := range stages {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], s.name) {
			continue
		}
		fmt.Printf("== %s\n", s.name)
		began := time.Now()
		t := s.run(os.Stdout)
		if os.Getenv("RETRY") != "0" {
			s.repeat(os.Stdout, &t)
		}
		t.judgeSkips(os.Stdout, allowed, strict)
		table = append(table, t.row(s.name, time.Since(began)))
		all.add(t)
	}
	fmt.Println("\n" + strings.Join(table, "\n"))
	fmt.Print(all.sums())
	if all.failed > 0 {
		os.Exit(1)
	}
}

// total is what became of tests.
type total struct {
	passed, failed int      // tests without tests inside
	good           []string // names of all that passed, as in failure
	failures       []failure
	flaky          []failure // those that passed when they were repeated; they count as neither passed nor failed
	skips          []skip
}

type skip struct{ test, why string }

// failure is a test or a command that failed, and what it said about that.
type failure struct {
	name  string   // of a test with its package: "tincan/internal/sim TestA/one"
	said  []string // lines without their ends, at most maxSaid
	alone bool     // it is a test, all others of its package have ended by themselves, and no panic or data race was seen
}

func (t *total) row(stage string, took time.Duration) string {
	return fmt.Sprintf("%-8s %6d passed %4d failed %4d flaky %4d skipped  %v", stage, t.passed, t.failed, len(t.flaky), len(t.skips), took.Round(time.Second))
}

// sums is the line of sums, and what failed tests said.
func (t *total) sums() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d passed, %d failed, %d skipped", t.passed, t.failed, len(t.skips))
	if n := len(t.flaky); n > 0 {
		fmt.Fprintf(&b, ", %d FLAKY", n)
	}
	b.WriteString("\n")
	for _, f := range t.flaky {
		b.WriteString("\n" + f.text("flaky: failed once, passed alone"))
	}
	for _, f := range t.failures {
		b.WriteString("\n" + f.text("failed"))
	}
	return b.String()
}

// test is the package and the test; none if this is no test.
func (f failure) test() (pkg, name string) {
	pkg, name, _ = strings.Cut(f.name, " ")
	return pkg, name
}

func (f failure) text(what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", what, f.name)
	for _, line := range f.said {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	return b.String()
}

func (t *total) add(o total) {
	t.passed, t.failed = t.passed+o.passed, t.failed+o.failed
	t.failures, t.flaky, t.skips = append(t.failures, o.failures...), append(t.flaky, o.flaky...), append(t.skips, o.skips...)
}

func (t *total) fail(name string, said []string) {
	t.failed++
	t.failures = append(t.failures, failure{name: name, said: said})
}

// repeat runs the tests that failed once more, each alone, if they are few and nothing worse has happened.
// What passes then is flaky instead of failed.
func (s stage) repeat(out io.Writer, t *total) {
	failed := map[string][]failure{} // by what repeats them
	var commands []string
	for _, f := range t.failures {
		if !f.alone {
			return
		}
		pkg, name := f.test()
		test, _, _ := strings.Cut(name, "/")
		key := pkg + " " + test
		if failed[key] == nil {
			commands = append(commands, key)
		}
		failed[key] = append(failed[key], f)
	}
	if s.alone.args == nil || len(commands) > maxRepeats {
		return
	}
	t.failed, t.failures = 0, nil
	for _, key := range commands {
		fmt.Fprintf(out, "== %s: once more, alone: %s\n", s.name, key)
		pkg, test, _ := strings.Cut(key, " ")
		c := s.alone
		c.args = append(slices.Clone(c.args), "-run", pattern(test, failed[key]), pkg)
		again := c.run(out)
		for _, f := range failed[key] {
			if again.failed == 0 && slices.Contains(again.good, f.name) {
				t.flaky = append(t.flaky, f)
			} else {
				t.failed++
				t.failures = append(t.failures, f)
			}
		}
	}
}

// pattern is for "-run": the test, but of the tests right inside of it only those in which something has failed.
func pattern(test string, failed []failure) string {
	var inside []string
	for _, f := range failed {
		_, name := f.test()
		parts := strings.SplitN(name, "/", 3)
		if len(parts) == 1 {
			return "^" + test + "$"
		}
		if part := regexp.QuoteMeta(parts[1]); !slices.Contains(inside, part) {
			inside = append(inside, part)
		}
	}
	return "^" + test + "$/^(" + strings.Join(inside, "|") + ")$"
}

func (s stage) run(out io.Writer) (t total) {
	for _, c := range s.cmds {
		t.add(c.run(out))
	}
	return t
}

func (c command) run(out io.Writer) (t total) {
	name := strings.Join(append(slices.Clone(c.env), c.args...), " ")
	if len(name) > 80 {
		name = name[:80] + "…"
	}
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	if !c.test {
		text, err := cmd.CombinedOutput()
		if err != nil {
			fmt.Fprintf(out, "FAIL %s: %v\n%s", name, err, text)
			t.fail(name, gist(strings.SplitAfter(string(text), "\n")))
		} else {
			fmt.Fprintf(out, "ok   %s\n", name)
			t.passed++
		}
		return t
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(out, "FAIL %s: %v\n", name, err)
		t.fail(name, []string{err.Error()})
		return t
	}
	t = read(pipe, out)
	if err := cmd.Wait(); err != nil && t.failed == 0 {
		fmt.Fprintf(out, "FAIL %s: %v\n%s", name, err, complaints.Bytes())
		t.fail(name, gist(append(strings.SplitAfter(complaints.String(), "\n"), err.Error())))
	}
	return t
}

// event is a line of "go test -json".
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// read counts the tests that have no tests inside of them, prints each package when it
// ends, and the output of what failed.
func read(in io.Reader, out io.Writer) (t total) {
	output := map[string][]string{} // by package and test: the last lines
	said := map[string]*messages{}  // the same: its own messages
	parent := map[string]bool{}     // tests with tests inside
	blamed := map[string]bool{}     // packages and tests in which something else has failed
	running := map[string]string{}  // tests that have not ended, with their packages
	grave := map[string]bool{}      // by package and test: it has said what no repetition excuses
	spoilt := map[string]bool{}     // packages in which that was said by what failed
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Fprintln(out, sc.Text())
			continue
		}
		if e.Package == "" {
			e.Package, _, _ = strings.Cut(e.ImportPath, " ")
		}
		id := e.Package + " " + e.Test
		up := func(mark map[string]bool) {
			mark[e.Package+" "] = true
			for name := e.Test; ; {
				i := strings.LastIndexByte(name, '/')
				if i < 0 {
					return
				}
				name = name[:i]
				mark[e.Package+" "+name] = true
			}
		}
		switch e.Action {
		case "run":
			up(parent)
			running[id] = e.Package
		case "output", "build-output":
			if said[id] == nil {
				said[id] = new(messages)
			}
			said[id].add(e.Output)
			grave[id] = grave[id] || inexcusable.MatchString(e.Output)
			output[id] = append(output[id], e.Output)
			if n := len(output[id]); n > 4*maxPrinted {
				output[id] = slices.Clone(output[id][n-maxPrinted:])
			}
		case "pass":
			if e.Test == "" {
				fmt.Fprintf(out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
			} else {
				t.good = append(t.good, id)
				if !parent[id] {
					t.passed++
				}
			}
			delete(output, id)
			delete(said, id)
			delete(running, id)
		case "skip":
			if e.Test != "" {
				t.skips = append(t.skips, skip{e.Package + "." + e.Test, reason(output[id])})
			}
			delete(output, id)
			delete(said, id)
			delete(running, id)
		case "fail", "build-fail":
			spoilt[e.Package] = spoilt[e.Package] || grave[id]
			lines := output[id]
			if !blamed[id] {
				own := gist(lines)
				if m := said[id]; m != nil && len(m.lines) > 0 {
					own = m.lines
				}
				t.fail(strings.TrimSpace(strings.Join([]string{e.Package, e.Test}, " ")), own)
			}
			lines = lines[max(0, len(lines)-maxPrinted):]
			fmt.Fprintf(out, "FAIL %s\n%s", id, strings.Join(lines, ""))
			up(blamed)
			delete(output, id)
			delete(said, id)
			delete(running, id)
		}
	}
	for _, pkg := range running {
		spoilt[pkg] = true
	}
	for i := range t.failures {
		pkg, name := t.failures[i].test()
		t.failures[i].alone = name != "" && !spoilt[pkg]
	}
	if err := sc.Err(); err != nil {
		fmt.Fprintln(out, "FAIL reading the output of the tests:", err)
		t.fail("the output of the tests", []string{err.Error()})
	}
	return t
}

// messages are the last lines that a test has said by t.Error and its like, apart from what it passes on.
type messages struct {
	lines []string
	more  int // lines of the last message beside its first, -1: something else has been said since
}

// maxMore lines of one message are kept beside its first.
const maxMore = 6

var (
	// The testing package puts the place before a message and four spaces more before its further lines.
	firstLine = regexp.MustCompile(`^ {4}[A-Za-z0-9_]+\.go:[0-9]+: `)
	furtherOn = regexp.MustCompile(`^ {8}`)
	// bad is where what ends a program begins.
	bad = regexp.MustCompile(`^(panic|fatal error): |^WARNING: DATA RACE|^\*\*\* `)
	// inexcusable is what is never chance, of the test itself, a copy of it or a daemon that it has started.
	inexcusable = regexp.MustCompile(`(^|\s)(panic|fatal error): |DATA RACE|race detected`)
)

func (m *messages) add(line string) {
	line = strings.TrimRight(line, "\n")
	switch {
	case firstLine.MatchString(line):
		m.more = 0
	case m.more >= 0 && m.more < maxMore && len(m.lines) > 0 && furtherOn.MatchString(line):
		m.more++
	default:
		m.more = -1
		return
	}
	m.lines = append(m.lines, line[4:])
	m.lines = m.lines[max(0, len(m.lines)-maxSaid):]
}

// gist is what tells most of an output without messages: from where it goes wrong, else its end.
func gist(lines []string) (said []string) {
	for _, line := range lines {
		if line = strings.TrimRight(line, "\n"); strings.TrimSpace(line) != "" {
			said = append(said, line)
		}
	}
	if i := slices.IndexFunc(said, bad.MatchString); i >= 0 {
		return said[i:min(len(said), i+maxSaid)]
	}
	return said[max(0, len(said)-maxSaid):]
}

// reason is what a test said when it was skipped.
func reason(lines []string) string {
	for _, line := range slices.Backward(lines) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--- ") && !strings.HasPrefix(line, "=== ") {
			if _, why, ok := strings.Cut(line, ": "); ok {
				return why
			}
			return line
		}
	}
	return ""
}

// parseSkips reads a list of regular expressions for "PACKAGE.TEST: REASON", one on a line.
func parseSkips(text string) (list []*regexp.Regexp, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		re, err := regexp.Compile(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", skipList, err)
		}
		list = append(list, re)
	}
	return list, nil
}

func (t *total) judgeSkips(out io.Writer, allowed []*regexp.Regexp, strict bool) {
	var kept []skip
	for _, s := range t.skips {
		text := s.test + ": " + s.why
		switch {
		case slices.ContainsFunc(allowed, func(re *regexp.Regexp) bool { return re.MatchString(text) }):
			fmt.Fprintln(out, "skip", text)
			kept = append(kept, s)
		case strict:
			fmt.Fprintf(out, "FAIL skipped, and not in %s: %s\n", skipList, text)
			t.fail(s.test+" (skipped)", []string{s.why, "no line of " + skipList + " allows that"})
		default:
			fmt.Fprintf(out, "SKIP %s (not in %s: with CI set this is a failure)\n", text, skipList)
			kept = append(kept, s)
		}
	}
	t.skips = kept
}

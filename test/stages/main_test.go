package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSums(t *testing.T) {
	const said = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
{"Action":"run","Package":"p","Test":"TestA/two"}
{"Action":"output","Package":"p","Test":"TestA/two","Output":"    a_test.go:1: two is wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA/two"}
{"Action":"pass","Package":"p","Test":"TestA/one"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no such thing here\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestC"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"Action":"output","Package":"q","Output":"panic: oh\n"}
{"Action":"fail","Package":"q"}
{"ImportPath":"r","Action":"build-output","Output":"r.go:1: undefined: x\n"}
{"ImportPath":"r","Action":"build-fail"}
{"Action":"skip","Package":"s"}
`
	var out bytes.Buffer
	got := read(strings.NewReader(said), &out)
	const end = `failed: p TestA/two
    a_test.go:1: two is wrong
failed: q
    panic: oh
failed: r
    r.go:1: undefined: x
`
	if got.passed != 2 || got.failed != 3 || got.failures[0].text("failed")+got.failures[1].text("failed")+got.failures[2].text("failed") != end {
		t.Errorf("%+v", got)
	}
	if len(got.skips) != 1 || got.skips[0] != (skip{"p.TestB", "no such thing here"}) {
		t.Errorf("skips %+v", got.skips)
	}
	for _, want := range []string{"two is wrong", "panic: oh", "undefined: x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not printed:\n%s", want, &out)
		}
	}
	strict := got
	strict.judgeSkips(&out, nil, true)
	if strict.failed != 4 || len(strict.skips) != 0 {
		t.Errorf("a skip that is not listed: %+v", strict)
	}
	allowed, err := parseSkips("# all\n^p\\.TestB: no such thing\n")
	if err != nil {
		t.Fatal(err)
	}
	got.judgeSkips(&out, allowed, true)
	if got.failed != 3 || len(got.skips) != 1 {
		t.Errorf("a skip that is listed: %+v", got)
	}
}

// What a test of daemons says stands at the end without what the daemons said, however much that was.
func TestOnlyTheMessagesOfATest(t *testing.T) {
	var said strings.Builder
	say := func(line string) {
		fmt.Fprintf(&said, "{\"Action\":\"output\",\"Package\":\"p\",\"Test\":\"TestA\",\"Output\":%q}\n", line+"\n")
	}
	said.WriteString(`{"Action":"run","Package":"p","Test":"TestA"}` + "\n")
	say("=== RUN   TestA")
	say("       0.158 alice tincan: 23:45:19 Ready")
	say("    a_test.go:10: no packets for 30 s")
	say("        hint: look there")
	say("       3.1 alice tincan: a_test.go:7: not this")
	say("        nor this")
	for range 2 * 4 * maxPrinted {
		say("    1000.158 alice tincan: 23:45:19 Got PING from bob")
	}
	say("    --- FAIL: TestA (1.00s)")
	said.WriteString(`{"Action":"fail","Package":"p","Test":"TestA"}` + "\n")
	got := read(strings.NewReader(said.String()), io.Discard)
	if want := "failed: p TestA\n    a_test.go:10: no packets for 30 s\n        hint: look there\n"; len(got.failures) != 1 || got.failures[0].text("failed") != want {
		t.Errorf("%v", got.failures)
	}
}

// What failed of a stage is repeated alone, once, if that can have been chance.
func TestWhatIsRepeated(t *testing.T) {
	event := func(action, test string) string {
		return fmt.Sprintf("{\"Action\":%q,\"Package\":\"p\",\"Test\":%q}\n", action, test)
	}
	says := func(test, text string) string {
		return fmt.Sprintf("{\"Action\":\"output\",\"Package\":\"p\",\"Test\":%q,\"Output\":%q}\n", test, text+"\n")
	}
	failing := func(names ...string) (text string) {
		for _, name := range names {
			text += event("run", name) + says(name, "    a_test.go:1: "+name+" is late") + event("fail", name)
		}
		return text
	}
	prints := func(text string) command {
		return command{args: []string{"sh", "-c", `printf %s "$1"; case $2$3$4 in "" | "-run^Test"[A-D]"\$p" | '-run^TestA$/^(one|two\.2)$p') ;; *) exit 1; esac`, "sh", text}, test: true}
	}
	passes, fails := event("run", "TestA")+event("pass", "TestA"), failing("TestA")
	const end = "\n"
	for name, c := range map[string]struct {
		stage, alone  string
		passed, flaky int
		failed, runs  int
	}{
		"passes alone":                     {failing("TestA") + event("run", "TestB") + event("pass", "TestB"), passes, 1, 1, 0, 1},
		"fails again":                      {failing("TestA"), fails, 0, 0, 1, 1},
		"is skipped alone":                 {failing("TestA"), event("run", "TestA") + event("skip", "TestA"), 0, 0, 1, 1},
		"is not there alone":               {failing("TestA"), "", 0, 0, 1, 1},
		"two of its tests":                 {event("run", "TestA") + failing("TestA/one", "TestA/two.2/deep") + event("fail", "TestA"), event("run", "TestA") + event("run", "TestA/one") + event("pass", "TestA/one") + event("run", "TestA/two.2/deep") + event("pass", "TestA/two.2/deep") + event("pass", "TestA"), 0, 2, 0, 1},
		"one of two is not there alone":    {event("run", "TestA") + failing("TestA/one", "TestA/two.2") + event("fail", "TestA"), event("run", "TestA") + event("run", "TestA/one") + event("pass", "TestA/one") + event("pass", "TestA"), 0, 1, 1, 1},
		"three":                            {failing("TestA", "TestB", "TestC"), passes + event("pass", "TestB") + event("pass", "TestC"), 0, 3, 0, 3},
		"four":                             {failing("TestA", "TestB", "TestC", "TestD"), passes, 0, 0, 4, 0},
		"a package that fails by itself":   {failing("TestA") + `{"Action":"fail","Package":"q"}` + end, passes, 0, 0, 2, 0},
		"a build that fails":               {failing("TestA") + `{"Action":"build-fail","ImportPath":"q"}` + end, passes, 0, 0, 2, 0},
		"a panic":                          {says("TestA", "panic: oh") + failing("TestA"), passes, 0, 0, 1, 0},
		"a daemon's panic":                 {says("TestA", "    0.1 alice tincan: panic: oh") + failing("TestA"), passes, 0, 0, 1, 0},
		"a data race":                      {says("TestA", "    testing.go:1: race detected during execution of test") + failing("TestA"), passes, 0, 0, 1, 0},
		"a panic of another test's output": {says("", "panic: oh") + failing("TestA") + event("fail", ""), passes, 0, 0, 1, 0},
		"others have not ended":            {event("run", "TestB") + failing("TestA"), passes, 0, 0, 1, 0},
		"a test that passes may say panic": {says("TestB", "panic: oh") + event("run", "TestB") + event("pass", "TestB") + failing("TestA"), passes, 1, 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := stage{name: "race", cmds: []command{prints(c.stage)}, alone: prints(c.alone)}
			var out bytes.Buffer
			got := s.run(&out)
			s.repeat(&out, &got)
			if got.passed != c.passed || len(got.flaky) != c.flaky || got.failed != c.failed || len(got.failures) != c.failed {
				t.Errorf("%+v", got)
			}
			if n := strings.Count(out.String(), "== race: once more, alone: p Test"); n != c.runs {
				t.Errorf("%d runs alone, want %d:\n%s", n, c.runs, &out)
			}
			s.alone = command{}
			got = s.run(&out)
			s.repeat(&out, &got)
			if len(got.flaky) > 0 || got.failed == 0 {
				t.Errorf("in a stage without repetition: %+v", got)
			}
		})
	}
}

// Who reads the end of the output sees what was flaky, and why.
func TestFlakyTestsAreTold(t *testing.T) {
	all := total{passed: 5, flaky: []failure{{name: "p TestA/one", said: []string{"a_test.go:1: late"}}}, skips: make([]skip, 2)}
	if got, want := all.sums(), "5 passed, 0 failed, 2 skipped, 1 FLAKY\n\nflaky: failed once, passed alone: p TestA/one\n    a_test.go:1: late\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := all.row("e2e", 90*time.Second), "e2e           5 passed    0 failed    1 flaky    2 skipped  1m30s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if all.flaky = nil; all.sums() != "5 passed, 0 failed, 2 skipped\n" {
		t.Errorf("%q", all.sums())
	}
}

func TestOnlyStagesOfDaemonsAndTimeRepeat(t *testing.T) {
	for _, s := range stages {
		if may := s.name == "unit" || s.name == "race" || s.name == "e2e"; may != (s.alone.args != nil) {
			t.Errorf("%s repeats its tests: %v", s.name, !may)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	var m messages
	for i := range 100 {
		m.add(fmt.Sprintf("    a_test.go:%d: wrong\n", i))
		for range 50 {
			m.add("        more of it\n")
		}
	}
	if len(m.lines) != maxSaid || m.lines[len(m.lines)-maxMore-1] != "a_test.go:99: wrong" {
		t.Errorf("%q", m.lines)
	}
}

func TestWhereAnOutputGoesWrong(t *testing.T) {
	lines := []string{"Ready\n", "\n", "panic: oh\n"}
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("goroutine %d\n", i))
	}
	if got := gist(lines); len(got) != maxSaid || got[0] != "panic: oh" {
		t.Errorf("%q", got)
	}
	if got := gist(lines[3:]); len(got) != maxSaid || got[maxSaid-1] != "goroutine 99" {
		t.Errorf("%q", got)
	}
}

func TestSequentialPackagesAreSequential(t *testing.T) {
	for _, pkg := range sequential {
		paths, err := filepath.Glob("../../internal/" + pkg + "/*.go")
		if err != nil || len(paths) == 0 {
			t.Errorf("no files of %s: %v", pkg, err)
		}
		for _, path := range paths {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range file.Imports {
				switch spec.Path.Value {
				case `"sync"`, `"sync/atomic"`, `"unsafe"`: // with -race pointers are checked, too
					t.Errorf("%s imports %s: the package has to be tested for races", path, spec.Path.Value)
				}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt, *ast.ChanType:
					t.Errorf("%s: the package has to be tested for races", set.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

func TestTheListOfSkipsCanBeRead(t *testing.T) {
	text, err := os.ReadFile("../skips.txt")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := parseSkips(string(text)); err != nil || len(list) == 0 {
		t.Errorf("%d lines, %v", len(list), err)
	}
}

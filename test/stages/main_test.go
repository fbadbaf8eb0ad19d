package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
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
	if got.passed != 2 || got.failed != 3 || strings.Join(got.failures, ", ") != "p TestA/two, q, r" {
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

func TestTheListOfSkipsCanBeRead(t *testing.T) {
	text, err := os.ReadFile("../skips.txt")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := parseSkips(string(text)); err != nil || len(list) == 0 {
		t.Errorf("%d lines, %v", len(list), err)
	}
}

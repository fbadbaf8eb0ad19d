package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// thirdParty is a module of others that is linked into tincan on some processor, or Go itself.
type thirdParty struct {
	path, version string
	sum           string   // of go.sum; empty for Go
	license       string   // SPDX expression
	texts         []string // licences and notices, each once
}

// thirdParties are all of them, with Go first and then by path.
func (b *build) thirdParties() ([]thirdParty, error) {
	goroot, err := exec.Command(goTool(), "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("asking the go command where it is: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(goroot)), "\n")
	all := map[string]*thirdParty{}
	dirs := map[string]map[string]bool{} // of each module: its root, and its packages that are linked
	for _, t := range targets() {
		cmd := exec.Command(goTool(), "list", "-tags", tags, "-deps", "-json=Dir,Module", "./cmd/tincan")
		cmd.Env = append(os.Environ(), t.env()...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("listing what is linked for %s: %w", t, err)
		}
		for in := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				Dir    string
				Module *struct {
					Path, Version, Dir, Sum string
					Main                    bool
				}
			}
			if err := in.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if m := p.Module; m != nil && !m.Main {
				if all[m.Path] == nil {
					all[m.Path], dirs[m.Path] = &thirdParty{path: m.Path, version: m.Version, sum: m.Sum}, map[string]bool{}
				}
				for dir := p.Dir; strings.HasPrefix(dir, m.Dir); dir = filepath.Dir(dir) {
					dirs[m.Path][dir] = true
				}
			}
		}
	}
	list := []thirdParty{{path: "std", version: version}}
	if err := list[0].read(root); err != nil {
		return nil, err
	}
	for path, t := range all {
		for _, dir := range slices.Sorted(maps.Keys(dirs[path])) {
			if err := t.read(dir); err != nil {
				return nil, err
			}
		}
		list = append(list, *t)
	}
	if len(list[0].texts) == 0 && all["golang.org/x/sys"] != nil {
		list[0].texts = all["golang.org/x/sys"].texts // some distributions keep Go's licence elsewhere; it is this one
	}
	for i := range list {
		t := &list[i]
		if t.license = license(t.texts); t.license == "" {
			return nil, fmt.Errorf("%s %s: no licence that this program knows (see notices.go)", t.path, t.version)
		}
	}
	slices.SortFunc(list[1:], func(a, b thirdParty) int { return strings.Compare(a.path, b.path) })
	return list, nil
}

var isNotice = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|copyright)([-._].*)?$`)

// read adds the licences and notices in a directory.
func (t *thirdParty) read(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isNotice.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		text := strings.TrimSpace(strings.ReplaceAll(string(data), "\r\n", "\n"))
		if !slices.Contains(t.texts, text) {
			t.texts = append(t.texts, text)
		}
	}
	return nil
}

// The licences that a dependency may have (docs/dependencies.md), by words that no other of them has. The first that
// fits counts: where a module offers a choice, tincan takes that one.
var licenses = []struct{ id, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"BSD-3-Clause", "to endorse or promote products derived from this software"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"Zlib", "Altered source versions must be plainly marked as such"},
}

// license is the SPDX expression for the texts of one module; "" if none is known.
func license(texts []string) string {
	var found []string
	for _, text := range texts {
		text = strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(text, ",", "")), " "))
		for _, l := range licenses {
			if strings.Contains(text, strings.ToLower(strings.ReplaceAll(l.words, ",", ""))) {
				if !slices.Contains(found, l.id) {
					found = append(found, l.id)
				}
				break
			}
		}
	}
	return strings.Join(found, " AND ")
}

// notices is the text about all of them that every package has.
func notices(list []thirdParty) []byte {
	var b bytes.Buffer
	b.WriteString("tincan contains the following software of others, under the licences below.\n\n")
	for _, t := range list {
		fmt.Fprintf(&b, "  %s %s: %s\n", t.name(), t.version, t.license)
	}
	for _, t := range list {
		fmt.Fprintf(&b, "\n%s\n%s %s\n\n%s\n", strings.Repeat("=", 80), t.name(), t.version, strings.Join(t.texts, "\n\n"+strings.Repeat("-", 80)+"\n\n"))
	}
	return b.Bytes()
}

// name is what people call it.
func (t thirdParty) name() string {
	if t.path == "std" {
		return "Go, its runtime and standard library"
	}
	return t.path
}

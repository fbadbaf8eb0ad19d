package docs

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	named    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`")
	runs     = regexp.MustCompile(`go test [^|\n]*?(\./\S+) [^|\n]*?-run '?([^'\s]+)`)
)

// testsByDir are the names of all tests of this repository, by the directory that they are in.
func testsByDir(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(filepath.Join(root, file))
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names[path.Dir(file)] = append(names[path.Dir(file)], string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Whoever repeats a measurement finds the test that the page names.
func TestTestsThatAreNamedExist(t *testing.T) {
	all := map[string]bool{}
	tests := testsByDir(t)
	for _, names := range tests {
		for _, name := range names {
			all[name] = true
		}
	}
	for page, text := range pages(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if !all[m[1]] && m[1] != "FuzzXxx" { // which stands for any
				t.Errorf("%s names the test %s, which does not exist", page, m[1])
			}
		}
		for _, m := range runs.FindAllStringSubmatch(text, -1) {
			for _, one := range strings.Split(m[2], "|") {
				pattern, err := regexp.Compile(one)
				if err != nil {
					t.Errorf("%s: %v", page, err)
					continue
				}
				if !slices.ContainsFunc(tests[path.Clean(m[1])], pattern.MatchString) {
					t.Errorf("%s runs %s in %s, and no test there has such a name", page, one, m[1])
				}
			}
		}
	}
}

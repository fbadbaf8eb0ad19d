package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	declared = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	named    = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+)`")
	runs     = regexp.MustCompile(`go test [^|\n]*?(\./\S+) [^|\n]*?-run '?([^'\s]+)`)
)

// testsIn are the names of the tests in a directory, or below it.
func testsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
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
	for _, name := range testsIn(t, ".") {
		all[name] = true
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
				found := false
				for _, name := range testsIn(t, m[1]) {
					found = found || pattern.MatchString(name)
				}
				if !found {
					t.Errorf("%s runs %s in %s, and no test there has such a name", page, one, m[1])
				}
			}
		}
	}
}

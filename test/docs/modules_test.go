package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// modules are those that go.mod requires, direct or not.
func modules(t *testing.T) (paths []string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(read(t, "go.mod")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case inside:
			paths = append(paths, strings.Fields(line)[0])
		case strings.HasPrefix(line, "require "):
			paths = append(paths, strings.Fields(line)[1])
		}
	}
	return paths
}

func TestEveryModuleThatIsImportedIsExplained(t *testing.T) {
	text := read(t, "docs/dependencies.md")
	required := modules(t)
	seen := map[string]bool{}
	for _, dir := range []string{"cmd", "internal", "packaging", "test"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range file.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				for _, m := range required {
					if (imported == m || strings.HasPrefix(imported, m+"/")) && !seen[m] {
						seen[m] = true
						if !strings.Contains(text, "`"+m+"`") {
							t.Errorf("%s imports %s, which docs/dependencies.md does not explain", path, m)
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) == 0 {
		t.Error("no module is imported: the test is blind")
	}
}

package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/test/attack"
)

const (
	attacksPage  = "docs/security.md"
	attacksBegin = "<!-- attacks: made by go test ./test/docs -update from test/attack/catalogue.go -->\n"
	attacksEnd   = "<!-- end of attacks -->\n"
	attacksHead  = "| an attacker … | in an open network | what only a signed list of members could close |\n|---|---|---|\n"
	succeeds     = "**Succeeds today.** No test refuses it yet"
)

func TestTheTableOfAttacksIsThatOfTheTests(t *testing.T) {
	before, rest, ok1 := strings.Cut(read(t, attacksPage), attacksBegin)
	old, after, ok2 := strings.Cut(rest, attacksEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has lost the marks around its table of attacks", attacksPage)
	}
	table, tests := attacksHead, testsByDir(t)
	for _, e := range attack.Catalogue() {
		cells := []string{e.Does, e.Held, e.Left}
		if e.Held == "" {
			cells[1] = succeeds
		}
		if e.Left == "" {
			cells[2] = "–"
		}
		if len(e.Tests) > 0 {
			var names []string
			for _, name := range e.Tests {
				dir, test, _ := strings.Cut(name, ".")
				if !slices.Contains(tests[dir], test) {
					t.Errorf("%q: there is no test %s in %s", e.Name, test, dir)
				}
				names = append(names, "`"+test+"`")
			}
			cells[1] += " (" + strings.Join(names, ", ") + ")"
		}
		table += "| " + strings.Join(cells, " | ") + " |\n"
	}
	if table == old {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the attacks of the tests; run: go test ./test/docs -update", attacksPage)
	}
	if err := os.WriteFile(filepath.Join(root, attacksPage), []byte(before+attacksBegin+table+attacksEnd+after), 0o666); err != nil {
		t.Fatal(err)
	}
}

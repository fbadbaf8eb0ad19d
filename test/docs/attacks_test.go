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
	attacksHead  = "| an attacker … | in an open network | in a signed network |\n|---|---|---|\n"
	succeeds     = "**Succeeds.** "
)

func TestTheTableOfAttacksIsThatOfTheTests(t *testing.T) {
	before, rest, ok1 := strings.Cut(read(t, attacksPage), attacksBegin)
	old, after, ok2 := strings.Cut(rest, attacksEnd)
	if !ok1 || !ok2 {
		t.Fatalf("%s has lost the marks around its table of attacks", attacksPage)
	}
	table, tests := attacksHead, testsByDir(t)
	for _, e := range attack.Catalogue() {
		cells := []string{e.Does, e.Held, e.Signed}
		switch {
		case (e.Held == "") == (e.Trust == ""):
			t.Errorf("%q: it is held in an open network, or it is not", e.Name)
		case e.Held == "":
			cells[1] = succeeds + e.Trust
		}
		switch {
		case e.Signed == "" && e.Held == "":
			t.Errorf("%q: nothing is said of signed networks", e.Name)
		case e.Signed == "":
			cells[2] = "The same"
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

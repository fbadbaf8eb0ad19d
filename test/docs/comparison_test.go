package docs

import (
	"regexp"
	"strings"
	"testing"
)

// What the comparison says of tincan can be looked up: each cell links to a page, or names a test, or says that there is nothing. That
// links and tests exist is another test's business.
func TestTheComparisonCanBeLookedUp(t *testing.T) {
	ours := regexp.MustCompile("\\]\\(|`Test[A-Z]|^no(,|;|$)")
	tables, rows, head, titled := 0, 0, 0, false
	for line := range strings.Lines(read(t, "docs/comparison.md")) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			head = 0
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case head == 0:
			head, titled = len(cells), len(cells) > 2
			if titled {
				tables++
				if cells[1] != "tincan" {
					t.Errorf("tincan has no column: %s", line)
				}
			}
		case len(cells) != head:
			t.Errorf("%d cells, want %d: %s", len(cells), head, line)
		case titled && !strings.HasPrefix(cells[0], "-"):
			rows++
			for i, cell := range cells {
				if cell == "" {
					t.Errorf("nothing is said in column %d: %s", i, line)
				}
			}
			if !ours.MatchString(cells[1]) {
				t.Errorf("%s: neither a page nor a test shows %q", cells[0], cells[1])
			}
		}
	}
	if tables < 4 || rows < 30 {
		t.Errorf("%d tables with %d rows", tables, rows)
	}
}

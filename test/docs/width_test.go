package docs

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLine is the longest line of Markdown, in characters, so that a change can be read as a diff.
const maxLine = 160

// A row of a table cannot be broken, so it may be longer.
func TestLinesAreNotTooLong(t *testing.T) {
	for page, text := range pages(t) {
		for i, line := range strings.Split(text, "\n") {
			if n := utf8.RuneCountInString(line); n > maxLine && !strings.HasPrefix(strings.TrimSpace(line), "|") {
				t.Errorf("%s:%d has %d characters; at most %d are allowed outside of tables", page, i+1, n, maxLine)
			}
		}
	}
}

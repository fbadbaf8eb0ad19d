// Package nearest finds the word that somebody may have meant who wrote another one.
package nearest

import (
	"slices"
	"strings"
)

// To returns the one of words that is most like text, in any case, or "" if none is
// near: at most a third of the characters differ, where two neighbours that changed places
// count as one difference. Of several equally near ones the first counts. A word that
// text begins is near if text has at least three characters. If text itself is among them nothing else was meant: "".
func To(text string, words []string) string {
	if len(text) > maxLen || slices.Contains(words, text) {
		return ""
	}
	best, least := "", max(1, len(text)/3)+1
	for _, w := range words {
		if d := distance(strings.ToLower(text), strings.ToLower(w)); d < least {
			best, least = w, d
		}
	}
	if best != "" || len(text) < 3 {
		return best
	}
	for _, w := range words {
		if len(w) > len(text) && strings.EqualFold(w[:len(text)], text) {
			return w
		}
	}
	return ""
}

// maxLen is the longest text that is compared, in bytes.
const maxLen = 64

// distance counts the insertions, deletions, replacements and swaps of neighbours that make b
// of a (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}

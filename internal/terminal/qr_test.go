package terminal

import (
	"regexp"
	"strings"
	"testing"
)

// modules reads a drawing back: true is dark.
func modules(t *testing.T, drawing string) (rows [][]bool) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSuffix(drawing, "\n"), "\n") {
		var upper, lower []bool
		for _, c := range regexp.MustCompile("\x1b[^m]*m").ReplaceAllString(line, "") {
			upper, lower = append(upper, c == '█' || c == '▀'), append(lower, c == '█' || c == '▄')
		}
		rows = append(rows, upper, lower)
	}
	return rows
}

// A camera finds the code by its three corners and the margin around it.
func TestAQRCodeHasItsCornersAndMargin(t *testing.T) {
	drawing, err := QR("0123-4567-89AB-CDEF-GHJK-MNPQ-RSTV-WXYZ-0123")
	if err != nil {
		t.Fatal(err)
	}
	rows := modules(t, drawing)
	if len(rows) < 33 || len(rows[0]) != 33 {
		t.Fatalf("%d × %d modules", len(rows), len(rows[0]))
	}
	for i := range 33 {
		for _, m := range []int{0, 1, 31, 32} {
			if rows[m][i] || rows[i][m] {
				t.Fatal("the margin is not empty")
			}
		}
	}
	corner := []string{"#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"}
	for _, at := range [][2]int{{2, 2}, {2, 24}, {24, 2}} {
		for y, line := range corner {
			for x, c := range line {
				if rows[at[0]+y][at[1]+x] != (c == '#') {
					t.Fatalf("the corner at %v is damaged", at)
				}
			}
		}
	}
	for _, bad := range []string{"small letters", strings.Repeat("A", 62)} {
		if _, err := QR(bad); err == nil {
			t.Errorf("%q was drawn", bad)
		}
	}
}

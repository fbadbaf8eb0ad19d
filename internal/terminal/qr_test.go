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
}

// The code is no larger than the text needs, and a text that needs too large a one is refused.
func TestTheSizeOfAQRCode(t *testing.T) {
	for text, want := range map[string]int{
		"HTTP": 21, strings.Repeat("A", 61): 29, strings.Repeat("a", 42): 29, strings.Repeat("a", 43): 33,
		"vpn.example.org:655/mB5ynSWTMC2EMBYqH7GsL1tZ8Yx8C0bLbQ3LkJr2sYdUqVZa": 37, strings.Repeat("a", 213): 57, strings.Repeat("a", 362): 73,
	} {
		drawing, err := QR(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if rows := modules(t, drawing); len(rows[0])-4 != want {
			t.Errorf("%d characters: %d modules in a row, want %d", len(text), len(rows[0])-4, want)
		}
	}
	if _, err := QR(strings.Repeat("a", 363)); err == nil {
		t.Error("363 characters were drawn")
	}
}

// What a page draws is the code that a terminal shows; only the terminal is too small for long texts.
func TestTheModulesOfAQRCode(t *testing.T) {
	const text = "vpn.example.org:655/mB5ynSWTMC2EMBYqH7GsL1tZ8Yx8C0bLbQ3LkJr2sYdUqVZa"
	drawing, err := QR(text)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := QRModules(text)
	if err != nil || len(rows) != 37 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	drawn := modules(t, drawing)
	for y, row := range rows {
		if len(row) != len(rows) {
			t.Fatalf("row %d has %d modules", y, len(row))
		}
		for x := range row {
			if row[x] != '0' && row[x] != '1' || (row[x] == '1') != drawn[y+2][x+2] {
				t.Fatalf("%d, %d: %c, and on a terminal %v", x, y, row[x], drawn[y+2][x+2])
			}
		}
	}
	if rows, err := QRModules(strings.Repeat("a", 2331)); err != nil || len(rows) != 177 {
		t.Errorf("the longest text: %d rows, %v", len(rows), err)
	}
	if _, err := QRModules(strings.Repeat("a", 2332)); err == nil {
		t.Error("a text that is too long has a code")
	}
}

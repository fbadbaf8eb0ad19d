package scan

import (
	"strings"
	"testing"
)

func TestIntReadsAsC(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		v     int
		rest  string
		ok    bool
	}{
		{"12 rest", 0, 12, " rest", true},
		{" \t-7x", 0, -7, "x", true},
		{"+7", 0, 7, "", true},
		{"177.5", 2, 17, "7.5", true},
		{"-17", 2, -1, "7", true},
		{"2147483648", 0, -2147483648, "", true},
		{"99999999999", 0, 1215752191, "", true},
		{"99999999999999999999", 0, -1, "", true},
		{"-99999999999999999999", 0, 0, "", true},
		{"", 0, 0, "", false},
		{"-", 0, 0, "", false},
		{"- 1", 0, 0, " 1", false},
		{"x1", 0, 0, "x1", false},
	} {
		v, rest, ok := Int(c.text, c.width)
		if ok != c.ok || ok && (v != c.v || rest != c.rest) {
			t.Errorf("%q: %d, rest %q, %v; want %d, %q, %v", c.text, v, rest, ok, c.v, c.rest, c.ok)
		}
	}
}

func TestHexReadsAsC(t *testing.T) {
	for _, c := range []struct {
		text string
		v    uint64
		rest string
		ok   bool
	}{
		{"700000c 1", 0x700000c, " 1", true},
		{" 0xABcdeg", 0xabcde, "g", true},
		{"0", 0, "", true},
		{"-1", 1<<64 - 1, "", true},
		{"10000000000000000", 1<<64 - 1, "", true},
		{"-10000000000000000", 1<<64 - 1, "", true},
		{"r1", 0, "", false},
		{"0x", 0, "", false},
		{"", 0, "", false},
	} {
		v, rest, ok := Hex(c.text)
		if ok != c.ok || ok && (v != c.v || rest != c.rest) {
			t.Errorf("%q: %x, rest %q, %v; want %x, %q, %v", c.text, v, rest, ok, c.v, c.rest, c.ok)
		}
	}
}

func TestWordIsCutAtItsWidth(t *testing.T) {
	for _, c := range []struct {
		text       string
		width      int
		word, rest string
		ok         bool
	}{
		{" \n one two", 10, "one", " two", true},
		{"abcdef", 4, "abcd", "ef", true},
		{"  ", 4, "", "", false},
	} {
		word, rest, ok := Word(c.text, c.width)
		if word != c.word || rest != c.rest || ok != c.ok {
			t.Errorf("%q: %q, rest %q, %v", c.text, word, rest, ok)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(" -12 rest", 2)
	f.Add("0xg", 0)
	f.Fuzz(func(t *testing.T, text string, width int) {
		_, afterInt, okInt := Int(text, width)
		_, afterHex, okHex := Hex(text)
		word, afterWord, okWord := Word(text, max(width, 1))
		for _, r := range []struct {
			rest string
			ok   bool
		}{{afterInt, okInt}, {afterHex, okHex}, {afterWord, okWord}} {
			if r.ok && (!strings.HasSuffix(text, r.rest) || len(r.rest) == len(text)) {
				t.Errorf("after %q there remains %q", text, r.rest)
			}
		}
		if okWord && (len(word) > max(width, 1) || strings.ContainsAny(word, Blanks)) {
			t.Errorf("%q is a word of %q", word, text)
		}
	})
}

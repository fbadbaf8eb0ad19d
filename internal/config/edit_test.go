package config

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const messy = "Name = alpha\r\n  Mode = switch\n\tMode = no\nMode=hub\n#Mode = x\nMode\nmode router\n-----BEGIN X-----\nabc\n-----END X-----\nX=1"

func TestEditing(t *testing.T) {
	for _, c := range []struct {
		name, text string
		change     func([]byte) []byte
		want       string
	}{
		{"set replaces the first and removes the rest", messy,
			func(b []byte) []byte { out, _ := Set(b, "Mode", "switch"); return out },
			"Name = alpha\r\n  Mode = switch\n\tMode = no\nMode = switch\n#Mode = x\nMode\n-----BEGIN X-----\nabc\n-----END X-----\nX=1\n"},
		{"set appends what is missing", "A = 1", func(b []byte) []byte { out, _ := Set(b, "B", "2"); return out }, "A = 1\nB = 2\n"},
		{"set in an empty file", "", func(b []byte) []byte { out, _ := Set(b, "B", "2"); return out }, "B = 2\n"},
		{"add", "A = 1\nB = 2", func(b []byte) []byte { out, _ := Add(b, "A", "3"); return out }, "A = 1\nB = 2\nA = 3\n"},
		{"add what is there, in other case", "a = X", func(b []byte) []byte { out, _ := Add(b, "A", "x"); return out }, "a = X"},
		{"delete all", messy, func(b []byte) []byte { out, _ := Delete(b, "MODE", ""); return out },
			"Name = alpha\r\n  Mode = switch\n\tMode = no\n#Mode = x\nMode\n-----BEGIN X-----\nabc\n-----END X-----\nX=1\n"},
		{"delete one value", "A = 1\na = x\nA = 2\n", func(b []byte) []byte { out, _ := Delete(b, "A", "X"); return out }, "A = 1\nA = 2\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.change([]byte(c.text))); got != c.want {
				t.Errorf("got\n%q, want\n%q", got, c.want)
			}
		})
	}
	if got := Values([]byte(messy), "mode"); !slices.Equal(got, []string{"hub", "router"}) {
		t.Errorf("values %q", got)
	}
	if _, removed := Set([]byte(messy), "Mode", "HUB"); !slices.Equal(removed, []string{"router"}) {
		t.Errorf("removed %q", removed)
	}
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(messy), "Mode", "hub")
	f.Fuzz(func(t *testing.T, data []byte, name, value string) {
		if name == "" || value == "" || strings.ContainsAny(name+value, " \t=\r\n\x00#") || len(name)+len(value) > 1000 {
			t.Skip()
		}
		set, _ := Set(data, name, value)
		if got := Values(set, name); len(got) != 1 || got[0] != value {
			t.Fatalf("after set: %q", got)
		}
		if del, _ := Delete(set, name, ""); len(Values(del, name)) != 0 {
			t.Fatal("still there after delete")
		}
		add, _ := Add(data, name, value)
		if again, added := Add(add, name, value); added || !bytes.Equal(add, again) {
			t.Fatal("added twice")
		}
	})
}

package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestReadBundle(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "[] false <nil>"},
		{"several forms of the line", "Name=a\nx\nName \t=  b c\ny\n", "[a:x b:y] false <nil>"},
		{"not at the beginning of a line, or in other case", "Name = a\n Name = b\nname = c\n", "[a: Name = b|name = c] false <nil>"},
		{"junk first", "x\nName = a\n", "[a:] true <nil>"},
		{"the separator goes away", "Name = a\n" + Separator + "\nName = b\n", "[a: b:] false <nil>"},
		{"an invalid name ends it", "Name = a\nx\nName = ../b\ny\n", "[a:x] false a Name line does not hold the name of a node"},
	} {
		hosts, junk, err := ReadBundle([]byte(c.text))
		var list []string
		for _, h := range hosts {
			list = append(list, string(h.Name)+":"+strings.ReplaceAll(strings.TrimRight(string(h.Text), "\n"), "\n", "|"))
		}
		if got := fmt.Sprint(list, junk, err); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func FuzzReadBundle(f *testing.F) {
	f.Add([]byte("Name = a\nPort = 1\n\n" + Separator + "\nName = b\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		hosts, _, _ := ReadBundle(data)
		total := 0
		for _, h := range hosts {
			total += len(h.Text)
		}
		if total > len(data) {
			t.Fatal("more came out than went in")
		}
	})
}

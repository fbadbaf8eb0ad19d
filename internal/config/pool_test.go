package config

import (
	"strings"
	"testing"
)

func TestPoolPrecedence(t *testing.T) {
	entry := func(file string, line int, value string) Entry {
		return Entry{Name: "Port", Value: value, File: file, Line: line}
	}
	for _, c := range []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"lower line in tinc.conf", []Entry{entry("/n/hosts/alpha", 8, "7002"), entry("/n/tinc.conf", 3, "7001")}, "7001"},
		{"lower line in the host file", []Entry{entry("/n/tinc.conf", 5, "7001"), entry("/n/hosts/alpha", 1, "7002")}, "7002"},
		{"same line: path that sorts first", []Entry{entry("/n/tinc.conf", 1, "7001"), entry("/n/hosts/alpha", 1, "7002")}, "7002"},
		{"conf.d sorts before hosts", []Entry{entry("/n/hosts/alpha", 1, "7002"), entry("/n/conf.d/a.conf", 1, "7009")}, "7009"},
		{"command line beats files", []Entry{entry("/n/tinc.conf", 1, "7001"), entry("", 5, "7003")}, "7003"},
		{"first option wins", []Entry{entry("", 2, "7004"), entry("", 1, "7003")}, "7003"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 { // in both orders
				if e, _ := NewPool(c.entries...).Lookup("pORT"); e.Value != c.want {
					t.Errorf("got %s, want %s", e.Value, c.want)
				}
				c.entries[0], c.entries[1] = c.entries[1], c.entries[0]
			}
		})
	}
}

func TestPoolWarnings(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown variable", "Prot = 1", "f:1: Prot is not a variable that this program knows; it is ignored; did you mean Port?"},
		{"twice", "Port = 1\nport = 2", "f:2: this Port is ignored, the one at f:1 counts; remove one of them"},
		{"several are fine", "ConnectTo = a\nConnectTo = b", ""},
		{"pointless", "IffOneQueue = yes", "f:1: IffOneQueue has no effect: today's kernels ignore it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, _, err := Parse("f", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range NewPool(entries...).Warnings() {
				got = append(got, w.String())
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

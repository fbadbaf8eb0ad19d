package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestExportAndImport(t *testing.T) {
	from := tree(t, "hosts/alpha\nname = alpha\nPort = 1\nNamed = x\n", "hosts/beta\nPort = 2\r\n", "hosts/beta-up\nscript\n")
	var text strings.Builder
	if err := WriteHosts(&text, from); err != nil {
		t.Fatal(err)
	}
	want := "Name = alpha\nPort = 1\nNamed = x\n\n" + Separator + "\nName = beta\nPort = 2\r\n"
	if text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}

	to := tree(t, "hosts/beta\nold\n")
	hosts, junk, err := ReadBundle([]byte(text.String()))
	if err != nil || junk || len(hosts) != 2 {
		t.Fatal(hosts, junk, err)
	}
	if err := ImportHost(to, hosts[0], false); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(to.Host("alpha")); string(got) != "Port = 1\nNamed = x\n\n" {
		t.Errorf("alpha became %q", got)
	}
	if err := ImportHost(to, hosts[1], false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwriting without force: %v", err)
	}
	if err := ImportHost(to, hosts[1], true); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(to.Host("beta")); string(got) != "Port = 2\r\n" {
		t.Errorf("beta became %q", got)
	}
}

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

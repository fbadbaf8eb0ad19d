package names

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFilesOfResolvers(t *testing.T) {
	d := resolverDir(filepath.Join(t.TempDir(), "resolver"))
	if found, err := d.Clear("home.internal"); found || err != nil {
		t.Errorf("without a directory: %v, %v", found, err)
	}
	l := Link{Server: netip.MustParseAddrPort("[fd00::1]:9653"), Domain: "home.internal", Reverse: []string{"88.10.in-addr.arpa"}}
	if err := d.Set(l); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string { b, _ := os.ReadFile(filepath.Join(string(d), name)); return string(b) }
	const want = "# kept by tincan for home.internal, changes are lost\nnameserver fd00::1\nport 9653\n"
	if got := read("home.internal"); got != want || read("88.10.in-addr.arpa") != want {
		t.Errorf("%q", got)
	}

	// Another network beside it, and files of others, stay as they are.
	other := Link{Server: netip.MustParseAddrPort("10.9.0.1:9653"), Domain: "home.internal2"}
	if err := d.Set(other); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(d), "corp.example"), []byte("nameserver 192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.Server, l.Reverse = netip.MustParseAddrPort("10.88.0.1:9653"), nil // it has moved, after a kill -9
	if err := d.Set(l); err != nil {
		t.Fatal(err)
	}
	if got := read("home.internal"); !strings.Contains(got, "nameserver 10.88.0.1\n") || read("88.10.in-addr.arpa") != "" {
		t.Errorf("%q", got)
	}
	for _, want := range []bool{true, false} {
		if found, err := d.Clear("home.internal"); found != want || err != nil {
			t.Errorf("%v, %v", found, err)
		}
	}
	if read("home.internal") != "" || read("home.internal2") == "" || read("corp.example") == "" {
		t.Error("too much was removed, or too little")
	}

	// A file of somebody else is not replaced, and nothing is left of the attempt.
	err := d.Set(Link{Server: l.Server, Domain: "x.internal", Reverse: []string{"corp.example"}})
	var hint *hinted
	if !errors.As(err, &hint) || !strings.Contains(err.Error(), "corp.example already") || read("x.internal") != "" || read("corp.example") != "nameserver 192.0.2.1\n" {
		t.Errorf("%v", err)
	}
}

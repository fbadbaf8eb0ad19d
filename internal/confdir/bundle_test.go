package confdir

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"tincan/internal/config"
)

func TestExportAndImport(t *testing.T) {
	from := tree(t, "hosts/alpha\nname = alpha\nPort = 1\nNamed = x\n", "hosts/beta\nPort = 2\r\n", "hosts/beta-up\nscript\n")
	var text strings.Builder
	if err := WriteHosts(&text, from); err != nil {
		t.Fatal(err)
	}
	want := "Name = alpha\nPort = 1\nNamed = x\n\n" + config.Separator + "\nName = beta\nPort = 2\r\n"
	if text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}

	to := tree(t, "hosts/beta\nold\n")
	hosts, junk, err := config.ReadBundle([]byte(text.String()))
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

package env

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/control"
)

// A node that was started with -n has its pid file elsewhere than one that was started with -c.
func TestDirectoryOfANetworkThatRunsByName(t *testing.T) {
	roots := confdir.Roots{Sysconf: t.TempDir(), Run: t.TempDir(), Log: t.TempDir()}
	dir := filepath.Join(roots.Sysconf, "tinc", "home")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "tinc.conf"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	e := &Env{Place: confdir.Place{Conf: dir, Roots: roots}}
	hint := func() string {
		err := e.Ask(func(*control.Client) error { return nil })
		var h interface{ Hint() string }
		if !errors.As(err, &h) {
			t.Fatalf("no hint: %v", err)
		}
		return h.Hint()
	}
	if got := hint(); !strings.HasPrefix(got, "start it with: ") {
		t.Errorf("nothing runs: %s", got)
	}
	l, err := confdir.Place{Net: "home", Roots: roots}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%d %s 127.0.0.1 port 655\n", os.Getpid(), strings.Repeat("ab", 32))
	if err := os.WriteFile(l.PidFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", strings.TrimSuffix(l.PidFile, ".pid")+".socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			bufio.NewScanner(c).Scan()
			fmt.Fprintf(c, "0 hub 17.7\n4 0 %d\n", os.Getpid())
			defer c.Close()
		}
	}()
	if got := hint(); got != "a daemon of the network home runs, which was started by that name: tincan -n home" {
		t.Errorf("it runs: %s", got)
	}
}

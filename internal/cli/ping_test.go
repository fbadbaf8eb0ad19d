//go:build linux

package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// Ctrl-C ends ping at once, also while it waits for an answer, and what was found is told.
func TestPingIsInterrupted(t *testing.T) {
	object := func(request int, json string) string {
		return fmt.Sprintf("18 %d %d\n%s", request, len(json), json)
	}
	echo := object(102, `{"node":"bob","rtt_ms":3}`)
	status := object(100, `{"nodes":[{"name":"bob","path":"direct-udp","path_mtu":1400}]}`)
	for name, c := range map[string]struct {
		echoes []string
		out    []string
		err    string
		status int
	}{
		"after an answer":   {[]string{echo}, []string{"bob: 3.00 ms, direct\n", "bob: 1 of 1 answered, 0 % lost; 3.00 ms fastest", "packets go: direct (UDP), up to 1400 bytes\n"}, "", 0},
		"before any answer": {nil, []string{"bob: interrupted before the first answer was due\n", "packets go: "}, "no answer from bob", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = hub\n")
			asked := stubDaemon(t, dir, strings.Repeat("0", 64), map[string][]string{"102": c.echoes, "100": {status}})
			cmd := exec.Command(filepath.Join(bin, "tincan"), "-c", dir, "ping", "bob", "--interval", "10ms", "--timeout", "4s")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			end := time.Now().Add(time.Minute)
			for waiting := len(c.echoes) + 1; waiting > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d requests were not sent; %s", waiting, errs.String())
				}
				for _, line := range asked() {
					if strings.HasPrefix(line, "18 102 ") {
						waiting--
					}
				}
			}
			began := time.Now()
			cmd.Process.Signal(os.Interrupt)
			cmd.Wait()
			if took := time.Since(began); took >= 4*time.Second {
				t.Errorf("it took %v to end", took)
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in %q", want, out.String())
				}
			}
			if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(errs.String(), c.err) {
				t.Errorf("exit status %d, said %q", got, errs.String())
			}
		})
	}
}

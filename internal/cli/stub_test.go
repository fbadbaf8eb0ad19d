//go:build linux

package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"tincan/internal/fixture"
)

// stubDaemon serves fixed lines on the control socket of a directory, and
// collects what it is asked.
func stubDaemon(t *testing.T, dir, cookie string, served map[string][]string) (asked func() []string) {
	t.Helper()
	fixture.Put(t, filepath.Join(dir, "pid"), fmt.Sprintf("%d %s 127.0.0.1 port 655\n", os.Getpid(), cookie))
	l, err := net.Listen("unix", filepath.Join(dir, "pid.socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines := make(chan string, 100)
	var echoes atomic.Int64
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewScanner(c)
		for in.Scan() {
			lines <- in.Text()
			words := strings.Fields(in.Text())
			switch {
			case words[0] == "0":
				fmt.Fprint(c, "0 hub 17.7\n4 0 25312\n")
			case words[1] == "0":
				return
			case words[1] == "14" || words[1] == "15": // streams, and then the daemon ends
				fmt.Fprint(c, strings.Join(served[words[1]], "\n"))
				return
			case words[1] == "102": // echoes: an answer each while there are any, then silence
				if n := echoes.Add(1); n <= int64(len(served["102"])) {
					fmt.Fprint(c, served["102"][n-1])
				}
			default:
				fmt.Fprintln(c, strings.Join(served[words[1]], "\n"))
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return func() (all []string) {
		for {
			select {
			case line := <-lines:
				all = append(all, line)
			default:
				return all
			}
		}
	}
}

// What the real tinc sent, printed and returned when it was run against a daemon
// that served these lines.
func TestControlCommandsAsInTinc(t *testing.T) {
	data, err := os.ReadFile("testdata/control-client.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cookie   string
		Served   map[string][]string
		Commands []struct {
			Command, Stdout, Stderr string
			Sent                    []string `json:"sent_by_client"`
			Status                  int      `json:"exit_code"`
		}
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = hub\n")
	asked := stubDaemon(t, dir, vectors.Cookie, vectors.Served)
	ran := 0
	for _, c := range vectors.Commands {
		words := strings.Fields(c.Command)
		if words[1] == "top" {
			continue // it needs a terminal
		}
		t.Run(c.Command, func(t *testing.T) {
			got := run(t, "", words[0], append([]string{"-c", dir}, words[1:]...)...)
			if capture, ok := strings.CutPrefix(c.Stdout, "(hex) "); ok {
				got.out, c.Stdout = withoutTime(fmt.Sprintf("%x", got.out)), withoutTime(capture)
			}
			if got.out != c.Stdout || got.status != c.Status {
				t.Errorf("status %d, printed\n%swant status %d and\n%s", got.status, got.out, c.Status, c.Stdout)
			}
			if got.err != c.Stderr {
				t.Errorf("said %q, tinc says %q", got.err, c.Stderr)
			}
			if sent := asked(); !slices.Equal(sent, c.Sent) && !sameButOrder(sent, c.Sent) {
				t.Errorf("sent %q, tinc sends %q", sent, c.Sent)
			}
		})
		ran++
	}
	if ran < 25 {
		t.Errorf("only %d commands were tried", ran)
	}
}

// withoutTime blanks out when the only frame of a capture came.
func withoutTime(capture string) string {
	const begin, end = 2 * 24, 2 * 32
	if len(capture) < end {
		return capture
	}
	return capture[:begin] + strings.Repeat("t", end-begin) + capture[end:]
}

// sameButOrder accepts requests that were sent in another order or without the
// hint about what is searched, which the daemon ignores.
func sameButOrder(a, b []string) bool {
	plain := func(list []string) (out []string) {
		for _, s := range list {
			w := strings.Fields(s)
			if len(w) == 3 && slices.Contains([]string{"3", "4", "5"}, w[1]) {
				s = w[0] + " " + w[1]
			}
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(plain(a), plain(b))
}

// The commands that follow a node end with it, and say so.
func TestTheNodeEndsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = hub\n")
	stubDaemon(t, dir, strings.Repeat("0", 64), map[string][]string{"15": {"18 15 5\nhello"}, "14": {""}})
	for _, args := range [][]string{{"log"}, {"log", "--json"}, {"pcap"}} {
		got := run(t, "", "tincan", append([]string{"-c", dir}, args...)...).must(t)
		if got.err != "the node has ended\n" || got.out == "" {
			t.Errorf("%v: printed %q, said %q", args, got.out, got.err)
		}
	}
}

package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tincan/internal/fixture"
)

// clientVectors are what tinc's own client sends to, and prints from, a daemon
// that serves the given lines.
type clientVectors struct {
	Cookie   string
	Served   map[string][]string
	Commands []struct {
		Command        string
		SentByClient   []string `json:"sent_by_client"`
		Stdout, Stderr string
		ExitCode       int `json:"exit_code"`
	}
}

func loadVectors(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func TestSilentDaemonIsGivenUpAfterTheTimeoutOfOneLine(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go io.Copy(io.Discard, far)
	if _, err := greet(near, "X", 20*time.Millisecond); err == nil || err.Error() != "the daemon did not answer within 20ms" {
		t.Fatalf("error %v, want a time-out", err)
	}
}

// Whoever asks a daemon that has ended learns that, and nothing of pipes.
func TestEndOfTheDaemonIsSaidPlainly(t *testing.T) {
	for name, ask := range map[string]func(*Client) error{
		"status": func(c *Client) error { _, err := c.Status(); return err },
		"nodes":  func(c *Client) error { _, err := c.Nodes(""); return err },
		"retry":  (*Client).Retry,
	} {
		near, far := socketPair(t)
		c := &Client{conn: near, in: bufio.NewReader(near), timeout: time.Second}
		fmt.Fprint(far, "18 0") // the end comes within an answer
		far.Close()
		for range 2 {
			if err := ask(c); err == nil || err.Error() != "the daemon closed the connection" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// socketPair are the two ends of a UNIX socket.
func socketPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("unix", l.Addr().String()); err == nil {
		far, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	return near, far
}

func TestDialErrorsInTincsWords(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "tinc.pid")
	_, err := Dial(t.Context(), pidFile)
	var d *DialError
	if !errors.As(err, &d) || d.Stage != NoPidFile {
		t.Fatalf("error %v", err)
	}
	if want := "Could not open pid file " + pidFile + ": No such file or directory"; d.TincText() != want {
		t.Errorf("%q, want %q", d.TincText(), want)
	}

	gone := fixture.DeadPID(t)
	os.WriteFile(pidFile, fmt.Appendf(nil, "%d C 127.0.0.1 port 655\n", gone), 0o600)
	_, err = Dial(t.Context(), pidFile)
	if !errors.As(err, &d) || d.Stage != NoProcess {
		t.Fatalf("error %v", err)
	}
	if want := fmt.Sprintf("Could not find tincd running at pid %d", gone); d.TincText() != want {
		t.Errorf("%q, want %q", d.TincText(), want)
	}
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("the pid file of a dead daemon is still there (%v)", err)
	}
}

func FuzzReplyLines(f *testing.F) {
	var v clientVectors
	loadVectors(f, "control-client.json", &v)
	for _, lines := range v.Served {
		for _, l := range lines {
			f.Add(l)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		// What one parser accepts must survive being written and read again.
		again(t, line, ParseNode, (*NodeInfo).AppendLine)
		again(t, line, ParseEdge, (*EdgeInfo).AppendLine)
		again(t, line, ParseSubnet, (*SubnetInfo).AppendLine)
		again(t, line, ParseConn, (*ConnInfo).AppendLine)
		again(t, line, ParseTraffic, (*TrafficInfo).AppendLine)
		recordLength(line, reqLog, 1024)
	})
}

func again[T any](t *testing.T, line string, parse func(string) (T, error), write func(*T, []byte) []byte) {
	t.Helper()
	if len(line) > maxLine {
		return
	}
	v, err := parse(line)
	if err != nil {
		return
	}
	text := string(write(&v, nil))
	w, err := parse(text)
	if err != nil {
		t.Fatalf("%q was written as %q: %v", line, text, err)
	}
	if again := string(write(&w, nil)); again != text {
		t.Fatalf("%q was written as %q, then as %q", line, text, again)
	}
}

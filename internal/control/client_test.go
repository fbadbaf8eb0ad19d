package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/node"
	"tincan/internal/pidfile"
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

// stub is a daemon that answers from a table and remembers what it was sent.
type stub struct {
	pidFile string
	mu      sync.Mutex
	sent    []string
}

func (s *stub) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sent)
}

// startStub serves v on a socket until the test ends.
func startStub(t *testing.T, v clientVectors) *stub {
	t.Helper()
	s := &stub{pidFile: filepath.Join(t.TempDir(), "tinc.pid")}
	l, err := net.Listen("unix", pidfile.SocketPath(s.pidFile))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, "%d %s 127.0.0.1 port 655\n", os.Getpid(), v.Cookie)
	if err := os.WriteFile(s.pidFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(conn, v)
		}
	})
	return s
}

func (s *stub) serve(conn net.Conn, v clientVectors) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := readLine(in)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sent = append(s.sent, line)
		s.mu.Unlock()
		w := strings.Fields(line)
		switch {
		case w[0] == "0":
			fmt.Fprint(conn, "0 hub 17.7\n4 0 25312\n")
		case w[1] == "0":
			fmt.Fprint(conn, "18 0 0\n")
			return
		case v.Served[w[1]] == nil:
			fmt.Fprint(conn, "18 -1\n")
		case w[1] == "14" || w[1] == "15":
			fmt.Fprint(conn, v.Served[w[1]][0])
			return // the real stub went away after the last record, too
		default:
			fmt.Fprintln(conn, strings.Join(v.Served[w[1]], "\n"))
		}
	}
}

// run does what a command line of tinc's client does, with our client.
func run(c *Client, args []string, out io.Writer) error {
	ctx := context.Background()
	print := func(b []byte) error { _, err := fmt.Fprintf(out, "%s\n", b); return err }
	switch args[0] {
	case "dump", "list":
		what, reachable := args[len(args)-1], args[1] == "reachable"
		switch what {
		case "nodes":
			nodes, err := c.Nodes("")
			return errors.Join(err, DumpNodes(out, nodes, reachable))
		case "edges":
			edges, err := c.Edges("")
			return errors.Join(err, DumpEdges(out, edges))
		case "subnets":
			subnets, err := c.Subnets("")
			return errors.Join(err, DumpSubnets(out, subnets))
		case "connections":
			conns, err := c.Connections()
			return errors.Join(err, DumpConnections(out, conns))
		}
		nodes, err := c.Nodes("")
		edges, err2 := c.Edges("")
		return errors.Join(err, err2, DumpGraph(out, nodes, edges, what == "digraph"))
	case "info":
		return Info(out, c, args[1], time.UTC)
	case "pid":
		_, err := fmt.Fprintln(out, c.PID())
		return err
	case "reload":
		return c.Reload()
	case "purge":
		return c.Purge()
	case "retry":
		return c.Retry()
	case "debug":
		level, _ := strconv.Atoi(args[1])
		old, err := c.SetDebug(level)
		if err == nil {
			err = fmt.Errorf("Old level %d, new level %d.", old, level)
		}
		return err
	case "connect":
		return c.Connect(node.Name(args[1]))
	case "disconnect":
		_, err := c.Disconnect(node.Name(args[1]))
		return err
	case "log":
		level := -1
		if len(args) > 1 {
			level, _ = strconv.Atoi(args[1])
		}
		return c.Log(ctx, level, false, print)
	case "pcap":
		snaplen := 0
		if len(args) > 1 {
			snaplen, _ = strconv.Atoi(args[1])
		}
		return c.Pcap(ctx, snaplen, func(b []byte) error { _, err := fmt.Fprintf(out, "%x", b); return err })
	case "stop":
		return c.Stop(ctx)
	}
	return fmt.Errorf("the test does not know the command %q", args)
}

func TestCommandsSendAndPrintWhatTincsClientDoes(t *testing.T) {
	var v clientVectors
	loadVectors(t, "control-client.json", &v)
	for _, cmd := range v.Commands {
		if len(cmd.SentByClient) == 0 {
			continue // reads the pid file only
		}
		t.Run(cmd.Command, func(t *testing.T) {
			s := startStub(t, v)
			c, err := Dial(t.Context(), s.pidFile)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var out bytes.Buffer
			err = run(c, strings.Fields(cmd.Command)[1:], &out)
			stderr := ""
			if err != nil {
				stderr = err.Error() + "\n"
			}
			want := cmd.Stdout
			if hex, ok := strings.CutPrefix(want, "(hex) "); ok {
				want = hex[2*(24+16):] // file header and packet header are the command's
			}
			if out.String() != want {
				t.Errorf("stdout:\n%s\nwant:\n%s", &out, want)
			}
			if stderr != cmd.Stderr {
				t.Errorf("error %q, want %q", stderr, cmd.Stderr)
			}
			if got := s.lines(); !slices.Equal(got, cmd.SentByClient) {
				t.Errorf("sent %q, want %q", got, cmd.SentByClient)
			}
		})
	}
}

func TestStatusOfATincDaemonIsComposedOfItsDumps(t *testing.T) {
	var v clientVectors
	loadVectors(t, "control-client.json", &v)
	s := startStub(t, v)
	c, err := Dial(t.Context(), s.pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status, err := c.Status()
	if err != nil {
		t.Fatal(err)
	}
	paths := map[node.Name]string{}
	for _, n := range status.Nodes {
		paths[n.Name] = string(n.Path) + " " + string(n.Via)
	}
	want := map[node.Name]string{
		"far": "relayed leaf11", "gone": "unreachable ", "leaf10": "direct-udp ",
		"leaf11": "direct-udp ", "nokey": "direct-tcp ", "tcponly": "direct-tcp ",
	}
	if fmt.Sprint(paths) != fmt.Sprint(want) {
		t.Errorf("paths %v, want %v", paths, want)
	}
	if status.Self.Name != "hub" || status.Summary != (StatusTotals{Nodes: 7, Reachable: 6, Connections: 2, Edges: 3}) {
		t.Errorf("self %s, summary %+v", status.Self.Name, status.Summary)
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

	gone := deadPID(t)
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

// deadPID returns the number of a process that does not exist.
func deadPID(t *testing.T) int {
	t.Helper()
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err != nil {
		t.Skip("no /bin/true on this system")
	}
	p.Wait()
	return p.Pid
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

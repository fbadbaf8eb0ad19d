package control_test

import (
	"bufio"
	"bytes"
	"context"
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

	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/pidfile"
	"tincan/internal/report"
)

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
func startStub(t *testing.T, v control.ClientVectors) *stub {
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

func (s *stub) serve(conn net.Conn, v control.ClientVectors) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := control.ReadLine(in)
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
func run(c *control.Client, args []string, out io.Writer) error {
	ctx := context.Background()
	print := func(b []byte) error { _, err := fmt.Fprintf(out, "%s\n", b); return err }
	switch args[0] {
	case "dump", "list":
		what, reachable := args[len(args)-1], args[1] == "reachable"
		switch what {
		case "nodes":
			nodes, err := c.Nodes("")
			return errors.Join(err, report.DumpNodes(out, nodes, reachable))
		case "edges":
			edges, err := c.Edges("")
			return errors.Join(err, report.DumpEdges(out, edges))
		case "subnets":
			subnets, err := c.Subnets("")
			return errors.Join(err, report.DumpSubnets(out, subnets))
		case "connections":
			conns, err := c.Connections()
			return errors.Join(err, report.DumpConnections(out, conns))
		}
		nodes, err := c.Nodes("")
		edges, err2 := c.Edges("")
		return errors.Join(err, err2, report.DumpGraph(out, nodes, edges, what == "digraph"))
	case "info":
		return report.WriteInfo(out, c, args[1], time.UTC)
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
	var v control.ClientVectors
	control.LoadVectors(t, "control-client.json", &v)
	for _, cmd := range v.Commands {
		if len(cmd.SentByClient) == 0 {
			continue // reads the pid file only
		}
		t.Run(cmd.Command, func(t *testing.T) {
			s := startStub(t, v)
			c, err := control.Dial(t.Context(), s.pidFile)
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
	var v control.ClientVectors
	control.LoadVectors(t, "control-client.json", &v)
	s := startStub(t, v)
	c, err := control.Dial(t.Context(), s.pidFile)
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
	if status.Self.Name != "hub" || status.Summary != (control.StatusTotals{Nodes: 7, Reachable: 6, Connections: 2, Edges: 3}) {
		t.Errorf("self %s, summary %+v", status.Self.Name, status.Summary)
	}
}

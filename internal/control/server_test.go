package control

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/pidfile"
)

// backend is a daemon made of lists.
type backend struct {
	nodes   []NodeInfo
	edges   []EdgeInfo
	subnets []SubnetInfo
	conns   []ConnInfo
	traffic []TrafficInfo
	wrong   []Problem

	mu      sync.Mutex
	debug   int
	calls   []string
	logs    map[int]func(LogRecord)
	frames  map[int]func([]byte)
	next    int
	stopped chan struct{}
	broken  error // what Reload returns
}

func newBackend() *backend {
	return &backend{debug: 3, logs: map[int]func(LogRecord){}, frames: map[int]func([]byte){}, stopped: make(chan struct{})}
}

func (b *backend) call(s string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, s)
}

func (b *backend) Self() SelfInfo              { return SelfInfo{Name: "hub", PID: 4913} }
func (b *backend) Nodes() []NodeInfo           { return b.nodes }
func (b *backend) Edges() []EdgeInfo           { return b.edges }
func (b *backend) Subnets() []SubnetInfo       { return b.subnets }
func (b *backend) Connections() []ConnInfo     { return slices.Clone(b.conns) }
func (b *backend) Traffic() []TrafficInfo      { return b.traffic }
func (b *backend) Problems() []Problem         { b.call("problems"); return b.wrong }
func (b *backend) Stop()                       { close(b.stopped) }
func (b *backend) Reload() error               { b.call("reload"); return b.broken }
func (b *backend) Retry()                      { b.call("retry") }
func (b *backend) Purge()                      { b.call("purge") }
func (b *backend) Disconnect(n node.Name) bool { return n == "leaf11" }
func (b *backend) Connect(n node.Name) error {
	if n != "leaf11" {
		return errors.New("it is not known")
	}
	return nil
}

func (b *backend) SetDebug(level int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.debug
	if level >= 0 {
		b.debug = level
	}
	return old
}

func (b *backend) SubscribeLog(level int, sink func(LogRecord)) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	id := b.next
	b.logs[id] = sink
	return func() { b.mu.Lock(); delete(b.logs, id); b.mu.Unlock() }
}

func (b *backend) SubscribePcap(snaplen int, sink func([]byte)) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	id := b.next
	b.frames[id] = sink
	return func() { b.mu.Lock(); delete(b.frames, id); b.mu.Unlock() }
}

func (b *backend) emit(r LogRecord) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sink := range b.logs {
		sink(r)
	}
}

func (b *backend) frame(f []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, sink := range b.frames {
		sink(f)
	}
}

func (b *backend) subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.logs) + len(b.frames)
}

// startServer claims a place in a new directory and serves b there.
func startServer(t *testing.T, b *backend) (pidFile, cookie string) {
	t.Helper()
	pidFile = filepath.Join(t.TempDir(), "tinc.pid")
	c, err := pidfile.NewClaim(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(netip.MustParseAddrPort("0.0.0.0:655")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() { NewServer(c.Cookie(), b).Serve(ctx, c.Listener()) })
	t.Cleanup(func() {
		c.Release()
		cancel()
		served.Wait()
	})
	return pidFile, c.Cookie()
}

// raw is a client that sees lines.
type raw struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

func dialRaw(t *testing.T, pidFile string) *raw {
	t.Helper()
	c, err := net.Dial("unix", pidfile.SocketPath(pidFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &raw{t, c, bufio.NewReader(c)}
}

func (r *raw) send(line string) { fmt.Fprintf(r.c, "%s\n", line) }

func (r *raw) line() string {
	r.t.Helper()
	s, err := r.in.ReadString('\n')
	if err != nil {
		r.t.Fatalf("no line but %v", err)
	}
	return strings.TrimSuffix(s, "\n")
}

func (r *raw) bytes(n int) string {
	r.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// closed checks that nothing more comes.
func (r *raw) closed() {
	r.t.Helper()
	if b, err := io.ReadAll(r.in); len(b) > 0 || err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("the connection is open: %q, %v", b, err)
	}
}

func (r *raw) login(cookie string) {
	r.t.Helper()
	r.send("0 ^" + cookie + " 0")
	if a, b := r.line(), r.line(); a != "0 hub 17.7" || b != fmt.Sprintf("4 0 %d", os.Getpid()) {
		r.t.Fatalf("greeting %q, %q", a, b)
	}
}

func TestServerAnswersAsTincDoes(t *testing.T) {
	var v struct {
		Exchanges []struct {
			Client string
			Server []string
		}
	}
	loadVectors(t, "control-transcript.json", &v)
	b := newBackend()
	// The lists are what the lines say: the client's parsers are tested by tinc's vectors.
	for _, x := range v.Exchanges {
		for _, line := range x.Server {
			if len(strings.Fields(line)) < 4 {
				continue
			}
			err := b.take(line)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	pidFile, cookie := startServer(t, b)
	r := dialRaw(t, pidFile)
	r.login(cookie)
	for _, x := range v.Exchanges {
		r.send(x.Client)
		for _, want := range x.Server {
			got := r.line()
			switch {
			case x.Client == "18 11 leaf11":
				want = "18 11 0" // tinc's daemon does not implement it, ours does
			case strings.Contains(want, controlName):
				var fd int
				if _, err := fmt.Sscanf(got, "18 6 <control> localhost port unix 0 %d 200", &fd); err != nil || fd < 0 {
					t.Errorf("%s: %q, want the form of %q", x.Client, got, want)
				}
				continue
			}
			if got != want {
				t.Errorf("%s: %q, want %q", x.Client, got, want)
			}
		}
	}
	if got, want := fmt.Sprint(b.calls), "[purge retry reload]"; got != want {
		t.Errorf("calls %s, want %s", got, want)
	}
}

// take adds what a line of an answer says.
func (b *backend) take(line string) (err error) {
	words := strings.Fields(line)
	switch words[1] {
	case "3":
		b.nodes, err = parseAppend(b.nodes, line, ParseNode)
	case "4":
		b.edges, err = parseAppend(b.edges, line, ParseEdge)
	case "5":
		b.subnets, err = parseAppend(b.subnets, line, ParseSubnet)
	case "6":
		if words[2] != controlName { // the connection that asks
			b.conns, err = parseAppend(b.conns, line, ParseConn)
		}
	case "13":
		b.traffic, err = parseAppend(b.traffic, line, ParseTraffic)
	}
	return err
}

func parseAppend[T any](list []T, line string, parse func(string) (T, error)) ([]T, error) {
	v, err := parse(line)
	return append(list, v), err
}

func TestGreeting(t *testing.T) {
	pidFile, cookie := startServer(t, newBackend())
	for name, line := range map[string]string{
		"lower-case cookie":      "0 ^" + strings.ToLower(cookie) + " 0",
		"cookie one digit short": "0 ^" + cookie[1:] + " 0",
		"no cookie":              "0 ^ 0",
		"version of the mesh":    "0 ^" + cookie + " 17.7",
		"a node's ID":            "0 leaf11 17.7",
		"a request":              "18 3",
		"nothing":                "",
		"a line without end":     strings.Repeat("x", 10000),
	} {
		t.Run(name+" closes", func(t *testing.T) {
			r := dialRaw(t, pidFile)
			r.send(line)
			r.closed()
		})
	}
	t.Run("requests together with the greeting are answered", func(t *testing.T) {
		r := dialRaw(t, pidFile)
		r.send("0 ^" + cookie + " 0.1\n18 77")
		for _, want := range []string{"0 hub 17.7", fmt.Sprintf("4 0 %d", os.Getpid()), "18 -1"} {
			if got := r.line(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	pidFile, cookie := startServer(t, newBackend())
	for name, x := range map[string]struct{ request, reply string }{
		"a request without type closes":        {"18", ""},
		"a type that is no number closes":      {"18 x", ""},
		"another request number closes":        {"8", ""},
		"a debug level that is missing closes": {"18 9", ""},
		"an endless request closes":            {"18 3 " + strings.Repeat("x", 7000), ""},
		"a negative type is unknown":           {"18 -5", "18 -1"},
		"connect without name":                 {"18 11", "18 11 -1"},
		"connect to an unknown node":           {"18 11 nosuch", "18 11 -2 it is not known"},
		"disconnect of no name":                {"18 12 ../x", "18 12 -2"},
		"words too many are ignored":           {"18 3 hub hub hub", "18 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialRaw(t, pidFile)
			r.login(cookie)
			r.send(x.request)
			if x.reply == "" {
				r.closed()
			} else if got := r.line(); got != x.reply {
				t.Errorf("%q, want %q", got, x.reply)
			}
		})
	}
}

func TestFailedReloadSaysWhyBehindTheNumber(t *testing.T) {
	b := newBackend()
	b.broken = errors.New("tinc.conf:3: unknown\nvariable")
	pidFile, _ := startServer(t, b)
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := "the daemon kept its old configuration: tinc.conf:3: unknown variable"
	if err := c.Reload(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestStopEndsWithTheDaemon(t *testing.T) {
	b := newBackend()
	pidFile := filepath.Join(t.TempDir(), "tinc.pid")
	claim, err := pidfile.NewClaim(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	claim.Publish(netip.MustParseAddrPort("127.0.0.1:655"))
	ctx, cancel := context.WithCancel(t.Context())
	var served sync.WaitGroup
	served.Go(func() { NewServer(claim.Cookie(), b).Serve(ctx, claim.Listener()) })
	stopped := make(chan error, 1)
	go func() {
		_, err := Stop(t.Context(), pidFile)
		stopped <- err
	}()
	<-b.stopped
	select {
	case <-stopped:
		t.Fatal("Stop returned before the daemon was down")
	case <-time.After(50 * time.Millisecond):
	}
	claim.Release()
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	served.Wait()
}

func TestLogRecordsLookLikeTincs(t *testing.T) {
	var v struct {
		LogColor struct {
			RawHex string `json:"raw_hex"`
		} `json:"log_color"`
		Log struct {
			Records []struct{ Header, Data string }
		}
	}
	loadVectors(t, "control-transcript.json", &v)
	for _, r := range v.Log.Records {
		stamp, err := time.ParseInLocation(time.DateTime, r.Data[:19], time.Local)
		if err != nil {
			t.Fatal(err)
		}
		priority := map[string]mesh.Priority{"ERROR  ": mesh.Error, "WARNING": mesh.Warning, "NOTICE ": mesh.Notice, "INFO   ": mesh.Info, "DEBUG  ": mesh.Debug}[r.Data[20:27]]
		got := LogRecord{stamp, priority, r.Data[28:]}.Format(false)
		if got != r.Data || fmt.Sprintf("18 15 %d", len(got)) != r.Header {
			t.Errorf("%q, want %q", got, r.Data)
		}
	}

	raw, err := hex.DecodeString(v.LogColor.RawHex)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	at := time.Date(2026, 11, 21, 19, 44, 27, 0, time.Local)
	for _, text := range []string{"Connection from localhost port unix", "Connection closed by <control> (localhost port unix)", "Closing connection with <control> (localhost port unix)"} {
		r := LogRecord{at, mesh.Notice, text}.Format(true)
		got = fmt.Appendf(got, "18 15 %d\n%s", len(r), r)
	}
	if string(got) != string(raw) {
		t.Errorf("coloured\n%q, want\n%q", got, raw)
	}
}

func TestOneConnectionFollowsLogAndFrames(t *testing.T) {
	b := newBackend()
	pidFile, cookie := startServer(t, b)
	r := dialRaw(t, pidFile)
	r.login(cookie)
	r.send("18 15 5 0\n18 14 16\n18 6")
	if got := r.line(); !strings.HasSuffix(got, " e00") {
		t.Errorf("the asking connection is %q, want the bits of control, log and pcap", got)
	}
	if got := r.line(); got != "18 6" {
		t.Fatalf("%q", got)
	}
	at := time.Date(2023, 11, 14, 22, 13, 20, 0, time.Local)
	b.emit(LogRecord{at, mesh.Notice, "A log\nline\x1b[2J"})
	if h, data := r.line(), r.bytes(42); h != "18 15 42" || data != "2023-11-14 22:13:20 NOTICE  A log line?[2J" {
		t.Errorf("%q %q", h, data)
	}
}

func TestTextsOfOthersDoNotSteerTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"two\r\nlines\tand a tab": "two  lines and a tab",
		"\x1b[2J\a\x7f":           "?[2J??",
		"\u009b2J\u0085":          "?2J?", // what some terminals take for ESC [
		"\x9b2J":                  "\ufffd2J",
		"Füße at 10 °C":           "Füße at 10 °C",
	} {
		if got := OneLine(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := word("a b\x1bc\u009bd\u00a0e\u0085f"); got != "a?b?c?d?e?f" {
		t.Errorf("a word became %q", got)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	b := newBackend()
	pidFile, _ := startServer(t, b)
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		for b.subscribers() == 0 {
			time.Sleep(time.Millisecond)
		}
		b.emit(LogRecord{time.Now(), mesh.Info, strings.Repeat("é", 2000)})
	}()
	done := errors.New("done")
	err = c.Log(t.Context(), -1, false, func(record []byte) error {
		if len(record) > maxRecord || len(record) < maxRecord-1 || !strings.HasSuffix(string(record), "é") {
			t.Errorf("record of %d bytes", len(record))
		}
		return done
	})
	if err != done {
		t.Error(err)
	}
}

func TestFramesAreCutToTheirSnapLength(t *testing.T) {
	b := newBackend()
	pidFile, cookie := startServer(t, b)
	r := dialRaw(t, pidFile)
	r.login(cookie)
	r.send("18 14 4\n18 77")
	r.line()
	b.frame([]byte("abcdefgh"))
	b.frame([]byte("xy"))
	if got := r.bytes(8 + 4 + 8 + 2); got != "18 14 4\nabcd18 14 2\nxy" {
		t.Errorf("%q", got)
	}
}

func TestReaderOfTheLogThatDoesNotReadIsDropped(t *testing.T) {
	b := newBackend()
	pidFile, cookie := startServer(t, b)
	r := dialRaw(t, pidFile)
	r.login(cookie)
	r.send("18 15 5 0\n18 77")
	r.line()
	record := LogRecord{time.Now(), mesh.Info, strings.Repeat("x", 900)}
	deadline := time.Now().Add(time.Minute)
	for b.subscribers() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("it is still subscribed")
		}
		start := time.Now()
		b.emit(record)
		if d := time.Since(start); d >= writeTimeout {
			t.Fatalf("a message waited %v for the reader", d)
		}
	}
	// Others are not disturbed.
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestTooManyClientsAreTurnedAway(t *testing.T) {
	pidFile, cookie := startServer(t, newBackend())
	for range maxClients {
		dialRaw(t, pidFile).login(cookie)
	}
	r := dialRaw(t, pidFile)
	r.send("0 ^" + cookie + " 0")
	r.closed()
}

func FuzzRequest(f *testing.F) {
	for _, s := range []string{"18 3", "18 9 -1", "18 12 x", "18 11", "18 100", "18 1", "18", "0 ^X 0", "18 99999999999", "18 14 -1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		s := NewServer("SECRET", &backend{nodes: []NodeInfo{{Name: "a"}}, stopped: make(chan struct{}), logs: map[int]func(LogRecord){}, frames: map[int]func([]byte){}})
		if s.greeting(line, false) && !strings.Contains(line, "^SECRET") {
			t.Fatalf("%q was let in", line)
		}
		c := &client{server: s, done: make(chan struct{})}
		var out strings.Builder
		w := bufio.NewWriter(&out)
		_, err := c.answer(line, w)
		w.Flush()
		close(c.done)
		c.streaming.Wait()
		if err == nil && out.Len() == 0 && c.streams.Load() == 0 {
			t.Fatalf("%q got no answer", line)
		}
	})
}

// Where everybody on the machine can connect (Windows), nobody keeps the owner of the node out by
// connecting and saying nothing.
func TestWhoSaysNothingMakesRoom(t *testing.T) {
	pidFile, cookie := startServer(t, newBackend())
	known := dialRaw(t, pidFile)
	known.login(cookie)
	for range 2 * maxClients {
		dialRaw(t, pidFile)
	}
	c, err := Dial(t.Context(), pidFile)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	known.send("18 -5")
	if got := known.line(); got != "18 -1" {
		t.Errorf("one who had logged in: %q", got)
	}
}

package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
)

// Client is a connection with a running daemon, ours or tinc 1.1's. It is not
// safe for concurrent use.
type Client struct {
	conn    net.Conn
	in      *bufio.Reader
	name    node.Name
	pid     int
	timeout time.Duration // for each line of a reply
	reader  bool          // the daemon lets us look only
}

// DialError says why a daemon could not be reached.
type DialError struct {
	Stage  DialStage
	Target string // the file concerned
	PID    int    // from the pid file, 0 if it could not be read
	Err    error
}

// DialStage is the step at which reaching a daemon failed.
type DialStage uint8

// The stages, in order.
const (
	NoPidFile  DialStage = iota // the pid file cannot be read
	NoProcess                   // the daemon that wrote it is gone
	NoSocket                    // the socket does not answer
	NoGreeting                  // the daemon does not accept us
)

func (e *DialError) Error() string {
	switch {
	case e.Stage == NoPidFile && errors.Is(e.Err, fs.ErrNotExist):
		return fmt.Sprintf("no daemon runs for this network (there is no %s)", e.Target)
	case e.Stage == NoPidFile:
		return fmt.Sprintf("read the pid file: %v", e.Err)
	case e.Stage == NoProcess:
		return fmt.Sprintf("the daemon with pid %d is gone", e.PID)
	case e.Stage == NoSocket:
		return fmt.Sprintf("connect to the daemon with pid %d: %v", e.PID, e.Err)
	}
	return fmt.Sprintf("the daemon with pid %d does not answer our greeting: %v", e.PID, e.Err)
}

func (e *DialError) Unwrap() error { return e.Err }

// TincText is the message in the words of tinc's client, which scripts look for.
func (e *DialError) TincText() string {
	reason := e.Err
	var path *fs.PathError
	if errors.As(e.Err, &path) {
		reason = path.Err
	}
	switch e.Stage {
	case NoPidFile:
		return fmt.Sprintf("Could not open pid file %s: %s", e.Target, capital(reason))
	case NoProcess:
		return fmt.Sprintf("Could not find tincd running at pid %d", e.PID)
	case NoSocket:
		return fmt.Sprintf("Cannot connect to UNIX socket %s: %v", e.Target, reason)
	}
	return fmt.Sprintf("Cannot read greeting from control socket: %v", reason)
}

// capital is the text of err as the C library writes it.
func capital(err error) string {
	s := err.Error()
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Dial connects to the daemon behind pidFile. An error is a *[DialError].
func Dial(ctx context.Context, pidFile string) (*Client, error) {
	p, err := pidfile.Read(pidFile)
	if errors.Is(err, fs.ErrPermission) && pidfile.TellsUsers {
		if c := dialReader(ctx, pidFile); c != nil {
			return c, nil
		}
	}
	if err != nil {
		return nil, &DialError{Stage: NoPidFile, Target: pidFile, Err: err}
	}
	socket := pidfile.SocketPath(pidFile)
	conn, err := pidfile.Dial(ctx, pidFile, p)
	switch {
	case errors.Is(err, pidfile.ErrGone):
		return nil, &DialError{Stage: NoProcess, Target: pidFile, PID: p.PID, Err: err}
	case err != nil:
		return nil, &DialError{Stage: NoSocket, Target: socket, PID: p.PID, Err: err}
	}
	c, err := greet(conn, p.Cookie, lineTimeout)
	if err != nil {
		conn.Close()
		return nil, &DialError{Stage: NoGreeting, Target: socket, PID: p.PID, Err: err}
	}
	return c, nil
}

// dialReader connects as somebody who may not read the pid file but may look at the node
// (ControlGroup); nil if that is not so.
func dialReader(ctx context.Context, pidFile string) *Client {
	conn, err := pidfile.Dial(ctx, pidFile, pidfile.File{})
	if err != nil {
		return nil
	}
	c, err := greet(conn, noCookie, lineTimeout)
	if err != nil {
		conn.Close()
		return nil
	}
	c.reader = true
	return c
}

// noCookie stands where the cookie would be.
const noCookie = "-"

// greet logs in over conn.
func greet(conn net.Conn, cookie string, timeout time.Duration) (*Client, error) {
	c := &Client{conn: conn, in: bufio.NewReaderSize(conn, maxLine), timeout: timeout}
	if err := c.send("0 ^%s 0", cookie); err != nil {
		return nil, err
	}
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	f := &fields{words: strings.Fields(line)}
	if zero, name, version := f.int(), f.name(), f.next(); f.err == nil && zero == 0 && version != "" {
		c.name = name
	} else {
		return nil, errors.New("it is not a tinc daemon")
	}
	if line, err = c.line(); err != nil {
		return nil, err
	}
	f = &fields{words: strings.Fields(line)}
	ack, version, pid := f.int(), f.int(), f.int()
	if f.err != nil || ack != 4 || version != 0 {
		return nil, errors.New("it uses another version of the control protocol")
	}
	c.pid = pid
	return c, nil
}

// Name is the name of the daemon's node.
func (c *Client) Name() node.Name { return c.name }

// PID is the daemon's process number in its own pid namespace.
func (c *Client) PID() int { return c.pid }

// ReadOnly tells whether the daemon lets us look only.
func (c *Client) ReadOnly() bool { return c.reader }

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) send(format string, args ...any) error {
	c.conn.SetWriteDeadline(time.Now().Add(c.timeout))
	if _, err := fmt.Fprintf(c.conn, format+"\n", args...); err != nil {
		return c.broken(err)
	}
	return nil
}

// errClosed: the daemon has ended, most likely.
var errClosed = errors.New("the daemon closed the connection")

// broken says for people why the connection is of no use any more.
func (c *Client) broken(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, oserr.Broken), errors.Is(err, oserr.Reset):
		return errClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the daemon did not answer within %v", c.timeout)
	}
	return fmt.Errorf("talk to the daemon: %w", err)
}

// line reads one line of a reply, waiting at most c.timeout.
func (c *Client) line() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	return c.nextLine()
}

func (c *Client) nextLine() (string, error) {
	line, err := readLine(c.in)
	switch {
	case err == nil:
		return line, nil
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errors.New("the daemon sent a line that is too long")
	}
	return "", c.broken(err)
}

// reply reads the line "18 TYPE VALUE..." and returns what follows TYPE.
func (c *Client) reply(typ int) ([]string, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	return c.parse(line, typ)
}

// parse reads a line of a reply.
func (c *Client) parse(line string, typ int) ([]string, error) {
	w, err := parseReply(line, typ)
	if c.reader && errors.Is(err, ErrUnsupported) {
		err = ErrReader
	}
	return w, err
}

func parseReply(line string, typ int) ([]string, error) {
	w := strings.Fields(line)
	if len(w) < 2 || w[0] != "18" {
		return nil, fmt.Errorf("the daemon answered with a malformed line")
	}
	if w[1] == "-1" {
		return nil, ErrUnsupported
	}
	if w[1] != strconv.Itoa(typ) {
		return nil, fmt.Errorf("the daemon answered request %.16q instead of %d", w[1], typ)
	}
	return w[2:], nil
}

// result sends a request and reads its one number and the text after it.
func (c *Client) result(typ int, format string, args ...any) (int, string, error) {
	if err := c.send(format, args...); err != nil {
		return 0, "", err
	}
	w, err := c.reply(typ)
	if err != nil {
		return 0, "", err
	}
	v, err := number(w, 0)
	if err != nil {
		return 0, "", errors.New("the daemon answered without a result")
	}
	return v, strings.Join(w[1:], " "), nil
}

const maxDump = 1 << 20 // lines of one dump

// list reads the lines of a dump.
func list[T any](c *Client, typ int, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for len(all) < maxDump {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		w, err := c.parse(line, typ)
		if err != nil {
			return nil, err
		}
		if len(w) == 0 {
			return all, nil
		}
		v, err := parse(line)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return nil, errors.New("the daemon's answer has no end")
}

// request is "18 TYPE" with the name or subnet that the command is about, which
// daemons may use to shorten their answer, and do not.
func request(typ int, about string) string {
	if about == "" {
		return fmt.Sprintf("18 %d", typ)
	}
	return fmt.Sprintf("18 %d %s", typ, word(about))
}

// Nodes asks for all nodes. about is "" or the name the caller looks for.
func (c *Client) Nodes(about string) ([]NodeInfo, error) {
	if err := c.send("%s", request(reqNodes, about)); err != nil {
		return nil, err
	}
	return list(c, reqNodes, ParseNode)
}

// Exact is a client whose lists of nodes say where packets go first, which tinc's lines cannot.
// Of a tinc daemon it knows no more than the client itself.
type Exact struct{ *Client }

// Nodes asks for all nodes.
func (e Exact) Nodes(about string) ([]NodeInfo, error) {
	nodes, err := e.Client.Nodes(about)
	if err != nil {
		return nil, err
	}
	var s Status
	if err := e.object(&s, reqStatus); errors.Is(err, ErrUnsupported) {
		return nodes, nil
	} else if err != nil {
		return nil, err
	}
	for i := range nodes {
		if v := s.Node(nodes[i].Name); v != nil {
			nodes[i].FirstHop = v.firstHop()
		}
	}
	return nodes, nil
}

// Edges asks for all edges.
func (c *Client) Edges(about string) ([]EdgeInfo, error) {
	if err := c.send("%s", request(reqEdges, about)); err != nil {
		return nil, err
	}
	return list(c, reqEdges, ParseEdge)
}

// Subnets asks for all subnets.
func (c *Client) Subnets(about string) ([]SubnetInfo, error) {
	if err := c.send("%s", request(reqSubnets, about)); err != nil {
		return nil, err
	}
	return list(c, reqSubnets, ParseSubnet)
}

// Connections asks for all connections, this one included.
func (c *Client) Connections() ([]ConnInfo, error) {
	if err := c.send("18 %d", reqConnections); err != nil {
		return nil, err
	}
	return list(c, reqConnections, ParseConn)
}

// Traffic asks for the counters of all nodes.
func (c *Client) Traffic() ([]TrafficInfo, error) {
	if err := c.send("18 %d", reqTraffic); err != nil {
		return nil, err
	}
	return list(c, reqTraffic, ParseTraffic)
}

// Status asks for the whole picture. From a tinc daemon, which does not know the
// request, it is composed of what its dumps say.
func (c *Client) Status() (Status, error) {
	var s Status
	err := c.object(&s, reqStatus)
	if errors.Is(err, ErrUnsupported) {
		return c.composeStatus()
	}
	return s, err
}

func (c *Client) composeStatus() (s Status, err error) {
	nodes, err := c.Nodes("")
	if err != nil {
		return s, err
	}
	edges, err := c.Edges("")
	if err != nil {
		return s, err
	}
	subnets, err := c.Subnets("")
	if err != nil {
		return s, err
	}
	conns, err := c.Connections()
	if err != nil {
		return s, err
	}
	return Compose(SelfInfo{Name: c.name, PID: c.pid}, nodes, edges, subnets, conns), nil
}

// blob reads n raw bytes; memory grows with what really arrives.
func (c *Client) blob(n int) ([]byte, error) {
	c.conn.SetReadDeadline(time.Now().Add(c.timeout))
	b, err := io.ReadAll(io.LimitReader(c.in, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, c.broken(err)
	}
	return b, nil
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload() error {
	code, why, err := c.result(reqReload, "18 1")
	if err == nil && code != 0 {
		if why == "" {
			why = fmt.Sprintf("error %d", code)
		}
		err = fmt.Errorf("the daemon kept its old configuration: %s", why)
	}
	return err
}

// Retry makes the daemon dial now instead of waiting.
func (c *Client) Retry() error { return c.plain(reqRetry) }

// Purge makes the daemon forget what belongs to unreachable nodes.
func (c *Client) Purge() error { return c.plain(reqPurge) }

func (c *Client) plain(typ int) error {
	code, _, err := c.result(typ, "18 %d", typ)
	if err == nil && code != 0 {
		err = fmt.Errorf("the daemon refused (%d)", code)
	}
	return err
}

// SetDebug sets the debug level and returns the old one. A negative level only asks.
func (c *Client) SetDebug(level int) (old int, err error) {
	old, _, err = c.result(reqSetDebug, "18 9 %d", level)
	return old, err
}

// Disconnect closes the meta connections with name. found is false if there are none.
func (c *Client) Disconnect(name node.Name) (found bool, err error) {
	code, _, err := c.result(reqDisconnect, "18 12 %s", name)
	return code == 0 && err == nil, err
}

// Connect makes the daemon dial name once. The error says why not, and not whom.
func (c *Client) Connect(name node.Name) error {
	code, why, err := c.result(reqConnect, "18 11 %s", name)
	if err == nil && code != 0 {
		err = errors.New(why)
	}
	return err
}

// Stop asks the daemon to stop and waits until it has closed the connection, or
// until ctx ends.
func (c *Client) Stop(ctx context.Context) error {
	if c.reader { // the answer would be the end of the connection
		return ErrReader
	}
	if err := c.send("18 0"); err != nil {
		return err
	}
	return c.follow(ctx, func() error {
		if _, err := io.Copy(io.Discard, c.in); err != nil {
			// A daemon that is killed meanwhile resets the connection: stopped, too.
			if errors.Is(err, oserr.Reset) || errors.Is(err, oserr.Broken) {
				return nil
			}
			return fmt.Errorf("wait for the daemon to stop: %w", err)
		}
		return nil
	})
}

// Stop stops the daemon behind pidFile through its socket. If that does not
// answer but the process exists, it gets SIGTERM, and its number is returned.
func Stop(ctx context.Context, pidFile string) (signalled int, err error) {
	c, err := Dial(ctx, pidFile)
	if err == nil {
		defer c.Close()
		return 0, c.Stop(ctx)
	}
	var d *DialError
	if errors.As(err, &d) && d.PID > 0 && d.Stage >= NoSocket && pidfile.Terminate(d.PID) == nil {
		return d.PID, nil
	}
	return 0, err
}

// Log hands over every log record up to level (-1: the daemon's own) as it comes,
// without a limit of time, until ctx ends (nil), the daemon goes away (nil) or
// record fails. The slice is valid during the call.
func (c *Client) Log(ctx context.Context, level int, color bool, record func([]byte) error) error {
	if c.reader {
		return ErrReader
	}
	flag := 0
	if color {
		flag = 1
	}
	if err := c.send("18 15 %d %d", level, flag); err != nil {
		return err
	}
	return c.follow(ctx, func() error { return c.stream(reqLog, 64<<10, record) })
}

// Pcap hands over the first snaplen bytes (0: all) of every frame that passes the
// daemon's router, on the same terms as [Client.Log].
func (c *Client) Pcap(ctx context.Context, snaplen int, frame func([]byte) error) error {
	if c.reader {
		return ErrReader
	}
	if err := c.send("18 14 %d", snaplen); err != nil {
		return err
	}
	return c.follow(ctx, func() error { return c.stream(reqPcap, 64<<10, frame) })
}

// follow runs f, which reads without a time limit, until ctx ends.
func (c *Client) follow(ctx context.Context, f func() error) error {
	c.conn.SetReadDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := f(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// stream reads records "18 TYPE LENGTH\n" LENGTH bytes until the connection ends.
func (c *Client) stream(typ, limit int, record func([]byte) error) error {
	var buf []byte
	for {
		line, err := c.nextLine()
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		n, err := recordLength(line, typ, limit)
		if err != nil {
			return err
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(c.in, buf[:n]); err != nil {
			return c.broken(err)
		}
		if err := record(buf[:n]); err != nil {
			return err
		}
	}
}

func recordLength(line string, typ, limit int) (int, error) {
	w, err := parseReply(line, typ)
	if err != nil {
		return 0, err
	}
	n, err := number(w, 0)
	if err != nil || len(w) != 1 || n < 0 || n > limit {
		return 0, errors.New("the daemon sent a malformed record")
	}
	return n, nil
}

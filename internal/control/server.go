package control

import (
	"bufio"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"tincan/internal/node"
	"tincan/internal/pidfile"
)

// Backend is the daemon as the control server sees it. All methods may be
// called by several goroutines at once. Reload must come back within 5 s, the
// others at once.
type Backend interface {
	Self() SelfInfo
	Nodes() []NodeInfo         // in byte order of names
	Edges() []EdgeInfo         // by from, then to
	Subnets() []SubnetInfo     // tinc 1.1's order, broadcast subnets included
	Connections() []ConnInfo   // meta connections in order of creation
	Traffic() []TrafficInfo    // in byte order of names
	Stop()                     // begins to stop the daemon
	Reload() error             // nil, or why the configuration was not accepted
	Retry()                    // dial now
	Purge()                    // forget what belongs to unreachable nodes
	SetDebug(level int) int    // returns the old level; a negative level only asks
	Disconnect(node.Name) bool // false: there is no such connection
	Connect(node.Name) error   // dial once

	// SubscribeLog makes sink receive every message up to level (-1: up to the
	// daemon's own level) until cancel is called. sink does not block.
	SubscribeLog(level int, sink func(LogRecord)) (cancel func())
	// SubscribePcap makes sink receive every frame that passes the router. sink
	// does not block and copies what it needs: the first snaplen bytes, or all
	// with 0.
	SubscribePcap(snaplen int, sink func(frame []byte)) (cancel func())
}

// NodeByNode is a Backend that can tell of many nodes without a list of them.
type NodeByNode interface {
	// EachNode calls f for each node in byte order of names, with its subnets in tinc's order.
	EachNode(f func(n *NodeInfo, subnets []string))
	// Links is how many connections there are in the whole mesh.
	Links() int
}

// Picture is all that b knows.
func Picture(b Backend) Status {
	s := nodesOf(b)
	if k, ok := b.(KeyKeeper); ok {
		s.ChangedKeys = k.ChangedKeys()
	}
	if n, ok := b.(Namer); ok {
		s.Names = n.Names()
	}
	if l, ok := b.(Leaver); ok {
		s.Exits = l.Exits()
	}
	if d, ok := b.(Diagnoser); ok {
		s.Problems = d.Problems()
	}
	if r, ok := b.(Refuser); ok {
		limits := r.Limits()
		s.Drops, s.Contested, s.Limits = r.Drops(), r.Contested(), &limits
	}
	if c, ok := b.(Counter); ok {
		totals := c.Totals()
		s.Totals, s.Roster = &totals, c.RosterTotals()
	}
	return s
}

func nodesOf(b Backend) Status {
	n, ok := b.(NodeByNode)
	if !ok {
		return Compose(b.Self(), b.Nodes(), b.Edges(), b.Subnets(), b.Connections())
	}
	c := compose(b.Self(), b.Connections())
	n.EachNode(c.add)
	c.Summary.Edges = n.Links()
	return c.Status
}

const (
	maxClients   = 64  // connections at a time; tools open one each
	maxReaders   = 16  // of those who may only look
	streamLength = 512 // records waiting for a reader
)

// Server answers control connections.
type Server struct {
	// Readers: users other than the daemon's own and root may look, without the cookie. Who
	// can connect at all is decided by the mode of the socket ([pidfile.Claim.Open]). It must not be
	// changed once Serve runs.
	Readers bool

	cookie  string
	backend Backend

	mu      sync.Mutex
	clients []*client // in order of arrival
	closed  bool
	wg      sync.WaitGroup
}

// NewServer returns a server for clients that know cookie.
func NewServer(cookie string, backend Backend) *Server {
	return &Server{cookie: cookie, backend: backend}
}

// Serve accepts and answers connections on l until ctx ends, then closes l and
// all connections and waits for them. A client that asked to stop takes the end
// of its connection for the end of the daemon: so when everything else is down,
// first release the [pidfile.Claim], then end ctx.
func (s *Server) Serve(ctx context.Context, l net.Listener) {
	defer s.wg.Wait()
	defer s.closeAll()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if errors.Is(err, net.ErrClosed) {
				// The claim was released: nobody new comes in, but who waits
				// for the end of the daemon goes on waiting.
				<-ctx.Done()
				return
			}
			// Out of file descriptors, most likely: that passes.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.start(conn)
	}
}

func (s *Server) start(conn net.Conn) {
	other := pidfile.CheckUser(conn) != nil // user
	if other && !s.Readers {
		conn.Close()
		return
	}
	c := &client{server: s, conn: conn, reader: other, socket: descriptor(conn), done: make(chan struct{})}
	s.mu.Lock()
	if len(s.clients) >= maxClients {
		s.dropSilent()
	}
	full := s.closed || len(s.clients) >= maxClients || other && s.readers() >= maxReaders
	if !full {
		s.clients = append(s.clients, c)
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if full {
		conn.Close()
		return
	}
	go func() {
		defer s.wg.Done()
		c.run()
		s.remove(c)
	}()
}

// dropSilent makes room, with the lock held: it gets rid of the one that has been there for
// longest without having said who it is. On Windows everybody on this machine can connect.
func (s *Server) dropSilent() {
	for i, c := range s.clients {
		if !c.known.Load() {
			c.conn.Close()
			s.clients = slices.Delete(s.clients, i, i+1)
			return
		}
	}
}

// readers counts those who may only look, with the lock held.
func (s *Server) readers() (n int) {
	for _, c := range s.clients {
		if c.reader {
			n++
		}
	}
	return n
}

// looks are the requests that change nothing and show no secrets.
var looks = []int{reqNodes, reqEdges, reqSubnets, reqConnections, reqTraffic, reqStatus, reqWhy, reqNetCheck, reqMembers, reqPolicy, reqLeaves}

func (s *Server) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.clients {
		if other == c {
			s.clients = append(s.clients[:i], s.clients[i+1:]...)
			return
		}
	}
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.clients {
		c.conn.Close()
	}
}

// connections are the control connections as lines of request 6.
func (s *Server) connections() []ConnInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []ConnInfo
	for _, c := range s.clients {
		list = append(list, ConnInfo{
			Name:    controlName,
			Address: Address{"localhost", "unix"},
			Socket:  c.socket,
			Status:  ConnControl | ConnStatus(c.streams.Load()),
		})
	}
	return list
}

func descriptor(conn net.Conn) int {
	fd := -1
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			raw.Control(func(f uintptr) { fd = int(f) })
		}
	}
	return fd
}

// greeting checks the first line of a connection. Who may only look needs no cookie.
func (s *Server) greeting(line string, reader bool) bool {
	w := strings.Fields(line)
	if len(w) != 3 || w[0] != "0" || !strings.HasPrefix(w[1], "^") {
		return false
	}
	// The control version is 0; tinc 1.1 also takes minors 0 and 1.
	if w[2] != "0" && w[2] != "0.0" && w[2] != "0.1" {
		return false
	}
	return reader || s.cookie != "" && subtle.ConstantTimeCompare([]byte(w[1][1:]), []byte(s.cookie)) == 1
}

// answer carries out one request line and writes the reply to w. stop is true
// after a request that ends the daemon; an error closes the connection.
func (c *client) answer(line string, w *bufio.Writer) (stop bool, err error) {
	word := strings.Fields(line)
	if len(word) < 2 || word[0] != "18" {
		return false, errMalformed
	}
	typ, err := strconv.Atoi(word[1])
	if err != nil {
		return false, errMalformed
	}
	if c.reader && !slices.Contains(looks, typ) {
		fmt.Fprintf(w, "18 -1\n")
		return false, nil
	}
	args := word[2:]
	b := c.server.backend
	switch typ {
	case reqStop:
		fmt.Fprintf(w, "18 0 0\n")
		return true, nil
	case reqReload:
		// tinc's client reads three numbers and ignores the reason behind them.
		if err := b.Reload(); err != nil {
			fmt.Fprintf(w, "18 1 %d %s\n", unreadable, cut(OneLine(err.Error()), 2000))
		} else {
			fmt.Fprintf(w, "18 1 0\n")
		}
	case reqNodes:
		dump(w, typ, b.Nodes(), (*NodeInfo).AppendLine)
	case reqEdges:
		dump(w, typ, b.Edges(), (*EdgeInfo).AppendLine)
	case reqSubnets:
		dump(w, typ, b.Subnets(), (*SubnetInfo).AppendLine)
	case reqConnections:
		dump(w, typ, append(b.Connections(), c.server.connections()...), (*ConnInfo).AppendLine)
	case reqTraffic:
		dump(w, typ, b.Traffic(), (*TrafficInfo).AppendLine)
	case reqPurge:
		b.Purge()
		fmt.Fprintf(w, "18 8 0\n")
	case reqRetry:
		b.Retry()
		fmt.Fprintf(w, "18 10 0\n")
	case reqSetDebug:
		level, err := number(args, 0)
		if err != nil {
			return false, err
		}
		fmt.Fprintf(w, "18 9 %d\n", b.SetDebug(level))
	case reqConnect:
		fmt.Fprintf(w, "18 11 %s\n", c.connect(args))
	case reqDisconnect:
		fmt.Fprintf(w, "18 12 %d\n", c.disconnect(args))
	case reqPcap:
		snaplen, err := number(args, 0)
		if err != nil {
			snaplen = 0
		}
		c.pcap(snaplen)
	case reqLog:
		level, err := number(args, 0)
		if err != nil {
			level = -1
		}
		color, _ := number(args, 1)
		c.log(level, color != 0)
	case reqStatus:
		status := Picture(b)
		return false, status.write(w)
	case reqAccept:
		fmt.Fprintf(w, "18 101 %s\n", c.decide(args, KeyKeeper.AcceptKey))
	case reqRemove:
		fmt.Fprintf(w, "18 105 %s\n", c.decide(args, KeyKeeper.RemoveNode))
	case reqStatement:
		fmt.Fprintf(w, "18 106 %s\n", c.statement(args))
	case reqMembers:
		text, err := c.members()
		return false, object(w, typ, text, err)
	case reqPolicy:
		text, err := c.policy()
		return false, object(w, typ, text, err)
	case reqEcho:
		text, err := c.echo(args)
		return false, object(w, typ, text, err)
	case reqWhy:
		text, err := c.why(args)
		return false, object(w, typ, text, err)
	case reqLeaves:
		text, err := c.leaves(args)
		return false, object(w, typ, text, err)
	case reqNetCheck:
		text, err := c.netCheck()
		return false, object(w, typ, text, err)
	default:
		fmt.Fprintf(w, "18 -1\n")
	}
	return false, nil
}

// object writes a JSON answer; nil means that the daemon does not know the request.
func object(w *bufio.Writer, typ int, text []byte, err error) error {
	switch {
	case err != nil:
		return err
	case text == nil:
		fmt.Fprintf(w, "18 -1\n")
	default:
		fmt.Fprintf(w, "18 %d %d\n%s", typ, len(text), text)
	}
	return nil
}

var errMalformed = errors.New("malformed request")

// number returns argument i as a number.
func number(args []string, i int) (int, error) {
	if i >= len(args) {
		return 0, errMalformed
	}
	v, err := strconv.ParseInt(args[i], 10, 32)
	if err != nil {
		return 0, errMalformed
	}
	return int(v), nil
}

func dump[T any](w *bufio.Writer, typ int, list []T, line func(*T, []byte) []byte) {
	for i := range list {
		w.Write(line(&list[i], w.AvailableBuffer()))
	}
	fmt.Fprintf(w, "18 %d\n", typ)
}

func (c *client) connect(args []string) string {
	if len(args) == 0 {
		return "-1"
	}
	name, err := node.ParseName(args[0])
	if err == nil {
		err = c.server.backend.Connect(name)
	}
	if err != nil {
		return "-2 " + cut(OneLine(err.Error()), 2000)
	}
	return "0"
}

func (c *client) disconnect(args []string) int {
	if len(args) == 0 {
		return -1
	}
	name, err := node.ParseName(args[0])
	if err != nil || !c.server.backend.Disconnect(name) {
		return -2
	}
	return 0
}

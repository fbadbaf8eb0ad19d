// Package attack is what a dishonest member of a network and an outsider do, for tests: it
// logs in at one node with a member's own key and then sends whatever requests it is told to.
//
// A [Conn] is a meta connection in the protocol of tinc 1.1 or of tinc 1.0. It keeps
// itself alive by answering pings, remembers the requests that came, and checks
// nothing. [Flood] opens connections that never log in. [Catalogue] lists the attacks
// that the end-to-end tests make; the table in docs/security.md is made from it.
//
// Only tests use it. The program in attacker does the same by hand.
package attack

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

const (
	loginTime = 10 * time.Second
	writeTime = 30 * time.Second
	maxKept   = 1 << 16 // requests and frames that are remembered: the first
	options   = wire.PMTUDiscovery | wire.ClampMSS
)

// Member is who logs in.
type Member struct {
	Name node.Name
	Key  *keys.PrivateKey    // for tinc 1.1 and tincan
	RSA  *keys.RSAPrivateKey // for tinc 1.0
	// Options are announced at the login, besides those of every node.
	Options wire.Options
}

// Peer is the node at which a member logs in. With an RSA key the protocol of tinc 1.0 is
// spoken, otherwise that of tinc 1.1.
type Peer struct {
	Name node.Name
	Key  keys.PublicKey
	RSA  *keys.RSAPublicKey
}

// Conn is a meta connection that has logged in. It may be used by several goroutines.
type Conn struct {
	tcp  net.Conn
	self Member
	peer Peer

	mu     sync.Mutex // of everything below, and of the two codecs
	modern *sptps.Stream
	old    *legacy.Meta
	lines  []string
	frames [][]byte // what came in PACKET and SPTPS_PACKET
	err    error
	more   chan struct{} // closed and replaced when something came
	done   chan struct{} // closed when the reader has ended
}

// Login logs in over tcp, which then belongs to the Conn, also when it fails.
func Login(tcp net.Conn, self Member, peer Peer) (*Conn, error) {
	c := &Conn{tcp: tcp, self: self, peer: peer, more: make(chan struct{}), done: make(chan struct{})}
	if err := c.login(); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("log in at %s as %s: %w", peer.Name, self.Name, err)
	}
	go c.read()
	if _, ok := c.Await(loginTime, func(line string) bool { return strings.HasPrefix(line, "4 ") }); !ok {
		c.Close()
		return nil, fmt.Errorf("log in at %s as %s: it says nothing more: %w", peer.Name, self.Name, c.Err())
	}
	return c, nil
}

func (c *Conn) login() error {
	_ = c.tcp.SetDeadline(time.Now().Add(loginTime))
	defer func() { _ = c.tcp.SetDeadline(time.Time{}) }()
	id := wire.ID{Name: string(c.self.Name), Major: 17, Minor: 7}
	if c.peer.RSA != nil {
		id.Minor = 0
	}
	if _, err := c.tcp.Write([]byte(wire.Text(id) + "\n")); err != nil {
		return err
	}
	if err := c.skipLine(); err != nil {
		return fmt.Errorf("its greeting: %w", err)
	}
	var first []byte
	var err error
	if c.peer.RSA != nil {
		c.old, first, err = legacy.NewMeta(legacy.MetaConfig{
			Initiator: true, Key: c.self.RSA, Peer: *c.peer.RSA, Suite: legacy.DefaultSuite,
			Policy: legacy.Policy{SHA1: true, Blowfish: true}, Rand: rand.Reader,
		})
	} else {
		c.modern, first, err = sptps.NewStream(sptps.Config{
			Initiator: true, Key: c.self.Key, Peer: c.peer.Key, Label: sptps.LabelTCP(c.self.Name, c.peer.Name), Rand: rand.Reader,
		})
	}
	if err != nil {
		return err
	}
	_, err = c.tcp.Write(first)
	return err
}

// skipLine reads the clear line of the peer, and not a byte more.
func (c *Conn) skipLine() error {
	var b [1]byte
	for range wire.MaxLine {
		if _, err := c.tcp.Read(b[:]); err != nil {
			return err
		}
		if b[0] == '\n' {
			return nil
		}
	}
	return errors.New("it is no line")
}

// read takes what comes until the connection ends.
func (c *Conn) read() {
	defer close(c.done)
	buf := make([]byte, 0, 1<<17)
	frame := 0 // announced length of a frame that comes next
	raw := 0   // announced length of bytes outside SPTPS
	for {
		if len(buf) == cap(buf) {
			c.fail(errors.New("a message is longer than any may be"))
			return
		}
		n, err := c.tcp.Read(buf[len(buf):cap(buf)])
		if err != nil {
			c.fail(err)
			return
		}
		buf = buf[:len(buf)+n]
		c.mu.Lock()
		var used int
		used, frame, raw, err = c.take(buf, frame, raw)
		c.mu.Unlock()
		if err != nil {
			c.fail(err)
			return
		}
		buf = buf[:copy(buf, buf[used:])]
	}
}

func (c *Conn) take(b []byte, frame, raw int) (used, frameLeft, rawLeft int, err error) {
	for used < len(b) {
		rest := b[used:]
		var n int
		var out, data []byte
		var has, done bool
		switch {
		case raw > 0:
			if len(rest) < raw {
				return used, frame, raw, nil
			}
			c.keepFrame(rest[:raw])
			used, raw = used+raw, 0
			continue
		case c.old != nil && frame > 0:
			if data, has, err = c.old.NextRaw(rest, frame); err != nil {
				return used, 0, 0, err
			}
			n = len(data)
		case c.old != nil:
			var ev legacy.MetaEvent
			n, ev, err = c.old.Next(rest)
			out = ev.Out
			done = ev.Done
			has = ev.HasLine
			data = []byte(ev.Line)
		default:
			var ev sptps.StreamEvent
			n, ev, err = c.modern.Next(rest)
			out = ev.Out
			done = ev.Done
			has = ev.HasRecord
			data = ev.Data
		}
		if err != nil {
			return used, 0, 0, err
		}
		if n == 0 && !has {
			return used, frame, raw, nil
		}
		used += n
		if len(out) > 0 {
			if _, err := c.tcp.Write(out); err != nil {
				return used, 0, 0, err
			}
		}
		if done {
			ack := wire.Ack{Port: 655, Weight: 1, Options: (options | c.self.Options).WithMinor(7)}
			if c.old != nil {
				ack.Options = options | c.self.Options
			}
			if err := c.send(wire.Text(ack)); err != nil {
				return used, 0, 0, err
			}
		}
		if !has {
			continue
		}
		if frame > 0 {
			c.keepFrame(data)
			frame = 0
			continue
		}
		line := strings.TrimSuffix(string(data), "\n")
		kind, length, _ := strings.Cut(line, " ")
		switch kind {
		case "8":
			if err := c.send("9"); err != nil {
				return used, 0, 0, err
			}
		case "17":
			frame, _ = strconv.Atoi(length)
		case "21":
			raw, _ = strconv.Atoi(length)
		}
		if len(c.lines) < maxKept {
			c.lines = append(c.lines, line)
		}
		c.wake()
	}
	return used, frame, raw, nil
}

func (c *Conn) keepFrame(b []byte) {
	if len(c.frames) < maxKept {
		c.frames = append(c.frames, bytes.Clone(b))
	}
	c.wake()
}

func (c *Conn) wake() {
	close(c.more)
	c.more = make(chan struct{})
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.wake()
}

// Err says why the connection has ended, nil if it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection without a word and waits for the reader.
func (c *Conn) Close() {
	_ = c.tcp.Close()
	<-c.done
}

// Send sends requests, each without a newline, as one write.
func (c *Conn) Send(lines ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.send(lines...)
}

func (c *Conn) send(lines ...string) (err error) {
	var out []byte
	for _, line := range lines {
		if c.old != nil {
			out, err = c.old.AppendLine(out, line)
		} else {
			out, err = c.modern.AppendRecord(out, 0, []byte(line+"\n"))
		}
		if err != nil {
			return err
		}
	}
	_ = c.tcp.SetWriteDeadline(time.Now().Add(writeTime))
	_, err = c.tcp.Write(out)
	return err
}

// Announce tells the mesh of the member's own end of the connection, as every node does
// after its login. at is where the peer is.
func (c *Conn) Announce(at netip.AddrPort) error {
	return c.Send(Edge(c.self.Name, c.peer.Name, at, options.WithMinor(7)))
}

// Lines returns the requests that came so far.
func (c *Conn) Lines() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

// Frames returns the packets that came so far by this connection.
func (c *Conn) Frames() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]byte(nil), c.frames...)
}

// Await waits for a request that ok likes, among those that came already too.
func (c *Conn) Await(within time.Duration, ok func(line string) bool) (string, bool) {
	late := time.After(within)
	for seen := 0; ; {
		c.mu.Lock()
		more, ended := c.more, c.err != nil
		lines := c.lines[seen:]
		seen = len(c.lines)
		c.mu.Unlock()
		for _, line := range lines {
			if ok(line) {
				return line, true
			}
		}
		if ended {
			return "", false
		}
		select {
		case <-more:
		case <-late:
			return "", false
		}
	}
}

// Edge is an ADD_EDGE with a new nonce.
func Edge(from, to node.Name, at netip.AddrPort, o wire.Options) string {
	return wire.Text(wire.AddEdge{Nonce: nonce(), From: from, To: to, Addr: wire.AddressOf(at), Options: o, Weight: 10})
}

// NoEdge is a DEL_EDGE with a new nonce.
func NoEdge(from, to node.Name) string {
	return wire.Text(wire.DelEdge{Nonce: nonce(), From: from, To: to})
}

// Subnet is an ADD_SUBNET with a new nonce. The text of the subnet is not looked at.
func Subnet(owner node.Name, subnet string) string {
	return fmt.Sprintf("%d %x %s %s", wire.KindAddSubnet, nonce(), owner, subnet)
}

// NoSubnet is a DEL_SUBNET with a new nonce.
func NoSubnet(owner node.Name, subnet string) string {
	return fmt.Sprintf("%d %x %s %s", wire.KindDelSubnet, nonce(), owner, subnet)
}

func nonce() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

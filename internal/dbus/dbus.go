// Package dbus calls methods of services on the system bus of Linux, and hears of the coming and going of services.
//
// It is a client for the few types that systemd-resolved takes. There are no objects of our own, no properties, no descriptors.
package dbus

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// callTime is how long an answer is waited for.
	callTime = 5 * time.Second
	// maxSignals is how many signals wait to be taken; what comes beyond is lost.
	maxSignals = 16
)

// systemBus is where the bus is, unless the environment says otherwise.
const systemBus = "/run/dbus/system_bus_socket"

// Conn is a connection to the bus. Its methods are safe for concurrent use.
type Conn struct {
	conn net.Conn

	mu      sync.Mutex
	serial  uint32
	waiting map[uint32]chan *Message
	err     error // why it has ended

	signals chan Owner
	ended   sync.WaitGroup
}

// Owner says who serves a name on the bus; Owned is false if nobody does any more.
type Owner struct {
	Name  string
	Owned bool
}

// Error is what a service answers to a call that failed.
type Error struct {
	Name string // such as org.freedesktop.DBus.Error.AccessDenied
	Text string
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Name
	}
	return e.Text
}

// Names of errors.
const (
	NoMethod      = "org.freedesktop.DBus.Error.UnknownMethod"
	AccessDenied  = "org.freedesktop.DBus.Error.AccessDenied"
	Authorization = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"

	noOwner   = "org.freedesktop.DBus.Error.NameHasNoOwner"
	noService = "org.freedesktop.DBus.Error.ServiceUnknown"
)

// NotRunning tells whether err says that the service that was called does not run.
func NotRunning(err error) bool { return Is(err, noOwner) || Is(err, noService) }

// Is tells whether err is an answer with that name.
func Is(err error, name string) bool {
	var e *Error
	return errors.As(err, &e) && e.Name == name
}

// System connects to the system bus. The bus takes the calls for those of the user that this process has now, whatever user it becomes.
func System(ctx context.Context) (*Conn, error) {
	path := systemBus
	if at, ok := strings.CutPrefix(os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"), "unix:path="); ok {
		path, _, _ = strings.Cut(at, ",")
	}
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("system bus: %w", err)
	}
	c, err := begin(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("system bus: %w", err)
	}
	return c, nil
}

// begin introduces us to the bus.
func begin(conn net.Conn) (*Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(callTime)); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 1024)
	id := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	if _, err := io.WriteString(conn, "\x00AUTH EXTERNAL "+id+"\r\n"); err != nil {
		return nil, err
	}
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(line), "OK ") {
		return nil, fmt.Errorf("it does not let us in: %.60q", strings.TrimSpace(string(line)))
	}
	if _, err := io.WriteString(conn, "BEGIN\r\n"); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, waiting: map[uint32]chan *Message{}, signals: make(chan Owner, maxSignals)}
	c.ended.Go(func() { c.read(in) })
	if _, err := c.bus("Hello"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// bus calls the bus itself, with texts.
func (c *Conn) bus(member string, args ...string) (*Message, error) {
	var w Writer
	for _, a := range args {
		w.String(a)
	}
	return c.Call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", member, strings.Repeat("s", len(args)), w)
}

// Close ends the connection. Calls that wait for their answers fail.
func (c *Conn) Close() {
	c.conn.Close()
	c.ended.Wait()
}

// read takes what the bus sends, until the connection ends.
func (c *Conn) read(in *bufio.Reader) {
	err := c.receive(in)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("the system bus has ended the connection: %w", err)
	for serial, answer := range c.waiting {
		delete(c.waiting, serial)
		close(answer)
	}
	close(c.signals)
}

// receive passes on what the bus sends. Every user of the machine may have it send us signals, of any size and with fields of any kind:
// what is too large, or not understood, is passed over.
func (c *Conn) receive(in *bufio.Reader) error {
	for {
		head := make([]byte, headSize)
		if _, err := io.ReadFull(in, head); err != nil {
			return err
		}
		n, err := size(head)
		if err != nil {
			return err
		}
		if n > maxMessage {
			if _, err := io.CopyN(io.Discard, in, int64(n-headSize)); err != nil {
				return err
			}
			continue
		}
		b := append(head, make([]byte, n-headSize)...)
		if _, err := io.ReadFull(in, b[headSize:]); err != nil {
			return err
		}
		if m, err := decode(b); err == nil {
			c.take(m)
		}
	}
}

// take passes a message to whoever waits for it.
func (c *Conn) take(m *Message) {
	switch m.typ {
	case typeReturn, typeError:
		c.mu.Lock()
		answer := c.waiting[m.replySerial]
		delete(c.waiting, m.replySerial)
		c.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	case typeSignal:
		if m.Sender != "org.freedesktop.DBus" || m.Member != "NameOwnerChanged" || m.Signature != "sss" {
			return
		}
		name, _, owner := m.Body.String(), m.Body.String(), m.Body.String()
		if m.Body.Err() != nil {
			return
		}
		select {
		case c.signals <- Owner{name, owner != ""}:
		default:
		}
	}
}

// Call calls a method and returns the answer. signature is that of the arguments in w. A service that does not run is not started.
func (c *Conn) Call(destination, path, iface, member, signature string, w Writer) (*Message, error) {
	answer := make(chan *Message, 1)
	c.mu.Lock()
	err := c.err
	if err == nil {
		c.serial++
		m := &Message{typ: typeCall, serial: c.serial, Destination: destination, Path: path, Interface: iface, Member: member, Signature: signature}
		c.waiting[m.serial] = answer
		if err = c.conn.SetWriteDeadline(time.Now().Add(callTime)); err == nil {
			_, err = c.conn.Write(m.encode(w.b, flagNoAutoStart))
		}
		if err != nil {
			delete(c.waiting, m.serial)
		}
	}
	serial := c.serial
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(callTime)
	defer timer.Stop()
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			c.mu.Lock()
			defer c.mu.Unlock()
			return nil, c.err
		case m.typ == typeError:
			e := &Error{Name: m.errorName}
			if strings.HasPrefix(m.Signature, "s") {
				e.Text = m.Body.String()
			}
			return nil, e
		}
		return m, nil
	case <-timer.C:
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, serial)
		return nil, fmt.Errorf("%s of %s: no answer within %v", member, destination, callTime)
	}
}

// Watch has [Conn.Owners] tell when somebody begins or ceases to serve a name.
func (c *Conn) Watch(name string) error {
	_, err := c.bus("AddMatch", "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='"+name+"'")
	return err
}

// Owners tells of the names that are watched, and is closed when the connection ends.
func (c *Conn) Owners() <-chan Owner { return c.signals }

package metaconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

const (
	smallBuffer = 4 << 10                    // before the peer is authenticated
	largeBuffer = 2 + 1 + sptps.MaxData + 16 // one whole record
	maxRequest  = 4 << 10                    // bytes; tinc's own stay below wire.MaxLine
	minBlob     = 12                         // two node ids
)

// input is the receiving half of a connection. It belongs to the reader.
type input struct {
	c      *conn
	from   io.Reader // the TCP connection
	buf    []byte
	busy   bool // the last read filled the buffer: a larger one saves system calls
	r, w   int  // buf[r:w] has not been consumed
	spoken bool // a request came in, so an ACK may be under way to the protocol core
	frame  int  // length of the frame that comes next, 0: none
	blob   int  // bytes outside of the encryption that come next
}

// read serves the connection until it ends. It returns nil after an orderly end,
// errStopped after somebody else's, and what was received after the first line
// if the connection was handed over.
func (c *conn) read() (rest []byte, err error) {
	in := input{c: c, from: c.tcp, buf: make([]byte, smallBuffer)}
	line, err := in.line()
	if err != nil {
		return nil, err
	}
	if load := c.t.cfg.LoadHost; load != nil {
		if id, err := wire.ParseID(line); err == nil {
			if name, err := node.ParseName(id.Name); err == nil {
				load(name)
			}
		}
	}
	c.event(mesh.Line{Conn: c.id, Text: line})
	select {
	case <-c.decided:
	case <-c.stop:
		return nil, errStopped
	}
	c.mu.Lock()
	handed := c.handed
	c.mu.Unlock()
	if handed {
		return in.buf[in.r:in.w], nil
	}
	return nil, in.messages()
}

// line reads the first line.
func (in *input) line() (string, error) {
	for {
		b := in.buf[in.r:in.w]
		if i := bytes.IndexByte(b, '\n'); i >= 0 && i <= wire.MaxLine {
			in.r += i + 1
			return string(b[:i]), nil
		} else if len(b) > wire.MaxLine {
			return "", fmt.Errorf("the first line is longer than %d bytes", wire.MaxLine)
		}
		if err := in.more(); err != nil {
			if errors.Is(err, io.EOF) {
				return "", errors.New("the peer closed the connection before it said who it is")
			}
			return "", err
		}
	}
}

// more reads more bytes from the network.
func (in *input) more() error {
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.buf) || in.busy {
		in.grow()
	}
	if in.w == len(in.buf) {
		return errors.New("the peer sent a record that is too long")
	}
	n, err := in.from.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		in.c.heard.Store(int64(time.Since(in.c.t.start)))
	}
	in.busy = in.w == len(in.buf) && in.c.isAttached()
	if n > 0 || err == nil {
		return nil
	}
	in.c.broken = true
	select {
	case <-in.c.stop:
		return errStopped
	default:
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		return errStopped
	}
	return describe(err)
}

// grow gives the buffer four times its size, up to one whole record.
func (in *input) grow() {
	if n := min(4*len(in.buf), largeBuffer); n > len(in.buf) {
		b := make([]byte, n)
		copy(b, in.buf[:in.w])
		in.buf = b
	}
}

// describe turns an error of the socket into words, without the addresses, which
// the log has anyway.
func describe(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, oserr.Reset), errors.Is(err, oserr.Broken):
		return errors.New("the peer reset the connection")
	case errors.Is(err, oserr.TimedOut):
		return errors.New("the peer does not answer any more")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// messages handles messages until the connection ends.
func (in *input) messages() error {
	for {
		for {
			n, err := in.next(in.buf[in.r:in.w])
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			in.r += n
		}
		err := in.more()
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return err
		case in.r == in.w && in.frame == 0 && in.blob == 0 && in.spoken:
			return nil
		case !in.spoken:
			return errors.New("the peer closed the connection during the login")
		default:
			return errors.New("the peer closed the connection within a message")
		}
	}
}

// next consumes one message or blob from the front of b and says how many bytes
// that was, 0 if b does not hold a whole one.
func (in *input) next(b []byte) (int, error) {
	c := in.c
	if n := in.blob; n > 0 {
		if len(b) < n {
			return 0, nil
		}
		in.blob = 0
		c.t.cfg.Data.FromMeta(c.hop, b[:n])
		return n, nil
	}
	c.mu.Lock()
	n, m, err := c.codec.next(b, in.frame)
	if len(m.out) > 0 {
		c.out = append(c.out, m.out...)
		c.wakeWriter()
	}
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if m.done {
		c.proven = true
		if c.accepted {
			c.t.admission.prove(c.visitor, time.Now())
		}
		c.event(mesh.Secured{Conn: c.id, Protection: c.codec.protection()}) // only this goroutine calls next
	}
	if m.hasData {
		// The data stays valid: only this goroutine calls next.
		err = in.message(m.data)
	}
	return n, err
}

// message handles one request or frame.
func (in *input) message(data []byte) error {
	c := in.c
	if len(data) == 0 {
		return errors.New("the peer sent an empty request")
	}
	if n := in.frame; n > 0 {
		in.frame = 0
		if len(data) != n {
			return fmt.Errorf("the peer announced a frame of %d bytes and sent %d", n, len(data))
		}
		c.t.cfg.Data.FrameFromMeta(c.hop, data)
		return nil
	}
	if len(data) > maxRequest {
		return fmt.Errorf("the peer sent a request of %d bytes, more than %d", len(data), maxRequest)
	}
	text := string(bytes.TrimSuffix(data, []byte("\n")))
	switch kind, _ := wire.RequestKind(text); kind {
	case wire.KindPacket:
		r, err := wire.ParsePacket(text)
		if err != nil {
			return err
		}
		in.frame = r.Len
		return in.mayCarry(kind)
	case wire.KindSPTPSPacket:
		r, err := wire.ParseSPTPSPacket(text)
		if err != nil {
			return err
		}
		if !c.codec.blobs() { // codec was set before the reader came here
			return errOldBlob
		}
		if r.Len < minBlob {
			return fmt.Errorf("%v request: %d bytes are too few for two node ids", kind, r.Len)
		}
		in.blob = r.Len
		return in.mayCarry(kind)
	}
	in.spoken = true
	c.event(mesh.Request{Conn: c.id, Text: text})
	return nil
}

// mayCarry checks that the peer may send packets. The protocol core may still be busy
// with its ACK, and the packets of a quick peer come right after that: then it
// waits for the protocol core's word.
func (in *input) mayCarry(kind wire.Kind) error {
	if !in.spoken {
		return fmt.Errorf("the peer sent %v before ACK", kind)
	}
	select {
	case <-in.c.attached:
		return nil
	case <-in.c.stop:
		return errStopped
	}
}

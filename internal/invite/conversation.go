package invite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"tincan/internal/sptps"
)

// Record types of the conversation.
const (
	recordText     = 0 // newcomer: the cookie; inviter: a piece of the text
	recordEnd      = 1 // inviter: the text is complete; newcomer: its public key
	recordAccepted = 2
	recordRefused  = 3 // ours: a Refusal
)

const (
	// pieceSize is how much text goes into one record, as in tinc.
	pieceSize = 1024
	// waitLimit is how long either side waits for the other.
	waitLimit = 5 * time.Second
	// maxGreeting bounds a line of clear text.
	maxGreeting = 2048
)

// conversation is a connection with an SPTPS stream on it.
type conversation struct {
	conn   net.Conn
	stream *sptps.Stream
	in     []byte // received and not yet used
	wait   time.Duration
	end    time.Time // of everything
}

// watch makes the end of ctx interrupt whatever c waits for. The returned
// function must be called in the end.
func (c *conversation) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.conn.Close() })
}

// deadline returns when the present wait is over.
func (c *conversation) deadline() time.Time {
	t := time.Now().Add(c.wait)
	if t.After(c.end) {
		return c.end
	}
	return t
}

func (c *conversation) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(c.deadline()); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// errSilent says that the other side did not answer in time.
var errSilent = errors.New("no answer")

// fill waits for more bytes. The caller has set the read deadline.
func (c *conversation) fill() error {
	var chunk [4096]byte
	n, err := c.conn.Read(chunk[:])
	c.in = append(c.in, chunk[:n]...)
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	case err == nil:
		return io.ErrNoProgress
	}
	return err
}

// line returns the next line of clear text.
func (c *conversation) line() (string, error) {
	if err := c.conn.SetReadDeadline(c.deadline()); err != nil {
		return "", err
	}
	for start := 0; ; {
		for i := start; i < len(c.in); i++ {
			if c.in[i] == '\n' {
				s := string(c.in[:i])
				c.in = c.in[i+1:]
				return s, nil
			}
		}
		start = len(c.in)
		if start > maxGreeting {
			return "", errors.New("the first line is too long")
		}
		if err := c.fill(); err != nil {
			return "", err
		}
	}
}

// next returns the next application record, or done when the key exchange has
// just been completed. data is valid until the next call.
func (c *conversation) next() (typ byte, data []byte, done bool, err error) {
	if err := c.conn.SetReadDeadline(c.deadline()); err != nil {
		return 0, nil, false, err
	}
	for {
		n, ev, err := c.stream.Next(c.in)
		if err != nil {
			return 0, nil, false, err
		}
		c.in = c.in[n:]
		if len(ev.Out) > 0 {
			if err := c.write(ev.Out); err != nil {
				return 0, nil, false, err
			}
		}
		if ev.Done || ev.HasRecord {
			return ev.Type, ev.Data, ev.Done, nil
		}
		if n == 0 {
			if err := c.fill(); err != nil {
				return 0, nil, false, err
			}
		}
	}
}

// expect returns the data of the next record, which must be of the given type.
func (c *conversation) expect(want byte) ([]byte, error) {
	typ, data, done, err := c.next()
	switch {
	case err != nil:
		return nil, err
	case done || typ != want:
		return nil, fmt.Errorf("unexpected record of type %d", typ)
	}
	return data, nil
}

func (c *conversation) send(typ byte, data []byte) error {
	b, err := c.stream.AppendRecord(nil, typ, data)
	if err != nil {
		return err
	}
	return c.write(b)
}

// drainLimit is how long a goodbye may take.
const drainLimit = time.Second

// goodbye closes the connection so that what was sent last arrives: closing a
// socket with unread input would make the other side lose it.
func (c *conversation) goodbye() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(drainLimit))
		_, _ = io.CopyN(io.Discard, c.conn, 1<<17)
	}
	c.conn.Close()
}

package carrier

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// maxHeader is the longest header of a frame, in bytes.
	maxHeader = 14
	// MaxPayload is the longest message that is sent, in bytes: what fits into a frame that fits into one TLS record.
	MaxPayload = 16<<10 - maxHeader
	// maxControl is the longest payload of a control frame.
	maxControl = 125
	// bufferSize is how much of headers, and of small messages, is read at once. Payloads are read to where they are wanted.
	bufferSize = 4 << 10
	// pingAfter is how long nothing may be sent before a client pings, half of it more at random. Proxies give up
	// connections that are silent for a minute.
	pingAfter = 20 * time.Second
)

// The kinds of frames.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// header is the beginning of a frame.
type header struct {
	final  bool
	op     byte
	masked bool
	mask   [4]byte
	length uint64
}

// errShort says that more bytes are needed.
var errShort = errors.New("the header is not complete")

// parseHeader reads the header at the front of b, and says how long it is. The error is errShort if b ends before it does.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 2 {
		return h, 0, errShort
	}
	h.final, h.op, h.masked = b[0]&0x80 != 0, b[0]&0x0f, b[1]&0x80 != 0
	if b[0]&0x70 != 0 {
		return h, 0, errors.New("a frame uses extensions, which were not agreed")
	}
	h.length, n = uint64(b[1]&0x7f), 2
	switch h.length {
	case 126:
		if len(b) < n+2 {
			return h, 0, errShort
		}
		h.length, n = uint64(binary.BigEndian.Uint16(b[n:])), n+2
		if h.length < 126 {
			return h, 0, errors.New("the length of a frame is written in a longer form than needed")
		}
	case 127:
		if len(b) < n+8 {
			return h, 0, errShort
		}
		h.length, n = binary.BigEndian.Uint64(b[n:]), n+8
		if h.length <= 0xffff || h.length>>63 != 0 {
			return h, 0, errors.New("the length of a frame is impossible, or written in a longer form than needed")
		}
	}
	if h.masked {
		if len(b) < n+4 {
			return h, 0, errShort
		}
		n += copy(h.mask[:], b[n:])
	}
	switch h.op {
	case opContinuation, opBinary:
	case opText:
		return h, 0, errors.New("a message of text came in")
	case opClose, opPing, opPong:
		if !h.final || h.length > maxControl {
			return h, 0, errors.New("a control frame is too long")
		}
	default:
		return h, 0, fmt.Errorf("a frame of unknown kind %d came in", h.op)
	}
	return h, n, nil
}

// appendHeader appends the header of a whole message, or of a control frame.
func appendHeader(dst []byte, op byte, length int, masked bool, mask [4]byte) []byte {
	var bit byte
	if masked {
		bit = 0x80
	}
	dst = append(dst, 0x80|op)
	switch {
	case length < 126:
		dst = append(dst, bit|byte(length))
	case length <= 0xffff:
		dst = binary.BigEndian.AppendUint16(append(dst, bit|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, bit|127), uint64(length))
	}
	if masked {
		dst = append(dst, mask[:]...)
	}
	return dst
}

// xor masks or unmasks b in place, beginning at position pos of the payload, and returns the position after it.
func xor(b []byte, mask [4]byte, pos int) int {
	end := (pos + len(b)) & 3
	var m [4]byte
	for i := range m {
		m[i] = mask[(pos+i)&3]
	}
	four := binary.NativeEndian.Uint32(m[:])
	eight := uint64(four)<<32 | uint64(four)
	for len(b) >= 8 {
		binary.NativeEndian.PutUint64(b, binary.NativeEndian.Uint64(b)^eight)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= m[i&3]
	}
	return end
}

// Stream is a stream of bytes inside of a WebSocket. One goroutine may read and others write at the same time. After an
// error of Write it is of no use any more; deadlines of Read leave it as it was.
type Stream struct {
	net.Conn // TLS, or what is below it if a reverse proxy has taken TLS away
	below    net.Conn
	client   bool

	// Of the reader:
	in      []byte // in[r:w] has come and has not been looked at
	r, w    int
	left    uint64 // of the payload of the current data frame
	frame   header
	pos     int  // in the mask
	message bool // within a message: continuations may come

	sending  sync.Mutex
	out      []byte            // one frame
	dice     *mathrand.ChaCha8 // of masks
	closed   bool              // a close frame was sent
	keep     *time.Timer       // of a client: the next ping
	lastSent time.Time
}

// newStream begins a stream on conn. below is the connection below TLS, early what has come in already.
func newStream(conn, below net.Conn, early []byte, client bool) *Stream {
	s := &Stream{Conn: conn, below: below, client: client, in: make([]byte, max(bufferSize, len(early)))}
	s.w = copy(s.in, early)
	if client {
		var seed [32]byte
		rand.Read(seed[:])
		s.dice = mathrand.NewChaCha8(seed)
		s.lastSent = time.Now()
		s.keep = time.AfterFunc(untilPing(), s.keepAlive)
	}
	return s
}

func untilPing() time.Duration { return pingAfter + mathrand.N(pingAfter/2) }

// Below is the connection below TLS.
func (s *Stream) Below() net.Conn { return s.below }

// Read reads bytes of the stream. io.EOF: the other end has ended it.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		if s.left > 0 && len(p) > 0 {
			return s.payload(p)
		}
		h, n, err := parseHeader(s.in[s.r:s.w])
		if err == errShort {
			if err := s.more(); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("the WebSocket: %w", err)
		}
		if h.masked == s.client {
			return 0, errors.New("the WebSocket: a frame is masked the wrong way round")
		}
		if h.op >= opClose {
			if err := s.control(h, n); err != nil {
				return 0, err
			}
			continue
		}
		if (h.op == opContinuation) != s.message {
			return 0, errors.New("the WebSocket: a message does not continue as it should")
		}
		s.r += n
		s.frame, s.left, s.pos, s.message = h, h.length, 0, !h.final
		if len(p) == 0 {
			return 0, nil
		}
	}
}

// payload reads from the payload of a data frame.
func (s *Stream) payload(p []byte) (n int, err error) {
	if uint64(len(p)) > s.left {
		p = p[:s.left]
	}
	if s.r < s.w {
		n = copy(p, s.in[s.r:s.w])
		s.r += n
	} else if n, err = s.Conn.Read(p); n == 0 {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	if s.frame.masked {
		s.pos = xor(p[:n], s.frame.mask, s.pos)
	}
	s.left -= uint64(n)
	return n, nil
}

// more reads more bytes of headers, and what comes with them.
func (s *Stream) more() error {
	s.w = copy(s.in, s.in[s.r:s.w])
	s.r = 0
	n, err := s.Conn.Read(s.in[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && s.w > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// control handles a control frame whose header has n bytes. io.EOF: the other end has closed the stream.
func (s *Stream) control(h header, n int) error {
	for s.w-s.r < n+int(h.length) {
		if err := s.more(); err != nil {
			return err
		}
	}
	b := s.in[s.r+n : s.r+n+int(h.length)]
	s.r += n + int(h.length)
	if h.masked {
		xor(b, h.mask, 0)
	}
	switch h.op {
	case opClose:
		s.sendClose()
		return io.EOF
	case opPing:
		return s.send(opPong, b)
	}
	return nil
}

// Write sends b in as many messages as it takes.
func (s *Stream) Write(b []byte) (n int, err error) {
	for n < len(b) {
		m := min(len(b)-n, MaxPayload)
		if err := s.send(opBinary, b[n:n+m]); err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

var errClosed = errors.New("the WebSocket has been closed")

// send sends one frame.
func (s *Stream) send(op byte, payload []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.closed {
		return errClosed
	}
	s.closed = op == opClose
	var mask [4]byte
	if s.client {
		binary.NativeEndian.PutUint32(mask[:], uint32(s.dice.Uint64()))
		s.lastSent = time.Now()
	}
	s.out = append(appendHeader(s.out[:0], op, len(payload), s.client, mask), payload...)
	if s.client {
		xor(s.out[len(s.out)-len(payload):], mask, 0)
	}
	_, err := s.Conn.Write(s.out)
	if cap(s.out) > 4<<10 && len(s.out) < 1<<10 { // the last small one of a large transfer
		s.out = nil
	}
	return err
}

// keepAlive pings when nothing was sent for a while.
func (s *Stream) keepAlive() {
	s.sending.Lock()
	idle := time.Since(s.lastSent)
	closed := s.closed
	s.sending.Unlock()
	if closed {
		return
	}
	if idle >= pingAfter {
		if s.send(opPing, nil) != nil {
			return
		}
		idle = 0
	}
	s.keep.Reset(untilPing() - idle)
}

func (s *Stream) sendClose() error {
	err := s.send(opClose, []byte{3, 232}) // 1000: normal
	if err == errClosed {
		return nil
	}
	return err
}

// CloseWrite ends our side of the stream. The other end may still send.
func (s *Stream) CloseWrite() error {
	if err := s.sendClose(); err != nil {
		return err
	}
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Close ends the stream at once. Reads and writes that are under way fail.
func (s *Stream) Close() error {
	if s.keep != nil {
		s.keep.Stop()
	}
	return s.below.Close()
}

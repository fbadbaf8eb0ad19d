package sptps

import (
	"encoding/binary"
	"fmt"

	"tincan/internal/chapoly"
)

// MaxData is the longest data of one record, in bytes.
const MaxData = 65535

// streamHeader is the length in front of a record.
const streamHeader = 2

// Stream is a session over a byte stream. It is not safe for concurrent use.
type Stream struct {
	hs        handshake
	out, in   *chapoly.Cipher // nil while records are clear
	outN, inN uint64          // next record numbers
	plain     []byte          // the last opened record
	err       error           // first failure; a stream cannot recover
}

// StreamEvent is what one record led to.
type StreamEvent struct {
	Out       []byte // bytes to send to the peer, owned by the caller
	Done      bool   // this record completed the first key exchange
	HasRecord bool   // Type and Data hold an application record
	Type      byte   // 0..127
	Data      []byte // valid until the next call of Next; may be empty
}

// NewStream starts a session. kex must be sent to the peer first of all.
func NewStream(cfg Config) (s *Stream, kex []byte, err error) {
	hs, err := newHandshake(cfg)
	if err != nil {
		return nil, nil, err
	}
	return startStream(hs)
}

func startStream(hs handshake) (*Stream, []byte, error) {
	s := &Stream{hs: hs}
	kex, err := s.hs.begin()
	if err != nil {
		return nil, nil, err
	}
	out, err := s.appendRecord(nil, typeHandshake, kex)
	return s, out, err
}

// Established tells whether the first key exchange is complete, from when on
// application records can be sent and received.
func (s *Stream) Established() bool { return s.hs.established }

// Next takes at most one record from the front of in and says how many bytes
// that was; 0 without an error means that more bytes are needed. After an
// error the connection must be closed; every later call returns the same.
func (s *Stream) Next(in []byte) (consumed int, ev StreamEvent, err error) {
	if s.err != nil {
		return 0, StreamEvent{}, s.err
	}
	consumed, ev, err = s.next(in)
	if err != nil {
		s.err = err
		return 0, StreamEvent{}, err
	}
	return consumed, ev, nil
}

func (s *Stream) next(in []byte) (int, StreamEvent, error) {
	if len(in) < streamHeader {
		return 0, StreamEvent{}, nil
	}
	size := int(binary.BigEndian.Uint16(in))
	body := 1 + size
	if s.in != nil {
		body += chapoly.Overhead
	} else if size > kexSize {
		return 0, StreamEvent{}, fmt.Errorf("%w: %d bytes in the key exchange", ErrTooLong, size)
	}
	total := streamHeader + body
	if len(in) < total {
		return 0, StreamEvent{}, nil
	}
	record, err := s.open(in[streamHeader:total])
	if err != nil {
		return 0, StreamEvent{}, err
	}
	ev, err := s.dispatch(record[0], record[1:])
	return total, ev, err
}

// open returns type and data of a record body.
func (s *Stream) open(body []byte) ([]byte, error) {
	n := s.inN
	if n > maxNumber {
		return nil, ErrExhausted
	}
	s.inN++
	if s.in == nil {
		return body, nil
	}
	plain, err := s.in.Open(s.plain[:0], body, n)
	if err != nil {
		return nil, ErrOpen
	}
	s.plain = plain
	return plain, nil
}

func (s *Stream) dispatch(typ byte, data []byte) (StreamEvent, error) {
	switch {
	case typ == typeHandshake:
		return s.handshake(data)
	case typ > typeHandshake:
		return StreamEvent{}, fmt.Errorf("%w %d", ErrType, typ)
	case !s.hs.established:
		return StreamEvent{}, ErrApplication
	}
	return StreamEvent{HasRecord: true, Type: typ, Data: data}, nil
}

func (s *Stream) handshake(data []byte) (StreamEvent, error) {
	first := !s.hs.established
	a, err := s.hs.receive(data)
	if err != nil {
		return StreamEvent{}, err
	}
	ev := StreamEvent{Done: first && a.done}
	for _, data := range a.send {
		if ev.Out, err = s.appendRecord(ev.Out, typeHandshake, data); err != nil {
			return StreamEvent{}, err
		}
	}
	if a.sendKey != nil {
		s.out = chapoly.New(a.sendKey)
	}
	if a.recvKey != nil {
		s.in = chapoly.New(a.recvKey)
	}
	return ev, nil
}

// Rekey begins a new key exchange in an established session and returns the
// bytes to send. Records can be exchanged all the while. If the peer began one
// at the same time, the two merge.
func (s *Stream) Rekey() ([]byte, error) {
	if !s.hs.established {
		return nil, ErrNotReady
	}
	kex, err := s.hs.begin()
	if err != nil {
		return nil, err
	}
	return s.appendRecord(nil, typeHandshake, kex)
}

// AppendRecord appends an application record with the given type (0..127) and
// data (at most [MaxData] bytes) to dst. Records must be sent in the order in
// which they were appended.
func (s *Stream) AppendRecord(dst []byte, typ byte, data []byte) ([]byte, error) {
	switch {
	case !s.hs.established:
		return dst, ErrNotReady
	case typ >= typeHandshake:
		return dst, fmt.Errorf("%w %d", ErrType, typ)
	case len(data) > MaxData:
		return dst, fmt.Errorf("%w: %d bytes", ErrTooLong, len(data))
	}
	return s.appendRecord(dst, typ, data)
}

func (s *Stream) appendRecord(dst []byte, typ byte, data []byte) ([]byte, error) {
	if s.outN > maxNumber {
		return dst, ErrExhausted
	}
	n := s.outN
	s.outN++
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	start := len(dst)
	dst = append(dst, typ)
	dst = append(dst, data...)
	if s.out != nil {
		dst = s.out.Seal(dst[:start], dst[start:], n)
	}
	return dst, nil
}

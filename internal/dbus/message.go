package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// A message, as the D-Bus specification has it under "Message Format":
//
//	byte order 1 | type 1 | flags 1 | version 1 | length of the body 4 | serial 4 | array of (code 1, variant) | padding to 8 | body
//
// Values are aligned to their size, structures to 8 bytes, from the start of the message.

const (
	// headSize is how much of a message tells its length, in bytes.
	headSize = 16
	// maxMessage is the largest message that is looked at, in bytes: the answers to what is asked here are short.
	maxMessage = 64 << 10
	// maxBus is the largest message that a bus passes on, in bytes, by the specification.
	maxBus = 128 << 20
)

// Types of messages.
const (
	typeCall   = 1
	typeReturn = 2
	typeError  = 3
	typeSignal = 4
)

// Codes of header fields.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldError       = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldFDs         = 9
)

// flagNoAutoStart keeps the bus from starting a service that does not run.
const flagNoAutoStart = 2

// Message is one message, as far as it is needed here.
type Message struct {
	typ         byte
	serial      uint32
	replySerial uint32
	errorName   string

	Path        string
	Interface   string
	Member      string
	Sender      string
	Destination string
	Signature   string // of Body
	Body        Reader
}

// Writer writes values in the form of the bus: those of a body, in the order of its signature. The zero value is ready.
type Writer struct{ b []byte }

func (w *Writer) align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

// Byte writes a y.
func (w *Writer) Byte(v byte) { w.b = append(w.b, v) }

// Uint16 writes a q.
func (w *Writer) Uint16(v uint16) { w.align(2); w.b = binary.LittleEndian.AppendUint16(w.b, v) }

// Uint32 writes a u, an i or, as 0 or 1, a b.
func (w *Writer) Uint32(v uint32) { w.align(4); w.b = binary.LittleEndian.AppendUint32(w.b, v) }

// String writes an s or an o.
func (w *Writer) String(s string) {
	w.Uint32(uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
}

func (w *Writer) signature(s string) {
	w.b = append(append(append(w.b, byte(len(s))), s...), 0)
}

// Bytes writes an ay.
func (w *Writer) Bytes(b []byte) {
	w.Uint32(uint32(len(b)))
	w.b = append(w.b, b...)
}

// Struct begins a structure.
func (w *Writer) Struct() { w.align(8) }

// Array writes an array of structures, which f writes.
func (w *Writer) Array(f func()) {
	w.Uint32(0)
	at := len(w.b) - 4
	w.align(8)
	start := len(w.b)
	f()
	binary.LittleEndian.PutUint32(w.b[at:], uint32(len(w.b)-start))
}

// encode writes a call.
func (m *Message) encode(body []byte, flags byte) []byte {
	w := &Writer{b: []byte{'l', m.typ, flags, 1}}
	w.Uint32(uint32(len(body)))
	w.Uint32(m.serial)
	w.Array(func() {
		field := func(code byte, sig, value string) {
			if value == "" {
				return
			}
			w.Struct()
			w.Byte(code)
			w.signature(sig)
			if sig == "g" {
				w.signature(value)
			} else {
				w.String(value)
			}
		}
		field(fieldPath, "o", m.Path)
		field(fieldDestination, "s", m.Destination)
		field(fieldInterface, "s", m.Interface)
		field(fieldMember, "s", m.Member)
		field(fieldSignature, "g", m.Signature)
	})
	w.align(8)
	return append(w.b, body...)
}

var errShort = errors.New("the message is too short")

// Reader reads values of a message. After an error all that it returns is zero; see [Reader.Err]. The zero value is empty.
type Reader struct {
	b     []byte
	at    int
	order binary.ByteOrder
	err   error
}

// Err is what was wrong, if something was.
func (r *Reader) Err() error { return r.err }

func (r *Reader) take(n, align int) []byte {
	start := (r.at + align - 1) / align * align
	if r.err != nil || n < 0 || start > len(r.b) || n > len(r.b)-start {
		if r.err == nil {
			r.err = errShort
		}
		return make([]byte, max(0, min(n, 4)))
	}
	r.at = start + n
	return r.b[start:r.at]
}

// Byte reads a y.
func (r *Reader) Byte() byte { return r.take(1, 1)[0] }

// Uint32 reads a u, an i or a b.
func (r *Reader) Uint32() uint32 {
	b := r.take(4, 4)
	if r.err != nil {
		return 0
	}
	return r.order.Uint32(b)
}

// String reads an s or an o.
func (r *Reader) String() string { return r.text(r.Uint32()) }

// Signature reads a g.
func (r *Reader) Signature() string { return r.text(uint32(r.Byte())) }

func (r *Reader) text(n uint32) string {
	if r.err == nil && n > uint32(len(r.b)) {
		r.err = errShort
	}
	if r.err != nil {
		return ""
	}
	b := r.take(int(n)+1, 1)
	if r.err != nil {
		return ""
	}
	s := string(b[:n])
	if b[n] != 0 || strings.Contains(s, "\x00") {
		r.err = errors.New("a text that does not end as it should")
		return ""
	}
	return s
}

// Array reads an array of structures: f reads one of them. What f does not read of the last one is an error.
func (r *Reader) Array(f func()) {
	n := r.Uint32()
	r.take(0, 8)
	if r.err == nil && n > uint32(len(r.b)-r.at) {
		r.err = errShort
	}
	if r.err != nil {
		return
	}
	for end := r.at + int(n); r.err == nil && r.at < end; {
		r.take(0, 8)
		before := r.at
		f()
		if r.err == nil && (r.at > end || r.at == before) {
			r.err = errors.New("an array that ends within an element")
		}
	}
}

// size is the length of a message, in bytes, by its first headSize.
func size(head []byte) (int, error) {
	order, err := orderOf(head[0])
	if err != nil {
		return 0, err
	}
	body, fields := order.Uint32(head[4:]), order.Uint32(head[12:])
	n := (headSize+uint64(fields)+7)/8*8 + uint64(body)
	if n > maxBus {
		return 0, fmt.Errorf("a message of more than %d bytes", maxBus)
	}
	return int(n), nil
}

func orderOf(b byte) (binary.ByteOrder, error) {
	switch b {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, errors.New("a message that does not begin with its byte order")
}

// decode reads a message, which must fill b. It keeps b.
func decode(b []byte) (*Message, error) {
	if len(b) < headSize {
		return nil, errShort
	}
	if n, err := size(b); err != nil || n != len(b) {
		return nil, errors.Join(err, errShort)
	}
	order, _ := orderOf(b[0])
	body := int(order.Uint32(b[4:]))
	m := &Message{typ: b[1], serial: order.Uint32(b[8:])}
	r := Reader{b: b[:len(b)-body], at: 12, order: order}
	r.Array(func() {
		code := r.Byte()
		sig := r.Signature()
		want := map[byte]string{fieldPath: "o", fieldReplySerial: "u", fieldSignature: "g", fieldFDs: "u"}[code]
		if want == "" {
			want = "s"
		}
		if r.err == nil && sig != want {
			r.err = fmt.Errorf("header field %d of type %.8q", code, sig)
		}
		if r.err != nil {
			return
		}
		switch code {
		case fieldReplySerial:
			m.replySerial = r.Uint32()
		case fieldFDs:
			r.Uint32()
		case fieldSignature:
			m.Signature = r.Signature()
		default:
			*m.text(code) = r.String()
		}
	})
	m.Body = Reader{b: b[len(b)-body:], order: order}
	return m, r.err
}

// text is where a header field that is a text belongs.
func (m *Message) text(code byte) *string {
	switch code {
	case fieldPath:
		return &m.Path
	case fieldInterface:
		return &m.Interface
	case fieldMember:
		return &m.Member
	case fieldError:
		return &m.errorName
	case fieldDestination:
		return &m.Destination
	case fieldSender:
		return &m.Sender
	}
	return new(string)
}

package roster

import (
	"encoding/binary"
	"errors"
)

var (
	errShort = errors.New("ends too early")
	errLong  = errors.New("has bytes after its end")
)

// reader takes fields off the front of a buffer. After the first field that is not there all
// others are zero, and [reader.end] reports it.
type reader struct {
	rest  []byte
	short bool
}

// take returns the next n bytes, nil if there are fewer. They stay the buffer's.
func (r *reader) take(n int) []byte {
	if r.short || len(r.rest) < n {
		r.short = true
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) i64() int64 { return int64(r.u64()) }

func (r *reader) id() (id [32]byte) {
	copy(id[:], r.take(len(id)))
	return id
}

// text reads a length of one byte and that much text.
func (r *reader) text() string { return string(r.take(int(r.u8()))) }

// end returns an error if a field was missing or something is left.
func (r *reader) end() error {
	switch {
	case r.short:
		return errShort
	case len(r.rest) > 0:
		return errLong
	}
	return nil
}

func appendText(dst []byte, s string) []byte { return append(append(dst, byte(len(s))), s...) }

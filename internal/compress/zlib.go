package compress

import (
	"bytes"
	"compress/zlib"
	"io"
	"slices"
	"sync"
)

// Setting up zlib costs far more than packing one packet, so what was set up is
// kept: one pool for the writers of each level, and one for readers.
var (
	writers [maxZlib + 1]sync.Pool
	readers sync.Pool
)

type writer struct {
	out []byte
	z   *zlib.Writer
}

// Write appends to out.
func (w *writer) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

func deflate(level int, dst, src []byte) []byte {
	w, _ := writers[level].Get().(*writer)
	if w == nil {
		w = new(writer)
		w.z, _ = zlib.NewWriterLevel(w, level) // the level is one that exists
	} else {
		w.z.Reset(w)
	}
	w.out = dst
	// Writing to memory cannot fail.
	_, _ = w.z.Write(src)
	_ = w.z.Close()
	dst, w.out = w.out, nil
	writers[level].Put(w)
	return dst
}

type reader struct {
	in bytes.Reader
	z  io.ReadCloser
}

func inflate(dst, src []byte, limit int) ([]byte, error) {
	r, _ := readers.Get().(*reader)
	if r == nil {
		r = new(reader)
	}
	defer readers.Put(r)
	r.in.Reset(src)
	defer r.in.Reset(nil)
	if err := r.restart(); err != nil {
		return dst, ErrCorrupt
	}
	// One byte more than is allowed shows that there are too many. After the
	// last byte the reader has compared the checksum.
	out := slices.Grow(dst, limit+1)
	n, err := io.ReadFull(r.z, out[len(dst):len(dst)+limit+1])
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		if !r.complete() {
			return dst, ErrCorrupt
		}
		return out[:len(dst)+n], nil
	case nil:
		return dst, ErrTooLong
	}
	return dst, ErrCorrupt
}

// complete tells whether the stream ended in order. io.ReadFull says the same of
// one that was cut off, but the reader remembers what it ran into.
func (r *reader) complete() bool {
	_, err := r.z.Read(nil)
	return err == io.EOF
}

func (r *reader) restart() error {
	if r.z != nil {
		return r.z.(zlib.Resetter).Reset(&r.in, nil)
	}
	z, err := zlib.NewReader(&r.in)
	if err == nil {
		r.z = z
	}
	return err
}

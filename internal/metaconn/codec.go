package metaconn

import (
	"errors"

	"tincan/internal/hybrid"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

// codec is the encryption of a connection, from the lines of clear text on. Which
// one it is is what a neighbour speaks: SPTPS, or the protocol of tinc 1.0. Nothing
// else here knows. It is not safe for concurrent use: the connection's lock is held.
type codec interface {
	// next takes one message at most from the front of b, which it may change, and
	// says how many bytes that was; 0 if b does not hold what it needs. frame is
	// the length of the frame that was announced to come next, 0: a request.
	next(b []byte, frame int) (n int, m message, err error)
	// request appends a request, whose text ends with a newline.
	request(dst, text []byte) ([]byte, error)
	// frame appends a frame that has been announced.
	frame(dst, frame []byte) ([]byte, error)
	// maxFrame is the longest frame that the neighbour takes, in bytes.
	maxFrame() int
	// protection is what protects the messages, once the handshake is over; zero in the protocol of tinc 1.0.
	protection() mesh.Protection
	// blobs tells whether the neighbour understands SPTPS_PACKET.
	blobs() bool
}

// message is what a codec took from the stream.
type message struct {
	out     []byte // to be sent as it is
	done    bool   // the handshake is over
	hasData bool
	data    []byte // a request or a frame, valid until the next call
}

// modern is SPTPS. Requests and frames are records.
type modern struct{ *sptps.Stream }

func (c modern) next(b []byte, _ int) (int, message, error) {
	n, ev, err := c.Next(b)
	return n, message{out: ev.Out, done: ev.Done, hasData: ev.HasRecord, data: ev.Data}, err
}

func (c modern) request(dst, text []byte) ([]byte, error) { return c.AppendRecord(dst, 0, text) }
func (c modern) frame(dst, frame []byte) ([]byte, error)  { return c.AppendRecord(dst, 0, frame) }
func (modern) maxFrame() int                              { return wire.MaxBlob }
func (modern) blobs() bool                                { return true }

func (c modern) protection() mesh.Protection {
	if keys, ok := c.Hybrid(); ok {
		return mesh.Protection{Cipher: keys.Cipher, PostQuantum: keys.PostQuantum}
	}
	return mesh.Protection{Cipher: hybrid.Stock}
}

// old is the protocol of tinc 1.0. Requests are lines of an encrypted stream, and
// frames are bytes of it.
type old struct{ *legacy.Meta }

func (c old) next(b []byte, frame int) (int, message, error) {
	if frame > 0 {
		raw, ok, err := c.NextRaw(b, frame)
		return len(raw), message{hasData: ok, data: raw}, err
	}
	n, ev, err := c.Next(b)
	return n, message{out: ev.Out, done: ev.Done, hasData: ev.HasLine, data: []byte(ev.Line)}, err
}

func (c old) request(dst, text []byte) ([]byte, error) {
	return c.AppendLine(dst, string(text[:len(text)-1]))
}

func (c old) frame(dst, frame []byte) ([]byte, error) { return c.AppendRaw(dst, frame) }
func (old) maxFrame() int                             { return legacy.MaxFrame }
func (old) blobs() bool                               { return false }
func (old) protection() mesh.Protection               { return mesh.Protection{} }

var errOldBlob = errors.New("the peer sent SPTPS_PACKET, which does not exist in the protocol of tinc 1.0")

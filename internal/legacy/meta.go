package legacy

import (
	"errors"
	"io"

	"tincan/internal/keys"
)

// MetaConfig is what a meta connection begins with. Rand must be set.
type MetaConfig struct {
	Initiator bool // we opened the TCP connection
	Key       *keys.RSAPrivateKey
	Peer      keys.RSAPublicKey
	Suite     Suite // our own: its cipher decides that of the meta connection
	Policy    Policy
	Rand      io.Reader
}

// Meta is one meta connection of the old protocol, behind the ID lines: METAKEY to
// CHAL_REPLY, and then the lines and packets of the encrypted stream. It is not
// safe for concurrent use.
type Meta struct{}

// MetaEvent is what came of the bytes that Next consumed.
type MetaEvent struct {
	Out     []byte // to be sent, already encrypted
	Done    bool   // both challenges are verified, and our ACK may be sent
	HasLine bool
	Line    string // a request behind the login, without its newline
}

// NewMeta begins a connection. out is our METAKEY line, to be sent behind ID. A
// peer's key that the policy forbids is an [ErrWeak].
func NewMeta(cfg MetaConfig) (m *Meta, out []byte, err error) {
	return nil, nil, errors.New("not yet")
}

// Next takes bytes that were received, and consumes one line at most. What it
// consumes of a line that is not complete it keeps.
func (m *Meta) Next(in []byte) (consumed int, ev MetaEvent, err error) {
	return 0, MetaEvent{}, errors.New("not yet")
}

// NextRaw decrypts the n bytes behind a PACKET line, in place. If in does not hold
// all of them yet it consumes nothing, and ok is false.
func (m *Meta) NextRaw(in []byte, n int) (raw []byte, ok bool) { return nil, false }

// AppendLine appends a request, encrypted, with its newline.
func (m *Meta) AppendLine(dst []byte, text string) ([]byte, error) {
	return dst, errors.New("not yet")
}

// AppendRaw appends the bytes behind a PACKET line, encrypted.
func (m *Meta) AppendRaw(dst, raw []byte) ([]byte, error) { return dst, errors.New("not yet") }

// Established tells whether both challenges have been verified.
func (m *Meta) Established() bool { return false }

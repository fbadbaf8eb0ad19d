package legacy

import (
	"errors"
	"io"
)

// MaxFrame is the largest Ethernet frame that a datagram may carry, in bytes.
const MaxFrame = 1661

// Errors of Link that mean nothing worse than a packet lost.
var (
	ErrNoKey      = errors.New("no key for this node")
	ErrBadPacket  = errors.New("the packet is damaged or not from this node")
	ErrReplay     = errors.New("the packet came twice or is too old")
	ErrKeyWornOut = errors.New("the key has been used for too many packets")
)

// Link is the data road between us and one node that speaks the old protocol. It
// is safe for concurrent use.
type Link struct{}

// NewLink returns a link without keys. The replay window has window packets; 0
// accepts every packet as often as it comes.
func NewLink(window int) *Link { return new(Link) }

// NewReceiveKey makes the key that the other node is to use, and returns it as it
// stands in ANS_KEY. The old one is void from now on.
func (l *Link) NewReceiveKey(rand io.Reader, s Suite) (key string, err error) {
	return "", errors.New("not yet")
}

// SetSendKey takes the key and the suite that the other node announced. If it
// fails, what was there before is void too. What the policy forbids is an
// [ErrWeak].
func (l *Link) SetSendKey(key string, s Suite, p Policy) error { return errors.New("not yet") }

// DropSendKey forgets the key of the other node.
func (l *Link) DropSendKey() {}

// DropReceiveKey forgets the key that we gave to the other node.
func (l *Link) DropReceiveKey() {}

// CanSend tells whether there is a key for sending.
func (l *Link) CanSend() bool { return false }

// CanReceive tells whether there is a key for receiving.
func (l *Link) CanReceive() bool { return false }

// Expired tells whether so many packets came (2^30) that a new receiving key is due.
func (l *Link) Expired() bool { return false }

// SealedLen returns the length of the datagram that Seal makes of a frame of n
// bytes, compression apart; 0 without a key.
func (l *Link) SealedLen(n int) int { return 0 }

// Seal appends frame as a datagram to dst. It does not allocate unless it
// compresses.
func (l *Link) Seal(dst, frame []byte) ([]byte, error) { return dst, ErrNoKey }

// Open appends the frame in datagram to dst. The datagram is not changed.
func (l *Link) Open(dst, datagram []byte) ([]byte, error) { return dst, ErrNoKey }

// Check tells by the message code whether datagram is from this node. It is false
// for nodes that send none.
func (l *Link) Check(datagram []byte) bool { return false }

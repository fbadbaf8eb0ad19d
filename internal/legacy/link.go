package legacy

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strings"
	"sync"

	"tincan/internal/compress"
)

// MaxFrame is the largest Ethernet frame that is taken out of a datagram, in bytes.
const MaxFrame = 1661

const (
	numberLen = 4
	// wornOut is the packet number beyond which a new key is due.
	wornOut = 1 << 30
)

// Errors of Link that mean nothing worse than a packet lost.
var (
	ErrNoKey      = errors.New("no key for this node")
	ErrBadPacket  = errors.New("the packet is damaged or not from this node")
	ErrReplay     = errors.New("the packet came twice or is too old")
	ErrKeyWornOut = errors.New("the key has been used for too many packets")
)

// Link is the data path between us and one node that speaks the old protocol. It
// is safe for concurrent use; the two directions do not wait for each other.
//
// A datagram is made like this, and taken apart in the opposite order:
//
//	frame ─► compressed ─► number 4 | frame ─► padded, CBC ─► | MAC
//
// Each direction has its own key and suite, which the receiver chooses.
type Link struct {
	window int

	send struct {
		sync.Mutex
		*half
		last   uint32 // number of the last packet
		packed []byte // scratch: a compressed frame
	}
	receive struct {
		sync.Mutex
		*half
		window window
		plain  []byte // scratch: a decrypted packet
	}
}

// NewLink returns a link without keys. The replay window has window packets; 0
// accepts every packet as often as it comes.
func NewLink(window int) *Link { return &Link{window: window} }

// half is what one direction works with.
type half struct {
	suite Suite
	iv    []byte
	crypt cbc       // nil: not encrypted
	mac   hash.Hash // nil: none
	sum   []byte    // scratch: a MAC
}

// cbc is a block mode that can be started again; those of the standard library can.
type cbc interface {
	cipher.BlockMode
	SetIV([]byte)
}

// keyLen returns the length of the key material of s in bytes. Nodes without
// cipher have one byte.
func (s Suite) keyLen() int {
	c, err := cipherOf(s.Cipher)
	if err != nil {
		return 1
	}
	return c.key + c.block
}

// newHalf makes a half of key material: cipher key | IV, which both together are
// also the key of the MAC.
func newHalf(s Suite, material []byte, mode func(cipher.Block, []byte) cipher.BlockMode) (*half, error) {
	if err := s.valid(); err != nil {
		return nil, err
	}
	if len(material) != s.keyLen() {
		return nil, fmt.Errorf("the key has %d bytes instead of %d", len(material), s.keyLen())
	}
	h := &half{suite: s}
	if s.Cipher != NoCipher {
		c, _ := cipherOf(s.Cipher)
		block, err := c.make(material[:c.key])
		if err != nil {
			return nil, err
		}
		h.iv = append(h.iv, material[c.key:]...)
		crypt, ok := mode(block, h.iv).(cbc)
		if !ok {
			return nil, errors.New("this Go library cannot start a block mode again")
		}
		h.crypt = crypt
	}
	if s.Digest != NoDigest && s.MACLen > 0 {
		d, _ := digestOf(s.Digest)
		h.mac = hmac.New(d.make, material)
		h.sum = make([]byte, 0, d.size)
	}
	return h, nil
}

// macLen is how many bytes of MAC a datagram really has.
func (h *half) macLen() int {
	if h.mac == nil {
		return 0
	}
	return h.suite.MACLen
}

// code returns the MAC of b, valid until the next call.
func (h *half) code(b []byte) []byte {
	h.mac.Reset()
	h.mac.Write(b)
	h.sum = h.mac.Sum(h.sum[:0])
	return h.sum[:h.suite.MACLen]
}

// NewReceiveKey makes the key that the other node is to use, and returns it as it
// stands in ANS_KEY. The old one is void from now on.
func (l *Link) NewReceiveKey(rand io.Reader, s Suite) (key string, err error) {
	material := make([]byte, s.keyLen())
	if _, err := io.ReadFull(rand, material); err != nil {
		return "", fmt.Errorf("making a key for packets: %w", err)
	}
	if err := l.setReceiveKey(material, s); err != nil {
		return "", err
	}
	return strings.ToUpper(hex.EncodeToString(material)), nil
}

func (l *Link) setReceiveKey(material []byte, s Suite) error {
	h, err := newHalf(s, material, cipher.NewCBCDecrypter)
	if err != nil {
		return err
	}
	r := &l.receive
	r.Lock()
	defer r.Unlock()
	r.half = h
	r.window = newWindow(l.window)
	return nil
}

// SetSendKey takes the key and the suite that the other node announced. If it
// fails, what was there before is void too. What the policy forbids is an
// [ErrWeak].
func (l *Link) SetSendKey(key string, s Suite, p Policy) error {
	h, err := sendHalf(key, s, p)
	l.send.Lock()
	defer l.send.Unlock()
	l.send.half, l.send.last = h, 0
	return err
}

func sendHalf(key string, s Suite, p Policy) (*half, error) {
	if s.Digest == NoDigest {
		s.MACLen = 0 // tinc 1.0 announces 4 all the same, and sends none
	}
	if err := s.valid(); err != nil {
		return nil, err
	}
	if err := s.Weak(p); err != nil {
		return nil, err
	}
	material, err := parseHex(key, s.keyLen())
	if err != nil {
		return nil, fmt.Errorf("the key for packets: %w", err)
	}
	return newHalf(s, material, cipher.NewCBCEncrypter)
}

// DropSendKey forgets the key of the other node.
func (l *Link) DropSendKey() {
	l.send.Lock()
	defer l.send.Unlock()
	l.send.half = nil
}

// DropReceiveKey forgets the key that we gave to the other node.
func (l *Link) DropReceiveKey() {
	l.receive.Lock()
	defer l.receive.Unlock()
	l.receive.half = nil
}

// CanSend tells whether there is a key for sending.
func (l *Link) CanSend() bool {
	l.send.Lock()
	defer l.send.Unlock()
	return l.send.half != nil
}

// CanReceive tells whether there is a key for receiving.
func (l *Link) CanReceive() bool {
	l.receive.Lock()
	defer l.receive.Unlock()
	return l.receive.half != nil
}

// Expired tells whether so many packets came (2^30) that a new receiving key is due.
func (l *Link) Expired() bool {
	l.receive.Lock()
	defer l.receive.Unlock()
	return l.receive.half != nil && l.receive.window.last > wornOut
}

// SendSuite returns what the other node asked us to use; false without a key.
func (l *Link) SendSuite() (Suite, bool) {
	l.send.Lock()
	defer l.send.Unlock()
	if l.send.half == nil {
		return Suite{}, false
	}
	return l.send.suite, true
}

// SealedLen returns the length of the datagram that Seal makes of a frame of n
// bytes, compression apart; 0 without a key.
func (l *Link) SealedLen(n int) int {
	l.send.Lock()
	defer l.send.Unlock()
	if l.send.half == nil {
		return 0
	}
	n += numberLen
	if l.send.crypt != nil {
		block := l.send.crypt.BlockSize()
		n += block - n%block
	}
	return n + l.send.macLen()
}

// Seal appends frame as a datagram to dst, which must not overlap it. It does not
// allocate if dst has room.
func (l *Link) Seal(dst, frame []byte) ([]byte, error) {
	s := &l.send
	s.Lock()
	defer s.Unlock()
	switch {
	case s.half == nil:
		return dst, ErrNoKey
	case s.last == math.MaxUint32:
		return dst, ErrKeyWornOut
	}
	if s.suite.Compression != compress.None {
		packed, err := compress.Compress(s.suite.Compression, s.packed[:0], frame)
		if err != nil {
			return dst, err
		}
		s.packed, frame = packed, packed
	}
	s.last++
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, s.last)
	dst = append(dst, frame...)
	if s.crypt != nil {
		dst = pad(dst, start, s.crypt.BlockSize())
		s.crypt.SetIV(s.iv)
		s.crypt.CryptBlocks(dst[start:], dst[start:])
	}
	if s.mac != nil {
		dst = append(dst, s.code(dst[start:])...)
	}
	return dst, nil
}

// pad fills up what is in b from start on to whole blocks (PKCS #7).
func pad(b []byte, start, block int) []byte {
	n := block - (len(b)-start)%block
	for range n {
		b = append(b, byte(n))
	}
	return b
}

// unpadded returns b without its padding, nil if that is not in order.
func unpadded(b []byte, block int) []byte {
	if len(b) == 0 {
		return nil
	}
	n := int(b[len(b)-1])
	if n == 0 || n > block || n > len(b) {
		return nil
	}
	for _, c := range b[len(b)-n:] {
		if int(c) != n {
			return nil
		}
	}
	return b[:len(b)-n]
}

// Open appends the frame in datagram to dst, which must not overlap it. The
// datagram is not changed. It does not allocate if dst has room, unless the
// packet is compressed.
func (l *Link) Open(dst, datagram []byte) ([]byte, error) {
	r := &l.receive
	r.Lock()
	defer r.Unlock()
	if r.half == nil {
		return dst, ErrNoKey
	}
	body, ok := r.authentic(datagram)
	if !ok {
		return dst, ErrBadPacket
	}
	plain := body
	if r.crypt != nil {
		block := r.crypt.BlockSize()
		if len(body) == 0 || len(body)%block != 0 {
			return dst, ErrBadPacket
		}
		r.plain = append(r.plain[:0], body...)
		r.crypt.SetIV(r.iv)
		r.crypt.CryptBlocks(r.plain, r.plain)
		plain = unpadded(r.plain, block)
	}
	if len(plain) < numberLen {
		return dst, ErrBadPacket
	}
	if !r.window.accept(binary.BigEndian.Uint32(plain)) {
		return dst, ErrReplay
	}
	out, err := compress.Decompress(r.suite.Compression, dst, plain[numberLen:], MaxFrame)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrBadPacket, err)
	}
	return out, nil
}

// authentic checks the MAC of a datagram and returns the rest.
func (h *half) authentic(datagram []byte) (body []byte, ok bool) {
	n := len(datagram) - h.macLen()
	if n < numberLen {
		return nil, false
	}
	if h.mac == nil {
		return datagram, true
	}
	return datagram[:n], subtle.ConstantTimeCompare(h.code(datagram[:n]), datagram[n:]) == 1
}

// Check tells by the MAC whether datagram is from this node. It is false for nodes
// that send none.
func (l *Link) Check(datagram []byte) bool {
	r := &l.receive
	r.Lock()
	defer r.Unlock()
	if r.half == nil || r.mac == nil {
		return false
	}
	_, ok := r.authentic(datagram)
	return ok
}

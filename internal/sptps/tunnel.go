package sptps

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"tincan/internal/aesgcm"
	"tincan/internal/chapoly"
	"tincan/internal/hybrid"
)

const (
	// RecordOverhead is how many bytes a datagram record is longer than its
	// plain text (type and data): record number and tag.
	RecordOverhead = numberSize + chapoly.Overhead

	numberSize = 4
	paddedBit  = 32 // of a type: wire.TypePadded
	maxNumber  = math.MaxUint32

	// oldKeyRecords is how many good records the previous receiving key
	// outlives. UDP reorders by far less.
	oldKeyRecords = 2048
)

// cipher seals and opens records: [chapoly.Cipher] or [aesgcm.Cipher].
type cipher interface {
	Seal(dst, plain []byte, n uint64) []byte
	Open(dst, sealed []byte, n uint64) ([]byte, error)
}

// clone returns another cipher with the same key, for another goroutine.
func clone(c cipher) cipher {
	if c, ok := c.(*aesgcm.Cipher); ok {
		return c.Clone()
	}
	return c.(*chapoly.Cipher).Clone()
}

// Tunnel holds the keys of an established datagram session. It is safe for
// concurrent use; sealing and opening do not disturb each other.
type Tunnel struct {
	sealing sync.Mutex
	sealer  Sealer
	sealers []*Sealer // idle ones of Reserve, with the same key

	opening sync.Mutex
	keys    [keyCount]cipher
	left    int       // good records until the previous key is forgotten
	least   byte      // records of smaller types are refused
	openers []*Opener // idle ones of Lend
	// beside is another tunnel of the session, whose records are opened, too: the one that this one follows, for late
	// records, or the one that will follow or has followed, for early ones. nil: none.
	beside     *Tunnel
	besideLeft int // good records until beside is forgotten, 0: never
	window     Window
	lastStep   uint32 // number of the last handshake record
	scratch    []byte // for Check
}

// The receiving keys of a tunnel, in the order in which they are tried.
const (
	current  = iota
	pending  // next key, while the peer's ACK is under way
	previous // last key, for records that are late
	keyCount
)

// newTunnel starts with record number first in both directions. window is as in Config.
func newTunnel(out, in cipher, first uint32, window int) *Tunnel {
	if window == 0 {
		window = DefaultWindow
	}
	return &Tunnel{
		sealer:   Sealer{cipher: out, next: uint64(first), end: maxNumber + 1},
		keys:     [keyCount]cipher{current: in},
		window:   newWindow(max(window, 0), first, 0),
		lastStep: 1,
	}
}

// hybridCiphers are those for our sending and receiving direction.
func hybridCiphers(k hybrid.Keys, initiator bool) (out, in cipher) {
	send, recv := k.Initiator, k.Responder
	if !initiator {
		send, recv = recv, send
	}
	if k.Cipher == hybrid.AESGCM {
		return aesgcm.New(send.Key, send.IV), aesgcm.New(recv.Key, recv.IV)
	}
	return chapoly.New(send.Key[:]), chapoly.New(recv.Key[:])
}

// setBeside has the records of o opened, too, until as many of our own have come; 0: for ever. nil ends that.
func (t *Tunnel) setBeside(o *Tunnel, records int) {
	t.opening.Lock()
	defer t.opening.Unlock()
	t.beside, t.besideLeft = o, records
}

// Sealer seals records of one tunnel, under its lock; see [Tunnel.SealN].
type Sealer struct {
	cipher cipher
	next   uint64
	end    uint64 // the first number that is not its own
	of     cipher // of which cipher is a clone, nil: of none
}

// Seal appends be32 n | ciphertext | tag to dst. plain[0] is the record type.
// plain must either start exactly where its ciphertext will, at
// dst[len(dst)+4], or not overlap the record at all. When all 2^32 record
// numbers are used up, dst is returned as it was.
func (s *Sealer) Seal(dst, plain []byte) []byte {
	if s.next >= s.end {
		return dst
	}
	n := s.next
	s.next++
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	return s.cipher.Seal(dst, plain, n)
}

// Seal seals one record; see [Sealer.Seal].
func (t *Tunnel) Seal(dst, plain []byte) []byte {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	return t.sealer.Seal(dst, plain)
}

// SealN calls f with the sealer, so that many records cost one lock. f must
// not keep s.
func (t *Tunnel) SealN(f func(s *Sealer)) {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	f(&t.sealer)
}

// SealedCount returns the number of the next record that will be sealed. The
// session should be started again long before it reaches 2^32.
func (t *Tunnel) SealedCount() uint32 {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	return uint32(min(t.sealer.next, maxNumber))
}

// Open appends the plain text of record, whose first byte is the type (0..127),
// to dst. dst needs room for len(record)-4 bytes, of which the last 16 are left
// with rubbish; record[4:] must either start exactly at dst[len(dst)] or not
// overlap that room. Unless the tag is right, nothing but zeros is written there, and
// record stays as it is. The record is counted as seen only after it has authenticated.
//
// While new keys are agreed on, records of the next key are accepted before
// the peer's acknowledgement has come, and those of the last one for a while
// after it.
func (t *Tunnel) Open(dst, record []byte) (plain []byte, err error) {
	plain, beside, err := t.openOwn(dst, record)
	if err == ErrOpen && beside != nil {
		plain, _, err = beside.openOwn(dst, record)
	}
	return plain, err
}

// openOwn is Open with the keys of t alone. If they do not fit, beside is the other tunnel to be tried.
func (t *Tunnel) openOwn(dst, record []byte) (plain []byte, beside *Tunnel, err error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	out, n, err := open(&t.keys, dst, record, t.least)
	if err != nil {
		return dst, t.beside, err
	}
	if err := t.accept(n); err != nil {
		clear(out[len(dst):])
		return dst, nil, err
	}
	return out, nil, nil
}

// accept counts a record that authenticated. The caller holds t.opening.
func (t *Tunnel) accept(n uint32) error {
	if !t.window.Accept(n) {
		return ErrReplay
	}
	if t.keys[previous] != nil {
		if t.left--; t.left <= 0 {
			t.keys[previous] = nil
		}
	}
	if t.besideLeft > 0 {
		if t.besideLeft--; t.besideLeft == 0 {
			t.beside = nil
		}
	}
	return nil
}

// Check tells whether Open would accept record, and changes nothing.
func (t *Tunnel) Check(record []byte) bool {
	ok, beside := t.checkOwn(record)
	if !ok && beside != nil {
		ok, _ = beside.checkOwn(record)
	}
	return ok
}

// checkOwn is Check with the keys of t alone. If they do not fit, beside is the other tunnel to be tried.
func (t *Tunnel) checkOwn(record []byte) (ok bool, beside *Tunnel) {
	t.opening.Lock()
	defer t.opening.Unlock()
	out, n, err := open(&t.keys, t.scratch[:0], record, t.least)
	if err != nil {
		return false, t.beside
	}
	t.scratch = out
	clear(out)
	return t.window.Check(n), nil
}

// Restrict has records of types below least refused, from now on. The bit of the type that says that a record is padded does not
// count. It holds for later tunnels with classical keys, too, but
// not for those with post-quantum ones, nor for earlier ones.
func (t *Tunnel) Restrict(least byte) {
	t.opening.Lock()
	defer t.opening.Unlock()
	t.least = least
}

// DropOldKey forgets the receiving key from before the last key exchange.
func (t *Tunnel) DropOldKey() {
	t.opening.Lock()
	defer t.opening.Unlock()
	t.keys[previous] = nil
}

// openStep opens a record of the key exchanges, [typeHandshake] or [typeHybrid]. Such records come by TCP, long after
// the data that was sealed after them, so they have no window; their numbers
// must rise instead.
func (t *Tunnel) openStep(record []byte) (typ byte, data []byte, err error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if len(record) < numberSize+1+chapoly.Overhead {
		return 0, nil, ErrShort
	}
	n := binary.BigEndian.Uint32(record)
	plain, err := t.keys[current].Open(nil, record[numberSize:], uint64(n))
	if err != nil {
		return 0, nil, ErrOpen
	}
	switch {
	case plain[0] != typeHandshake && plain[0] != typeHybrid:
		return 0, nil, fmt.Errorf("%w %d", ErrType, plain[0])
	case n <= t.lastStep:
		return 0, nil, ErrReplay
	}
	t.lastStep = n
	return plain[0], plain[1:], nil
}

// apply sends the records of a and then switches keys, so that no record of
// another goroutine comes between.
func (t *Tunnel) apply(a action) (out [][]byte, err error) {
	t.sealing.Lock()
	for _, data := range a.send {
		var record []byte
		if record, err = t.sealer.step(typeHandshake, data); err != nil {
			break
		}
		out = append(out, record)
	}
	if a.sendKey != nil {
		t.sealer.cipher, t.sealers = chapoly.New(a.sendKey), nil
	}
	t.sealing.Unlock()

	t.opening.Lock()
	defer t.opening.Unlock()
	if a.pendingKey != nil {
		t.keys[pending] = chapoly.New(a.pendingKey)
	}
	if a.recvKey != nil {
		t.keys[previous], t.left = t.keys[current], oldKeyRecords
		t.keys[current], t.keys[pending] = t.keys[pending], nil
	}
	return out, err
}

// sealStep seals a message of the second key exchange.
func (t *Tunnel) sealStep(data []byte) ([]byte, error) {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	return t.sealer.step(typeHybrid, data)
}

// step seals a record of the key exchanges.
func (s *Sealer) step(typ byte, data []byte) ([]byte, error) {
	plain := append([]byte{typ}, data...)
	record := s.Seal(nil, plain)
	if len(record) == 0 {
		return nil, ErrExhausted
	}
	return record, nil
}

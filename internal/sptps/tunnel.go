package sptps

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"tincan/internal/chapoly"
)

const (
	// RecordOverhead is how many bytes a datagram record is longer than its
	// plain text (type and data): record number and tag.
	RecordOverhead = numberSize + chapoly.Overhead

	numberSize = 4
	maxNumber  = math.MaxUint32

	// oldKeyRecords is how many good records the previous receiving key
	// outlives. UDP reorders by far less.
	oldKeyRecords = 2048
)

// Tunnel holds the keys of an established datagram session. It is safe for
// concurrent use; sealing and opening do not disturb each other.
type Tunnel struct {
	sealing sync.Mutex
	sealer  Sealer
	sealers []*Sealer // idle ones of Reserve, with the same key

	opening  sync.Mutex
	keys     [keyCount]*chapoly.Cipher
	left     int       // good records until the previous key is forgotten
	openers  []*Opener // idle ones of Lend
	window   Window
	lastStep uint32 // number of the last handshake record
	scratch  []byte // for Check
}

// The receiving keys of a tunnel, in the order in which they are tried.
const (
	current  = iota
	pending  // next key, while the peer's ACK is under way
	previous // last key, for records that are late
	keyCount
)

// newTunnel starts after the two clear records of each direction. window is as in Config.
func newTunnel(sendKey, recvKey []byte, window int) *Tunnel {
	if window == 0 {
		window = DefaultWindow
	}
	return &Tunnel{
		sealer:   Sealer{cipher: chapoly.New(sendKey), next: 2, end: maxNumber + 1},
		keys:     [keyCount]*chapoly.Cipher{current: chapoly.New(recvKey)},
		window:   newWindow(max(window, 0), 2, 0),
		lastStep: 1,
	}
}

// Sealer seals records of one tunnel, under its lock; see [Tunnel.SealN].
type Sealer struct {
	cipher *chapoly.Cipher
	next   uint64
	end    uint64          // the first number that is not its own
	of     *chapoly.Cipher // of which cipher is a clone, nil: of none
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
// overlap that room. Nothing is written unless the tag is right. The record is
// counted as seen only after it has authenticated.
//
// While new keys are agreed on, records of the next key are accepted before
// the peer's acknowledgement has come, and those of the last one for a while
// after it.
func (t *Tunnel) Open(dst, record []byte) (plain []byte, err error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	out, n, err := open(&t.keys, dst, record)
	if err != nil {
		return dst, err
	}
	if err := t.accept(n); err != nil {
		clear(out[len(dst):])
		return dst, err
	}
	return out, nil
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
	return nil
}

// Check tells whether Open would accept record, and changes nothing.
func (t *Tunnel) Check(record []byte) bool {
	t.opening.Lock()
	defer t.opening.Unlock()
	out, n, err := open(&t.keys, t.scratch[:0], record)
	if err != nil {
		return false
	}
	t.scratch = out
	clear(out)
	return t.window.Check(n)
}

// DropOldKey forgets the receiving key from before the last key exchange.
func (t *Tunnel) DropOldKey() {
	t.opening.Lock()
	defer t.opening.Unlock()
	t.keys[previous] = nil
}

// openStep opens a handshake record. Such records come by TCP, long after
// the data that was sealed after them, so they have no window; their numbers
// must rise instead.
func (t *Tunnel) openStep(record []byte) (data []byte, err error) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if len(record) < numberSize+1+chapoly.Overhead {
		return nil, ErrShort
	}
	n := binary.BigEndian.Uint32(record)
	plain, err := t.keys[current].Open(nil, record[numberSize:], uint64(n))
	if err != nil {
		return nil, ErrOpen
	}
	switch {
	case plain[0] != typeHandshake:
		return nil, fmt.Errorf("%w %d", ErrType, plain[0])
	case n <= t.lastStep:
		return nil, ErrReplay
	}
	t.lastStep = n
	return plain[1:], nil
}

// apply sends the records of a and then switches keys, so that no record of
// another goroutine comes between.
func (t *Tunnel) apply(a action) (out [][]byte, err error) {
	t.sealing.Lock()
	for _, data := range a.send {
		var record []byte
		if record, err = t.sealer.step(data); err != nil {
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

// step seals a handshake record.
func (s *Sealer) step(data []byte) ([]byte, error) {
	plain := append([]byte{typeHandshake}, data...)
	record := s.Seal(nil, plain)
	if len(record) == 0 {
		return nil, ErrExhausted
	}
	return record, nil
}

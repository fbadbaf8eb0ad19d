package sptps

import (
	"encoding/binary"
	"fmt"

	"tincan/internal/chapoly"
)

// Several goroutines can seal and open the records of one tunnel at the same time: the order of the records is
// fixed when their numbers are reserved, and that of those that arrive when they are accepted.

// maxSpare is how many idle sealers and openers a tunnel keeps.
const maxSpare = 16

// Reserve takes the next n record numbers and returns a sealer for them, which another goroutine may use. Numbers
// that are not used in the end are records that got lost. When all 2^32 are used up the sealer seals nothing. Give
// it back by [Tunnel.Release].
func (t *Tunnel) Reserve(n int) *Sealer {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	var s *Sealer
	if last := len(t.sealers) - 1; last >= 0 {
		s = t.sealers[last]
		t.sealers = t.sealers[:last]
	} else {
		s = &Sealer{cipher: clone(t.sealer.cipher), of: t.sealer.cipher}
	}
	s.next = t.sealer.next
	s.end = min(s.next+uint64(n), t.sealer.end)
	t.sealer.next = max(s.next, s.end)
	return s
}

// Release takes back a sealer of [Tunnel.Reserve].
func (t *Tunnel) Release(s *Sealer) {
	t.sealing.Lock()
	defer t.sealing.Unlock()
	if s.of == t.sealer.cipher && len(t.sealers) < maxSpare {
		t.sealers = append(t.sealers, s)
	}
}

// Opener opens records of one tunnel beside other goroutines.
type Opener struct {
	of, keys [keyCount]cipher // those of the tunnel, and clones of them
	least    byte
}

// Lend returns an opener with the keys that are in use now, for one goroutine. Give it back by [Tunnel.Return].
func (t *Tunnel) Lend() *Opener {
	t.opening.Lock()
	defer t.opening.Unlock()
	var o *Opener
	if last := len(t.openers) - 1; last >= 0 {
		o = t.openers[last]
		t.openers = t.openers[:last]
	} else {
		o = new(Opener)
	}
	for i, key := range t.keys {
		if o.of[i] == key {
			continue
		}
		o.of[i], o.keys[i] = key, nil
		if key != nil {
			o.keys[i] = clone(key)
		}
	}
	o.least = t.least
	return o
}

// Return takes back an opener of [Tunnel.Lend].
func (t *Tunnel) Return(o *Opener) {
	t.opening.Lock()
	defer t.opening.Unlock()
	if len(t.openers) < maxSpare {
		t.openers = append(t.openers, o)
	}
}

// Open appends the plain text of record to dst, as [Tunnel.Open] does, but the record counts as received only
// when [Tunnel.Accept] has been called with its number.
func (o *Opener) Open(dst, record []byte) (plain []byte, number uint32, err error) {
	return open(&o.keys, dst, record, o.least)
}

// Accept counts a record as received, or returns [ErrReplay] if it was received before.
func (t *Tunnel) Accept(number uint32) error {
	t.opening.Lock()
	defer t.opening.Unlock()
	return t.accept(number)
}

// open tries the keys that may be in use. Records of types below least are refused.
func open(keys *[keyCount]cipher, dst, record []byte, least byte) (out []byte, number uint32, err error) {
	if len(record) < numberSize+1+chapoly.Overhead {
		return nil, 0, ErrShort
	}
	number = binary.BigEndian.Uint32(record)
	for _, c := range keys {
		if c == nil {
			continue
		}
		out, err = c.Open(dst, record[numberSize:], uint64(number))
		if err != nil {
			continue
		}
		if typ := out[len(dst)]; typ >= typeHandshake || typ&^paddedBit < least {
			// Key exchanges travel over meta connections; here it is a replay.
			clear(out[len(dst):])
			return nil, 0, fmt.Errorf("%w %d", ErrType, typ)
		}
		return out, number, nil
	}
	return nil, 0, ErrOpen
}

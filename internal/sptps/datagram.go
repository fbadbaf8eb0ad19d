package sptps

import (
	"encoding/binary"
	"fmt"

	"tincan/internal/chapoly"
)

// Datagram drives the key exchanges of a node-to-node session. Its records
// travel by REQ_KEY and ANS_KEY. It belongs to one goroutine; the [Tunnel] that
// it makes may be shared.
type Datagram struct {
	hs        handshake
	outN, inN uint32 // clear records
	tunnel    *Tunnel
	second    second
}

// NewDatagram starts a session. kex is the first complete record to send.
func NewDatagram(cfg Config) (d *Datagram, kex []byte, err error) {
	hs, err := newHandshake(cfg)
	if err != nil {
		return nil, nil, err
	}
	return startDatagram(hs)
}

func startDatagram(hs handshake) (*Datagram, []byte, error) {
	d := &Datagram{hs: hs}
	kex, err := d.hs.begin()
	if err != nil {
		return nil, nil, err
	}
	return d, d.clearRecord(kex), nil
}

// Established tells whether the first key exchange is complete.
func (d *Datagram) Established() bool { return d.hs.established }

// Clone returns a copy that goes its own way, of a session that is not established: which of several
// answers is the peer's shows only when one of them verifies. It panics if the session is established, whose keys
// must be used once.
func (d *Datagram) Clone() *Datagram {
	if d.tunnel != nil {
		panic("sptps: the keys of an established session cannot be shared")
	}
	c := *d
	return &c
}

// Rekeying tells whether a later key exchange is under way. If one of its
// records was lost it stays so, and the session must be started again.
func (d *Datagram) Rekeying() bool { return d.hs.established && d.hs.state != stateDone }

// Tunnel returns the keys of the session, nil until it is established. It
// stays the same through later key exchanges, but packets belong into [Datagram.Data].
func (d *Datagram) Tunnel() *Tunnel { return d.tunnel }

// Handshake takes one handshake record, clear before the session is established
// and encrypted from then on. It returns complete records to send, in order;
// done says that a key exchange, the first or a later one, is complete. After
// an error the session is as it was before.
func (d *Datagram) Handshake(record []byte) (out [][]byte, done bool, err error) {
	if d.tunnel != nil {
		return d.encrypted(record)
	}
	return d.clear(record)
}

func (d *Datagram) clear(record []byte) (out [][]byte, done bool, err error) {
	if len(record) < numberSize+1 {
		return nil, false, ErrShort
	}
	if n := binary.BigEndian.Uint32(record); n != d.inN {
		return nil, false, fmt.Errorf("%w: %d instead of %d", ErrNumber, n, d.inN)
	}
	switch typ := record[numberSize]; {
	case typ < typeHandshake:
		return nil, false, ErrApplication
	case typ > typeHandshake:
		return nil, false, fmt.Errorf("%w %d", ErrType, typ)
	}
	a, err := d.hs.receive(record[numberSize+1:])
	if err != nil {
		return nil, false, err
	}
	d.inN++
	for _, data := range a.send {
		out = append(out, d.clearRecord(data))
	}
	if a.done {
		d.tunnel = newTunnel(chapoly.New(a.sendKey), chapoly.New(a.recvKey), 2, d.hs.cfg.Window) // after two clear records
		d.firstDone()
	}
	return out, a.done, nil
}

func (d *Datagram) encrypted(record []byte) (out [][]byte, done bool, err error) {
	typ, data, err := d.tunnel.openStep(record)
	if err != nil {
		return nil, false, err
	}
	if typ == typeHybrid {
		out, err = d.hybridMessage(data)
		return out, false, err
	}
	a, err := d.hs.receive(data)
	if err != nil {
		return nil, false, err
	}
	out, err = d.tunnel.apply(a)
	done = a.done && err == nil
	if done {
		d.firstDone()
	}
	return out, done, err
}

// Rekey begins a new key exchange in an established session.
func (d *Datagram) Rekey() (out [][]byte, err error) {
	if d.tunnel == nil {
		return nil, ErrNotReady
	}
	kex, err := d.hs.begin()
	if err != nil {
		return nil, err
	}
	return d.tunnel.apply(action{send: [][]byte{kex}})
}

func (d *Datagram) clearRecord(data []byte) []byte {
	record := binary.BigEndian.AppendUint32(nil, d.outN)
	d.outN++
	record = append(record, typeHandshake)
	return append(record, data...)
}

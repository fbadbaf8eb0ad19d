package sptps

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestErrorsLikeTinc goes through the cases that were tried on the real
// program: what it refused we refuse, what it accepted we accept.
func TestErrorsLikeTinc(t *testing.T) {
	clear := func(n uint32, typ byte, data []byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, n), typ), data...)
	}
	handshake := func(t *testing.T, before int, record func(kex []byte) []byte) int {
		p := newPair(t)
		kex := p.wire[1][0]
		for range before {
			p.deliver(1)
		}
		in := record(kex)
		if _, _, err := p.end[1].Handshake(in); err != nil {
			return 0
		}
		return len(in)
	}
	stream := func(t *testing.T, record func(a, b *Stream) []byte) int {
		a, b, err := streams(t, func(int, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		n, _, _ := b.Next(record(a, b))
		return n
	}
	cases := map[string]func(t *testing.T) (consumed int){
		"datagram: second KEX with seqno 1 before any SIG": func(t *testing.T) int {
			return handshake(t, 1, func(kex []byte) []byte { return clear(1, 128, kex[5:]) })
		},
		"datagram: KEX repeated with seqno 0": func(t *testing.T) int {
			return handshake(t, 1, func(kex []byte) []byte { return kex })
		},
		"datagram: KEX with version byte 1": func(t *testing.T) int {
			return handshake(t, 0, func(kex []byte) []byte { kex[5] = 1; return kex })
		},
		"datagram: plaintext application record before the handshake finished": func(t *testing.T) int {
			return handshake(t, 0, func([]byte) []byte { return clear(0, 0, []byte("x")) })
		},
		"datagram: 4 byte packet before the handshake finished": func(t *testing.T) int {
			return handshake(t, 0, func([]byte) []byte { return make([]byte, 4) })
		},
		"datagram: type 129 (alert) record, correctly encrypted": func(t *testing.T) int {
			p := established(t)
			record := p.end[0].Tunnel().Seal(nil, []byte{129})
			_, _, err := p.end[1].Handshake(record)
			if _, err2 := p.end[1].Tunnel().Open(nil, record); err == nil || err2 == nil {
				return len(record)
			}
			return 0
		},
		"datagram: bad tag": func(t *testing.T) int {
			p := established(t)
			record := p.end[0].Tunnel().Seal(nil, []byte{0})
			record[len(record)-1] ^= 1
			if _, err := p.end[1].Tunnel().Open(nil, record); err == nil {
				return len(record)
			}
			return 0
		},
		"stream: SIG of the initiator arrives split in single bytes": func(t *testing.T) int {
			ci, cr := configs(1)
			a, kexA, _ := NewStream(ci)
			b, kexB, _ := NewStream(cr)
			feed(t, b, kexA)
			feed(t, b, feed(t, a, kexB).Out) // fails unless all bytes are needed
			return 1
		},
		"stream: forged SIG": func(t *testing.T) int {
			_, cr := configs(1)
			ci, _ := configs(9)
			a, kexA, _ := NewStream(ci)
			b, kexB, _ := NewStream(cr)
			feed(t, b, kexA)
			n, _, _ := b.Next(feed(t, a, kexB).Out)
			return n
		},
		"stream: type 130 (close) record, correctly encrypted": func(t *testing.T) int {
			return stream(t, func(a, _ *Stream) []byte { return a.out.Seal([]byte{0, 0}, []byte{130}, a.outN) })
		},
		"stream: two records in one read: only the first is consumed per call": func(t *testing.T) int {
			return stream(t, func(a, _ *Stream) []byte {
				one, _ := a.AppendRecord(nil, 0, []byte("one"))
				two, _ := a.AppendRecord(one, 0, []byte("two"))
				return two
			})
		},
		"stream: unexpected handshake record (64 zero bytes as KEX) after the handshake": func(t *testing.T) int {
			return stream(t, func(a, _ *Stream) []byte {
				return a.out.Seal([]byte{0, 64}, append([]byte{128}, bytes.Repeat([]byte{0}, 64)...), a.outN)
			})
		},
	}
	var v struct {
		Cases []struct {
			Case     string
			Consumed int
		}
	}
	load(t, "tinc11-sptps-errors.json", &v)
	for _, c := range v.Cases {
		try, known := cases[c.Case]
		if !known {
			t.Errorf("no test for %q", c.Case)
			continue
		}
		if got := try(t); got != c.Consumed {
			t.Errorf("%s: consumed %d, tinc %d", c.Case, got, c.Consumed)
		}
	}
}

package dataplane

import (
	"tincan/internal/device"
	"tincan/internal/legacy"
	"tincan/internal/packet"
	"tincan/internal/sptps"
	"tincan/internal/wire"
)

const inHead = 16 // room before a packet that was read: for its type byte or Ethernet header, aligned

// burst is what the outbound fast path works on: the packet or super-packet that was read last, and the
// datagrams that were made of it and of those before. It belongs to one goroutine at a time.
type burst struct {
	p   *Plane
	in  []byte
	out txBatch

	l2    int         // length of the Ethernet header when frames are sealed, else 0
	l2hdr [maxL2]byte // that header

	// What is being sealed: the destination, the path, and the data.
	to         *peer
	tunnel     *sptps.Tunnel
	legacy     *legacy.Link // instead of tunnel
	path       udpPath
	ids        [idsLen]byte
	segmenter  packet.Segmenter
	segmenting bool                // segmenter has more
	padding    int                 // of the record, in bytes
	plain      []byte              // what to seal next, nil if none: type (legacy: Ethernet header) and packet
	seal       func(*sptps.Sealer) // b.sealSegments, made once

	reserved *sptps.Sealer // for the rest of it, on the way through a [sendLine]
	ready    chan struct{} // one token: it can be sent
}

func newBurst(p *Plane) *burst {
	b := &burst{p: p, in: make([]byte, inHead+device.MaxPacket), out: newTxBatch(p, outSize), ready: make(chan struct{}, 1)}
	b.seal = b.sealSegments
	return b
}

// wrap makes b.plain the packet b.in[inHead+from:inHead+to]. It overwrites the bytes before
// it: the tail of the previous packet, which has been sealed.
func (b *burst) wrap(from, to int) {
	if b.l2 > 0 {
		b.wrapFrame(from, to)
		return
	}
	if b.legacy != nil {
		b.plain = b.in[inHead+from-ethernetLen : inHead+to]
		ethernetHeader(b.plain)
		return
	}
	b.plain = b.in[inHead+from-1 : inHead+to]
	b.plain[0] = wire.TypeIP
}

// sealAll seals b.plain, or all segments of b.segmenter, sending whenever out is full.
func (b *burst) sealAll() {
	if b.legacy != nil {
		b.sealLegacy()
		return
	}
	for {
		b.tunnel.SealN(b.seal)
		if b.plain == nil {
			return
		}
		b.out.flush()
	}
}

// sealSegments seals until nothing is left or out is full.
func (b *burst) sealSegments(s *sptps.Sealer) {
	packets, bytes := 0, 0
	for b.nextPlain() {
		if !b.out.room(idsLen + recordOverhead + len(b.plain)) {
			break
		}
		out := b.out.buf
		start := len(out)
		out = append(out, b.ids[:]...)
		out = s.Seal(out, b.plain)
		if len(out) == start+idsLen { // all record numbers are used up
			b.p.drop(NoSession)
		} else {
			b.out.buf = out
			if b.path.mask != nil {
				b.path.mask.Flip(out[start:], &b.out.block)
			}
			b.out.bySocket[b.path.sock].add(&b.path, out, start)
			packets++
			bytes += len(b.plain) - 1 - b.padding
		}
		b.plain = nil
	}
	b.to.counters.out(packets, bytes)
}

// nextPlain makes b.plain the next plain text to seal, unless there is one.
func (b *burst) nextPlain() bool {
	if b.plain == nil && b.segmenting {
		from, to, ok := b.segmenter.Next()
		if b.segmenting = ok; ok {
			b.wrap(from, to)
		}
	}
	return b.plain != nil
}

// size is how many records are left to seal, and how long the datagrams are that they will be in.
func (b *burst) size() (records, bytes int) {
	if b.segmenting {
		records, bytes = b.segmenter.Left()
	} else {
		records, bytes = 1, len(b.plain)
	}
	return records, bytes + records*(idsLen+recordOverhead+1+b.l2)
}

package dataplane

import (
	"math/rand/v2"

	"tincan/internal/mask"
	"tincan/internal/node"
	"tincan/internal/udp"
	"tincan/internal/wire"
)

// Between tincans that have agreed on it no byte of a datagram is constant (package mask): the ids and the record number are
// hidden on each hop, with the key of whoever receives the datagram there, after the record was sealed and before it is opened.
// Everything else in this package sees datagrams as they are without a mask. The two ends of a session also pad small records by
// random lengths, inside of the record.

const (
	// padBelow is below which size of its data a record is padded, in bytes. Larger ones are full packets mostly, of which there
	// are many of one size in any transfer.
	padBelow = 256
	// maxPad is the longest padding, in bytes. Padded records fit into all paths that are wide enough to be used.
	maxPad = 96
)

// randomPadding is the length of a padding, 0 to maxPad.
func randomPadding() int { return rand.IntN(maxPad + 1) }

// unmasker shows datagrams that are hidden with the mask of this node. It belongs to one goroutine.
type unmasker struct {
	block mask.Block
	dir   *directory
	src   node.ID // of the last datagram, a node in dir
}

// show shows d, in place, and reports whether it was hidden. It is hidden if it makes sense without the mask: its source is
// known, and so is its destination.
func (u *unmasker) show(p *Plane, dir *directory, d []byte) bool {
	m := p.cfg.Mask
	if m == nil || len(d) < minDatagram {
		return false
	}
	m.Flip(d, &u.block)
	if isFor(p.selfID, d) || dir.byID[node.ID(d)] != nil {
		src := node.ID(d[6:])
		if u.dir == dir && u.src == src {
			return true
		}
		if dir.byID[src] != nil {
			u.dir, u.src = dir, src
			return true
		}
	}
	m.Flip(d, &u.block)
	return false
}

// hide hides d again.
func (u *unmasker) hide(p *Plane, d []byte) { p.cfg.Mask.Flip(d, &u.block) }

// isFor reports whether the destination of a datagram that is not hidden is the node that has received it, self.
func isFor(self node.ID, d []byte) bool {
	to := node.ID(d)
	return to.IsZero() || to == self
}

// hideRun hides the datagrams of a run.
func hideRun(m *mask.Mask, r udp.Run, block *mask.Block) {
	for b := r.Buf; len(b) > 0; {
		n := min(r.Size, len(b))
		m.Flip(b[:n], block)
		b = b[n:]
	}
}

// masks reports whether what is sent to the address of the peer is hidden. s may be nil.
func (s *state) masks() bool { return s != nil && s.Mask != nil }

// pad pads type and data of a small record for a peer that takes that.
func (s *state) pad(plain []byte) []byte {
	if !s.Pad || len(plain) > padBelow {
		return plain
	}
	return wire.Pad(plain, randomPadding())
}

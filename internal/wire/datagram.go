package wire

import (
	"slices"

	"tincan/internal/node"
)

// A UDP datagram between 1.1 nodes, and the raw bytes after SPTPS_PACKET:
//
//	 0      6     12                16
//	┌──────┬──────┬──────────────────┬────────────────────────────┐
//	│ dst  │ src  │ number, be32     │ type and data, sealed, tag │
//	└──────┴──────┴──────────────────┴────────────────────────────┘
//	 node ids      record
//
// In a datagram a destination of zero means: from the sender of this datagram to
// its receiver. Over TCP the ids are always the real ones.

// IDsLen is the length of the two node ids in front of a record, in bytes.
const IDsLen = 12

// MinDatagram is the length of the shortest datagram: ids, record number, type, tag.
const MinDatagram = IDsLen + 4 + 1 + 16

// Types of the records between nodes. TypeFrame|TypeCompressed is a compressed frame. Any of them can have TypePadded, between
// nodes that have agreed on it.
const (
	TypeIP         = 0  // IP packet without Ethernet header
	TypeCompressed = 1  // bit: the data is compressed
	TypeFrame      = 2  // complete Ethernet frame
	TypeProbe      = 4  // see Probe
	TypeEcho       = 8  // see Echo; tincan only
	TypeRoster     = 16 // the data of a [Roster], to a node that is no neighbour; tincan only
	TypePadded     = 32 // bit: padding follows the data, of which the last byte says the length; tincan only
)

// MaxPadding is the length of the longest padding, in bytes.
const MaxPadding = 255

// Pad appends padding of n bytes, up to [MaxPadding], to the type and data of a record, in place where there is room. 0: none.
func Pad(plain []byte, n int) []byte {
	if n <= 0 {
		return plain
	}
	n = min(n, MaxPadding)
	end := len(plain)
	plain = slices.Grow(plain, n)[:end+n]
	clear(plain[end:])
	plain[end+n-1] = byte(n)
	plain[0] |= TypePadded
	return plain
}

// Unpad returns the type and data of a record without its padding, if it has any. It changes plain[0]. ok is false if there is
// less than the padding is said to be.
func Unpad(plain []byte) (rest []byte, ok bool) {
	if plain[0]&TypePadded == 0 {
		return plain, true
	}
	n := int(plain[len(plain)-1])
	if n == 0 || n >= len(plain) {
		return nil, false
	}
	plain[0] &^= TypePadded
	return plain[:len(plain)-n], true
}

// AppendIDs appends the ids of destination and source.
func AppendIDs(dst []byte, to, from node.ID) []byte {
	return append(append(dst, to[:]...), from[:]...)
}

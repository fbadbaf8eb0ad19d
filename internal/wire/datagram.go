package wire

import (
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

// Types of the records between nodes. TypeFrame|TypeCompressed is a compressed frame.
const (
	TypeIP         = 0  // IP packet without Ethernet header
	TypeCompressed = 1  // bit: the data is compressed
	TypeFrame      = 2  // complete Ethernet frame
	TypeProbe      = 4  // see Probe
	TypeEcho       = 8  // see Echo; tincan only
	TypeRoster     = 16 // the data of a [Roster], to a node that is no neighbour; tincan only
)

// AppendIDs appends the ids of destination and source.
func AppendIDs(dst []byte, to, from node.ID) []byte {
	return append(append(dst, to[:]...), from[:]...)
}

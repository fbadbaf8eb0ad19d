package wire

import (
	"encoding/binary"
	"fmt"

	"tincan/internal/node"
)

// The data of a record of type [TypeEcho], between nodes that announce [Echoes]:
//
//	 0      1       2           8             16          24
//	┌──────┬───────┬───────────┬─────────────┬───────────┬─────────┐
//	│ kind │ flags │ hop, id 6 │ number be64 │ token be64│ filling │
//	└──────┴───────┴───────────┴─────────────┴───────────┴─────────┘
//
// A reply is as long as its request, has the same number, token and filling, and tells how
// the request came in. Nodes on the way see a sealed record like any other.

// MinEcho and MaxEcho are the lengths of the shortest and longest echo, in bytes.
const (
	MinEcho = 24
	MaxEcho = 1518
)

// The kinds of echoes.
const (
	EchoRequest = 0
	EchoReply   = 1
)

// Flags of an echo. EchoBack belongs to a request, the others to a reply.
const (
	EchoBack    = 1 << iota // please answer through the node that handed the request to you
	EchoDirect              // the request came by UDP from its sender itself
	EchoByTCP               // the request came over a meta connection
	EchoLeftTCP             // the reply leaves over a meta connection
)

// Echo is the question whether a node is there, which may take any way, or the answer.
type Echo struct {
	Kind   byte
	Flags  byte
	Hop    node.ID // reply: who handed the request over, zero: its sender, or not known
	Number uint64  // tells echoes apart
	Token  uint64  // whatever the sender likes
	Size   int     // bytes of the whole, MinEcho to MaxEcho
}

// Append appends e. Its filling is zero, since it will be sealed.
func (e Echo) Append(dst []byte) []byte {
	dst = append(dst, e.Kind, e.Flags)
	dst = append(dst, e.Hop[:]...)
	dst = binary.BigEndian.AppendUint64(dst, e.Number)
	dst = binary.BigEndian.AppendUint64(dst, e.Token)
	return append(dst, make([]byte, max(min(e.Size, MaxEcho)-MinEcho, 0))...)
}

// ParseEcho reads the data of an echo record.
func ParseEcho(data []byte) (Echo, error) {
	if len(data) < MinEcho || len(data) > MaxEcho {
		return Echo{}, fmt.Errorf("echo of %d bytes, not %d to %d", len(data), MinEcho, MaxEcho)
	}
	if data[0] > EchoReply {
		return Echo{}, fmt.Errorf("echo of unknown kind %d", data[0])
	}
	return Echo{
		Kind: data[0], Flags: data[1], Hop: node.ID(data[2:]),
		Number: binary.BigEndian.Uint64(data[8:]), Token: binary.BigEndian.Uint64(data[16:]),
		Size: len(data),
	}, nil
}

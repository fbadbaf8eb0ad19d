package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"tincan/internal/node"
)

// The data of a record of type [TypeEcho], between nodes that announce [Echoes]:
//
//	 0      1       2           8             16          24
//	┌──────┬───────┬───────────┬─────────────┬───────────┬─────────┐
//	│ kind │ flags │ hop, id 6 │ number be64 │ token be64│ filling │
//	└──────┴───────┴───────────┴─────────────┴───────────┴─────────┘
//
// A reply is as long as its request, has the same number and token, and tells how the
// request came in; where there is room in the filling also from which address: its length
// in bytes 4 or 16, the address, the port be16. A request to dial, between nodes that announce
// [Punch], has the address to dial in that place, and no reply. Nor is there one to the news that a NAT has
// been opened; it may ask for the same. Nodes on the way see a sealed record like any other.

// MinEcho and MaxEcho are the lengths of the shortest and longest echo, in bytes.
const (
	MinEcho = 24
	MaxEcho = 1518
	// SeenEcho is the shortest request whose reply has room for any address.
	SeenEcho = MinEcho + 1 + 16 + 2
)

// The kinds of echoes.
const (
	EchoRequest = 0
	EchoReply   = 1
	EchoDial    = 2 // please dial Seen by TCP at once, from your own port: the sender does the same
	EchoOpened  = 3 // the sender's NAT, if it has one, lets in your datagrams now

	EchoPathsAsked = 4 // how do you reach others? see [PathEntry]
	EchoPaths      = 5 // the answer to that
)

// Flags of an echo. EchoBack belongs to a request and to an EchoOpened, the others to a reply.
const (
	EchoBack    = 1 << iota // please answer through the node that handed the request to you; EchoOpened: please open yours, too
	EchoDirect              // the request came by UDP from its sender itself
	EchoByTCP               // the request came over a meta connection
	EchoLeftTCP             // the reply leaves over a meta connection
	EchoSeen                // there is an address in the filling
	EchoMore                // an EchoPaths: there are more
	EchoExit4               // packets of IPv4 can leave the mesh by the sender now, which is an exit node
	EchoExit6               // the same for IPv6
)

// Echo is the question whether a node is there, which may take any path, or the answer.
type Echo struct {
	Kind   byte
	Flags  byte
	Hop    node.ID // reply: who handed the request over, zero: its sender, or not known
	Number uint64  // tells echoes apart
	Token  uint64  // whatever the sender likes
	Size   int     // bytes of the whole, MinEcho to MaxEcho
	// Seen is where the datagram with the request came from; of an EchoDial the address to
	// dial. It is left out if there is no room.
	Seen netip.AddrPort
}

// Append appends e. Its filling is zero, since it will be sealed.
func (e Echo) Append(dst []byte) []byte {
	fill := make([]byte, max(min(e.Size, MaxEcho)-MinEcho, 0))
	if ip := e.Seen.Addr().Unmap(); e.Seen.IsValid() && len(fill) >= SeenEcho-MinEcho {
		e.Flags |= EchoSeen
		seen := append(append(fill[:0], byte(ip.BitLen()/8)), ip.AsSlice()...)
		binary.BigEndian.AppendUint16(seen, e.Seen.Port())
	}
	dst = append(dst, e.Kind, e.Flags)
	dst = append(dst, e.Hop[:]...)
	dst = binary.BigEndian.AppendUint64(dst, e.Number)
	dst = binary.BigEndian.AppendUint64(dst, e.Token)
	return append(dst, fill...)
}

// ParseEcho reads the data of an echo record.
func ParseEcho(data []byte) (Echo, error) {
	if len(data) < MinEcho || len(data) > MaxEcho {
		return Echo{}, fmt.Errorf("echo of %d bytes, not %d to %d", len(data), MinEcho, MaxEcho)
	}
	if data[0] > EchoPaths {
		return Echo{}, fmt.Errorf("echo of unknown kind %d", data[0])
	}
	e := Echo{
		Kind: data[0], Flags: data[1] &^ EchoSeen, Hop: node.ID(data[2:]),
		Number: binary.BigEndian.Uint64(data[8:]), Token: binary.BigEndian.Uint64(data[16:]),
		Size: len(data),
	}
	if data[1]&EchoSeen != 0 {
		e.Seen = parseSeen(data[MinEcho:])
	}
	return e, nil
}

// parseSeen reads an address in the filling, the zero address if it makes no sense.
func parseSeen(b []byte) netip.AddrPort {
	if len(b) < SeenEcho-MinEcho || b[0] != 4 && b[0] != 16 {
		return netip.AddrPort{}
	}
	n := int(b[0])
	ip, _ := netip.AddrFromSlice(b[1 : 1+n])
	return netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[1+n:]))
}

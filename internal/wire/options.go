package wire

import "strconv"

// Options are the option bits of a connection or an edge. The top byte is the
// protocol minor of the node that the edge leads to.
type Options uint32

const (
	Indirect      Options = 1 << iota // do not send UDP directly; go through a neighbour
	TCPOnly                           // never use UDP
	PMTUDiscovery                     // the path MTU is discovered
	ClampMSS                          // clamp the TCP MSS
)

// Bits of tincan's own, far from those that tinc may come to use. Unlike the others they
// say something about one end only, the node that the edge leads to. tinc passes them on.
const (
	Echoes         Options = 1 << (20 + iota) // it answers records of type [TypeEcho]
	NoRelay                                   // it asks not to be chosen as a relay
	Punch                                     // it dials when it is asked to, in a record of type [TypeEcho]
	RosterExchange                            // it takes a [Roster], and records of type [TypeRoster]
)

const minorShift = 24

// Has tells whether all bits of o2 are set in o.
func (o Options) Has(o2 Options) bool { return o&o2 == o2 }

// Minor returns the protocol minor, 0 for a tinc 1.0 node.
func (o Options) Minor() int { return int(o >> minorShift) }

// WithMinor returns o with another protocol minor (0 to 255).
func (o Options) WithMinor(minor int) Options {
	return o&(1<<minorShift-1) | Options(uint8(minor))<<minorShift
}

// String returns the options as they stand in a request: hexadecimal without 0x.
func (o Options) String() string { return strconv.FormatUint(uint64(o), 16) }

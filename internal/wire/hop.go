package wire

import "strings"

// TermReq ends a connection: "7".
type TermReq struct{}

func (TermReq) Append(dst []byte) []byte { return append(dst, '7') }

// NotCompared stands for a digest that the other side is not to compare.
const NotCompared = "-"

// maxDigest is the longest digest that is believed to be one.
const maxDigest = 32

// Ping asks for a [Pong]: "8", or between nodes of tincan "8 - - EDGES SUBNETS". tinc ignores
// words after the number.
type Ping struct {
	Edges, Subnets string // digests of what the sender knows; both "" if it tells none
}

func (r Ping) Append(dst []byte) []byte {
	dst = append(dst, '8')
	if r == (Ping{}) {
		return dst
	}
	// In the place of the first two, earlier versions had digests of another kind.
	dst = append(dst, " - - "...)
	dst = append(append(dst, r.Edges...), ' ')
	return append(dst, r.Subnets...)
}

// ParsePing reads a PING. Words that are no digests are as none; the result does not share memory with line.
func ParsePing(line string) (Ping, error) {
	f := open(line, KindPing)
	words := strings.Fields(f.rest)
	var r Ping
	if len(words) >= 4 && len(words[2]) <= maxDigest && len(words[3]) <= maxDigest {
		r = Ping{strings.Clone(words[2]), strings.Clone(words[3])}
	}
	return done(f, r)
}

// Pong answers a [Ping]: "9".
type Pong struct{}

func (Pong) Append(dst []byte) []byte { return append(dst, '9') }

// Packet announces a frame in the next record: "17 LEN".
type Packet struct {
	Len int // bytes, 1 to [MaxBlob]
}

func (r Packet) Append(dst []byte) []byte { return appendInt(number(dst, KindPacket), r.Len) }

// ParsePacket reads a PACKET.
func ParsePacket(line string) (Packet, error) {
	f := open(line, KindPacket)
	r := Packet{Len: f.blobLen()}
	return done(f, r)
}

// SPTPSPacket announces node ids and a record as raw bytes of the TCP stream, outside of
// any record of the meta connection: "21 LEN".
type SPTPSPacket struct {
	Len int // bytes, 1 to [MaxBlob]; less than 2 ids make no sense
}

func (r SPTPSPacket) Append(dst []byte) []byte { return appendInt(number(dst, KindSPTPSPacket), r.Len) }

// ParseSPTPSPacket reads an SPTPS_PACKET.
func ParseSPTPSPacket(line string) (SPTPSPacket, error) {
	f := open(line, KindSPTPSPacket)
	r := SPTPSPacket{Len: f.blobLen()}
	return done(f, r)
}

package wire

// TermReq ends a connection: "7".
type TermReq struct{}

func (TermReq) Kind() Kind               { return KindTermReq }
func (TermReq) Append(dst []byte) []byte { return append(dst, '7') }

// ParseTermReq reads a TERMREQ.
func ParseTermReq(line string) (TermReq, error) { return done(open(line, KindTermReq), TermReq{}) }

// Ping asks for a [Pong]: "8".
type Ping struct{}

func (Ping) Kind() Kind               { return KindPing }
func (Ping) Append(dst []byte) []byte { return append(dst, '8') }

// ParsePing reads a PING.
func ParsePing(line string) (Ping, error) { return done(open(line, KindPing), Ping{}) }

// Pong answers a [Ping]: "9".
type Pong struct{}

func (Pong) Kind() Kind               { return KindPong }
func (Pong) Append(dst []byte) []byte { return append(dst, '9') }

// ParsePong reads a PONG.
func ParsePong(line string) (Pong, error) { return done(open(line, KindPong), Pong{}) }

// Packet announces a frame in the next record: "17 LEN".
type Packet struct {
	Len int // bytes, 1 to [MaxBlob]
}

func (Packet) Kind() Kind                 { return KindPacket }
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

func (SPTPSPacket) Kind() Kind                 { return KindSPTPSPacket }
func (r SPTPSPacket) Append(dst []byte) []byte { return appendInt(number(dst, KindSPTPSPacket), r.Len) }

// ParseSPTPSPacket reads an SPTPS_PACKET.
func ParseSPTPSPacket(line string) (SPTPSPacket, error) {
	f := open(line, KindSPTPSPacket)
	r := SPTPSPacket{Len: f.blobLen()}
	return done(f, r)
}

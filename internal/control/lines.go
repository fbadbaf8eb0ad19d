package control

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tincan/internal/node"
	"tincan/internal/subnet"
	"tincan/internal/wire"
)

// maxWord bounds a word that may come from the network (the address of an edge
// may be any text), so that a line always fits the client's buffer.
const maxWord = 512

// word makes s fit to be one field of a line: never empty, no blanks or control
// characters, bounded.
func word(s string) string {
	if s == "" {
		return "-"
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
	return cut(s, maxWord) // now, for what is not UTF-8 has become longer
}

func (a Address) words() string { return word(a.Host) + " port " + word(a.Port) }

// unixTime is 0 for the zero time.
func unixTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// micros is -1 for a negative d.
func micros(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Microseconds()
}

// AppendLine appends the line of request 3 to dst, with its LF.
func (n *NodeInfo) AppendLine(dst []byte) []byte {
	return fmt.Appendf(dst, "18 3 %s %s %s %d %d %d %d %x %x %s %s %d %d %d %d %d %d %d %d %d %d\n",
		n.Name, n.ID, n.Address.Or(Unknown).words(), n.Cipher, n.Digest, n.MACLen, n.Compression,
		uint32(n.Options), uint32(n.Status), word(string(n.NextHop)), word(string(n.Via)), n.Distance,
		n.MTU, n.MinMTU, n.MaxMTU, unixTime(n.Changed), micros(n.RTT),
		n.InPackets, n.InBytes, n.OutPackets, n.OutBytes)
}

// AppendLine appends the line of request 4 to dst, with its LF.
func (e *EdgeInfo) AppendLine(dst []byte) []byte {
	return fmt.Appendf(dst, "18 4 %s %s %s %s %x %d\n", e.From, e.To,
		e.Address.Or(Unspecified).words(), e.Local.Or(Unspecified).words(), uint32(e.Options), e.Weight)
}

// AppendLine appends the line of request 5 to dst, with its LF.
func (s *SubnetInfo) AppendLine(dst []byte) []byte {
	return fmt.Appendf(dst, "18 5 %s %s\n", s.Subnet, s.OwnerWord())
}

// OwnerWord is the name of the owner, or the word for a broadcast subnet.
func (s *SubnetInfo) OwnerWord() string {
	if s.Owner == "" {
		return broadcastOwner
	}
	return string(s.Owner)
}

// AppendLine appends the line of request 6 to dst, with its LF.
func (c *ConnInfo) AppendLine(dst []byte) []byte {
	name := c.Name
	if name == "" {
		name = Unnamed
	}
	return fmt.Appendf(dst, "18 6 %s %s %x %d %x\n", word(name), c.Address.Or(Unknown).words(),
		uint32(c.Options), c.Socket, uint32(c.Status))
}

// AppendLine appends the line of request 13 to dst, with its LF.
func (t *TrafficInfo) AppendLine(dst []byte) []byte {
	return fmt.Appendf(dst, "18 13 %s %d %d %d %d\n", t.Name, t.InPackets, t.InBytes, t.OutPackets, t.OutBytes)
}

// ParseNode reads a line of request 3.
func ParseNode(line string) (NodeInfo, error) {
	f := split(line, reqNodes)
	n := NodeInfo{
		Name:        f.name(),
		ID:          f.id(),
		Address:     f.address(),
		Cipher:      f.int(),
		Digest:      f.int(),
		MACLen:      f.int(),
		Compression: f.int(),
		Options:     wire.Options(f.hex()),
		Status:      NodeStatus(f.hex()),
		NextHop:     f.nameOrDash(),
		Via:         f.nameOrDash(),
		Distance:    f.int(),
		MTU:         f.int(),
		MinMTU:      f.int(),
		MaxMTU:      f.int(),
		Changed:     f.time(),
		RTT:         f.micros(),
		Counters:    f.counters(),
	}
	return n, f.done("node")
}

// ParseEdge reads a line of request 4.
func ParseEdge(line string) (EdgeInfo, error) {
	f := split(line, reqEdges)
	e := EdgeInfo{
		From:    f.name(),
		To:      f.name(),
		Address: f.address(),
		Local:   f.address(),
		Options: wire.Options(f.hex()),
		Weight:  f.int(),
	}
	return e, f.done("edge")
}

// ParseSubnet reads a line of request 5.
func ParseSubnet(line string) (SubnetInfo, error) {
	f := split(line, reqSubnets)
	var s SubnetInfo
	var err error
	if text := f.next(); f.err == nil {
		if s.Subnet, err = subnet.Parse(text); err != nil {
			f.err = err
		}
	}
	if owner := f.next(); f.err == nil && owner != broadcastOwner {
		if s.Owner, err = node.ParseName(owner); err != nil {
			f.err = err
		}
	}
	return s, f.done("subnet")
}

// ParseConn reads a line of request 6.
func ParseConn(line string) (ConnInfo, error) {
	f := split(line, reqConnections)
	c := ConnInfo{
		Name:    f.next(),
		Address: f.address(),
		Options: wire.Options(f.hex()),
		Socket:  f.int(),
		Status:  ConnStatus(f.hex()),
	}
	if c.Name == Unnamed {
		c.Name = ""
	}
	return c, f.done("connection")
}

// ParseTraffic reads a line of request 13.
func ParseTraffic(line string) (TrafficInfo, error) {
	f := split(line, reqTraffic)
	t := TrafficInfo{Name: f.name(), Counters: f.counters()}
	return t, f.done("traffic")
}

// fields are the words of a line that have not been read yet. The first error
// sticks, and every later read returns a zero value.
type fields struct {
	words []string
	err   error
}

// split takes the two leading numbers off the line.
func split(line string, typ int) *fields {
	f := &fields{words: strings.Fields(line)}
	if a, b := f.int(), f.int(); f.err == nil && (a != 18 || b != typ) {
		f.err = fmt.Errorf("it answers another request")
	}
	return f
}

// done reports the first error, or that words are left over.
func (f *fields) done(what string) error {
	if f.err == nil && len(f.words) > 0 {
		f.err = fmt.Errorf("%d words too many", len(f.words))
	}
	if f.err != nil {
		return fmt.Errorf("the daemon sent a malformed %s line: %w", what, f.err)
	}
	return nil
}

func (f *fields) next() string {
	if f.err != nil {
		return ""
	}
	if len(f.words) == 0 {
		f.err = fmt.Errorf("it is too short")
		return ""
	}
	w := f.words[0]
	f.words = f.words[1:]
	return w
}

func (f *fields) int() int {
	w := f.next()
	if f.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(w, 10, 32)
	if err != nil {
		f.err = fmt.Errorf("%.32q is not a number", w)
		return 0
	}
	return int(v)
}

func (f *fields) int64() int64 {
	w := f.next()
	if f.err != nil {
		return 0
	}
	v, err := strconv.ParseInt(w, 10, 64)
	if err != nil {
		f.err = fmt.Errorf("%.32q is not a number", w)
		return 0
	}
	return v
}

func (f *fields) uint64() uint64 {
	w := f.next()
	if f.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(w, 10, 64)
	if err != nil {
		f.err = fmt.Errorf("%.32q is not a count", w)
		return 0
	}
	return v
}

func (f *fields) hex() uint32 {
	w := f.next()
	if f.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(w, 16, 32)
	if err != nil {
		f.err = fmt.Errorf("%.32q is not a hexadecimal number", w)
		return 0
	}
	return uint32(v)
}

func (f *fields) name() node.Name {
	w := f.next()
	if f.err != nil {
		return ""
	}
	n, err := node.ParseName(w)
	if err != nil {
		f.err = err
	}
	return n
}

func (f *fields) nameOrDash() node.Name {
	if f.err == nil && len(f.words) > 0 && f.words[0] == "-" {
		f.next()
		return ""
	}
	return f.name()
}

func (f *fields) id() (id node.ID) {
	w := f.next()
	if f.err != nil {
		return id
	}
	b, err := hex.DecodeString(w)
	if err != nil || len(b) != len(id) {
		f.err = fmt.Errorf("%.32q is not a node id", w)
		return id
	}
	return node.ID(b)
}

func (f *fields) address() Address {
	host, port, number := f.next(), f.next(), f.next()
	if f.err == nil && port != "port" {
		f.err = fmt.Errorf("%.32q found where the word port was expected", port)
	}
	return Address{host, number}
}

func (f *fields) counters() Counters {
	return Counters{f.uint64(), f.uint64(), f.uint64(), f.uint64()}
}

func (f *fields) time() time.Time {
	if v := f.int64(); v != 0 {
		return time.Unix(v, 0)
	}
	return time.Time{}
}

// micros reads a duration; more than a day is cut, so that it cannot overflow.
func (f *fields) micros() time.Duration {
	v := f.int64()
	if v < 0 {
		return -1
	}
	return time.Duration(min(v, 86_400_000_000)) * time.Microsecond
}

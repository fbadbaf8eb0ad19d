package reconcile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A message is a header and parts:
//
//	 0         1        2            10                 26
//	┌─────────┬────────┬────────────┬──────────────────┬───────────┐
//	│ version │ flags  │ network 8  │ fingerprint of   │ parts ... │
//	│ 1       │ 1: ask │            │ the whole set 16 │           │
//	└─────────┴────────┴────────────┴──────────────────┴───────────┘
//
//	SUM   1 ‖ prefix ‖ sum                          what the sender has below the prefix
//	KIDS  2 ‖ prefix ‖ bits be16 ‖ sums             the same for each of its 16 children; those without a bit are empty
//	LIST  3 ‖ prefix ‖ n u8 ‖ n × (id 32, size be16)     all that the sender has below the prefix, ascending
//	HAVE  4 ‖ n u8 ‖ n × (id 32, size be16)         the sender has these; a size with bit 15 is that of an urgent item
//	WANT  5 ‖ n u8 ‖ n × (id 32, chunks u8)         please give these chunks of 1024 bytes (bit 0: the first)
//	GIVE  6 ‖ flags u8 (1: not asked for) ‖ id 32 ‖ size be16 ‖ chunk u8 ‖ its bytes     size 0: I do not have it
//
//	prefix: bit 7: of urgent items, bits 0 to 6: n nibbles ‖ (n+1)/2 bytes, filled with zeros
//	sum:    count uvarint, not 0 in KIDS ‖ fingerprint 16, none if the count is 0
//
// There is one encoding of each message, and the parser takes no other.

const (
	// MaxMessage is the longest message, in bytes.
	MaxMessage = 1100
	// MaxItem is the longest item, in bytes.
	MaxItem = 4096

	version   = 1
	headerLen = 26
	chunkLen  = 1024
	maxChunks = MaxItem / chunkLen
	// maxCount is the largest number of items that a neighbour is believed to have.
	maxCount = 1 << 30

	flagAsk     = 1 // please answer with your sums if ours are the same
	flagPushed  = 1
	urgentSize  = 1 << 15
	urgentClass = 1 << 7
)

// Network tells the messages of one network from those of another: the beginning of its id.
type Network [8]byte

type partKind byte

const (
	partSum  partKind = 1
	partKids partKind = 2
	partList partKind = 3
	partHave partKind = 4
	partWant partKind = 5
	partGive partKind = 6
)

// part is one of a message. Which fields it has depends on its kind.
type part struct {
	kind   partKind
	prefix prefix   // SUM, KIDS, LIST
	sum    sum      // SUM
	kids   *[16]sum // KIDS
	items  []Item   // LIST, HAVE; of one class in LIST
	wants  []want   // WANT
	give   give     // GIVE
}

type want struct {
	id     ID
	chunks byte // bit 0: the first
}

type give struct {
	pushed bool
	id     ID
	size   int // of the whole item, 0: the sender does not have it
	chunk  int
	bytes  []byte // shares the memory of the message
}

type message struct {
	ask     bool
	network Network
	root    fingerprint
	parts   []part
}

func appendHeader(dst []byte, ask bool, network Network, root fingerprint) []byte {
	flags := byte(0)
	if ask {
		flags = flagAsk
	}
	dst = append(dst, version, flags)
	dst = append(dst, network[:]...)
	return append(dst, root[:]...)
}

func (p prefix) append(dst []byte) []byte {
	head := p.depth
	if p.urgent {
		head |= urgentClass
	}
	return append(append(dst, head), p.id[:(p.depth+1)/2]...)
}

func (s sum) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.count))
	if s.count > 0 {
		dst = append(dst, s.print[:]...)
	}
	return dst
}

func appendItems(dst []byte, items []Item, class bool) []byte {
	dst = append(dst, byte(len(items)))
	for i := range items {
		size := uint16(items[i].Size)
		if class && items[i].Urgent {
			size |= urgentSize
		}
		dst = binary.BigEndian.AppendUint16(append(dst, items[i].ID[:]...), size)
	}
	return dst
}

func (p *part) append(dst []byte) []byte {
	dst = append(dst, byte(p.kind))
	switch p.kind {
	case partSum:
		return p.sum.append(p.prefix.append(dst))
	case partKids:
		dst = p.prefix.append(dst)
		at := len(dst)
		dst = append(dst, 0, 0)
		var set uint16
		for i, s := range p.kids {
			if s.count > 0 {
				set |= 1 << i
				dst = s.append(dst)
			}
		}
		binary.BigEndian.PutUint16(dst[at:], set)
		return dst
	case partList:
		return appendItems(p.prefix.append(dst), p.items, false)
	case partHave:
		return appendItems(dst, p.items, true)
	case partWant:
		dst = append(dst, byte(len(p.wants)))
		for i := range p.wants {
			dst = append(append(dst, p.wants[i].id[:]...), p.wants[i].chunks)
		}
		return dst
	default:
		g := &p.give
		flags := byte(0)
		if g.pushed {
			flags = flagPushed
		}
		dst = append(append(dst, flags), g.id[:]...)
		dst = binary.BigEndian.AppendUint16(dst, uint16(g.size))
		return append(append(dst, byte(g.chunk)), g.bytes...)
	}
}

// chunksOf is the set of all chunks of an item.
func chunksOf(size int) byte { return 1<<((size+chunkLen-1)/chunkLen) - 1 }

// chunkBounds is where a chunk of an item of that size begins and ends; both are the same if there is none.
func chunkBounds(size, chunk int) (from, to int) {
	return min(chunk*chunkLen, size), min((chunk+1)*chunkLen, size)
}

var (
	errShort     = errors.New("ends in the middle")
	errCanonical = errors.New("not in the one form that it can have")
)

// reader takes a message apart. The first failure sticks.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

var zeros [sha256Len]byte

const sha256Len = len(ID{})

// take returns the next n bytes, at most 32 zeros if they are not there.
func (r *reader) take(n int) []byte {
	if r.err == nil && n > len(r.rest) {
		r.fail(errShort)
	}
	if r.err != nil {
		return zeros[:min(n, len(zeros))]
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) prefix() prefix {
	head := r.byte()
	p := prefix{urgent: head&urgentClass != 0, depth: head &^ urgentClass}
	if p.depth >= maxDepth {
		r.fail(fmt.Errorf("a prefix of %d nibbles", p.depth))
		return prefix{}
	}
	copy(p.id[:], r.take(int(p.depth+1)/2))
	if p.depth%2 == 1 && p.id[p.depth/2]&15 != 0 {
		r.fail(errCanonical)
	}
	return p
}

func (r *reader) sum() sum {
	count, n := binary.Uvarint(r.rest)
	switch {
	case r.err != nil:
		return sum{}
	case n <= 0 || count > maxCount:
		r.fail(errors.New("bad count"))
		return sum{}
	case n > 1 && r.rest[n-1] == 0: // the same number is shorter without it
		r.fail(errCanonical)
		return sum{}
	}
	r.rest = r.rest[n:]
	s := sum{count: int(count)}
	if count > 0 {
		copy(s.print[:], r.take(len(s.print)))
	}
	return s
}

// items reads a list. With class sizes say which items are urgent; else all are of one kind, ascending and below p.
func (r *reader) items(p prefix, class bool) []Item {
	n := int(r.byte())
	if r.err != nil || n*(sha256Len+2) > len(r.rest) {
		r.fail(errShort)
		return nil
	}
	items := make([]Item, n)
	for i := range items {
		it := &items[i]
		copy(it.ID[:], r.take(sha256Len))
		size := binary.BigEndian.Uint16(r.take(2))
		it.Urgent = p.urgent
		if class {
			it.Urgent, size = size&urgentSize != 0, size&^urgentSize
		}
		it.Size = int(size)
		switch {
		case size == 0 || size > MaxItem:
			r.fail(fmt.Errorf("an item of %d bytes", size))
		case !class && (!p.covers(&it.ID) || i > 0 && compare(entry{id: items[i-1].ID}, entry{id: it.ID}) >= 0):
			r.fail(errCanonical)
		}
	}
	return items
}

func (r *reader) part() part {
	p := part{kind: partKind(r.byte())}
	switch p.kind {
	case partSum:
		p.prefix, p.sum = r.prefix(), r.sum()
	case partKids:
		p.prefix = r.prefix()
		p.kids = new([16]sum)
		set := binary.BigEndian.Uint16(r.take(2))
		for ; set != 0; set &= set - 1 {
			s := r.sum()
			if s.count == 0 {
				r.fail(errCanonical)
			}
			p.kids[bits.TrailingZeros16(set)] = s
		}
		if int(p.prefix.depth) == maxDepth-1 {
			r.fail(errors.New("children of the longest prefix"))
		}
	case partList:
		p.prefix = r.prefix()
		p.items = r.items(p.prefix, false)
	case partHave:
		p.items = r.items(prefix{}, true)
	case partWant:
		n := int(r.byte())
		if r.err == nil && n*(sha256Len+1) > len(r.rest) {
			r.fail(errShort)
		}
		if r.err != nil {
			break
		}
		p.wants = make([]want, n)
		for i := range p.wants {
			p.wants[i].id = ID(r.take(sha256Len))
			p.wants[i].chunks = r.byte()
			if c := p.wants[i].chunks; c == 0 || c >= 1<<maxChunks {
				r.fail(errCanonical)
			}
		}
	case partGive:
		flags := r.byte()
		g := &p.give
		g.pushed, g.id = flags&flagPushed != 0, ID(r.take(sha256Len))
		g.size, g.chunk = int(binary.BigEndian.Uint16(r.take(2))), int(r.byte())
		from, to := chunkBounds(g.size, g.chunk)
		switch {
		case flags&^flagPushed != 0 || g.pushed && g.size == 0 || g.size == 0 && g.chunk != 0:
			r.fail(errCanonical)
		case g.size > MaxItem || from == to && g.size > 0:
			r.fail(fmt.Errorf("chunk %d of an item of %d bytes", g.chunk, g.size))
		case r.err == nil && to-from > len(r.rest):
			r.fail(errShort)
		default:
			g.bytes = r.take(to - from)
		}
	default:
		r.fail(fmt.Errorf("unknown part %d", p.kind))
	}
	return p
}

// parse reads a message.
func parse(data []byte) (message, error) {
	if len(data) > MaxMessage {
		return message{}, fmt.Errorf("message of %d bytes, more than %d", len(data), MaxMessage)
	}
	r := reader{rest: data}
	if v := r.byte(); v != version && r.err == nil {
		return message{}, fmt.Errorf("message of version %d, not %d", v, version)
	}
	flags := r.byte()
	m := message{ask: flags&flagAsk != 0}
	copy(m.network[:], r.take(len(m.network)))
	copy(m.root[:], r.take(len(m.root)))
	if flags&^flagAsk != 0 {
		r.fail(errCanonical)
	}
	for r.err == nil && len(r.rest) > 0 {
		m.parts = append(m.parts, r.part())
	}
	if r.err != nil {
		return message{}, fmt.Errorf("message about the set: %w", r.err)
	}
	return m, nil
}

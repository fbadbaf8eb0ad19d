package compress

import (
	"encoding/binary"
	"sync"
)

// What the instructions of an LZO1X block can say about a match.
const (
	shortest    = 3 // a match of less does not pay
	nearLongest = 8 // of a match within nearDistance

	hashBits  = 12
	maxPacked = 4096 // packets are shorter; what is longer is written as it is
)

// packer finds repetitions. Positions count from one, so that zero means none.
type packer struct {
	last  [1 << hashBits]uint16 // by hash: the latest place
	older [maxPacked]uint16     // by place: the one before it with the same hash
}

var packers = sync.Pool{New: func() any { return new(packer) }}

// packLZO appends an LZO1X block with the contents of src to dst. It looks at so many
// earlier places for each match; from two on it also prefers a longer match that begins
// one byte later.
func packLZO(dst, src []byte, places int) []byte {
	if len(src) > maxPacked {
		return appendLiterals(dst, src)
	}
	p := packers.Get().(*packer)
	defer packers.Put(p)
	clear(p.last[:])

	w := blockWriter{out: dst, begin: len(dst)}
	done := 0 // what has been written
	for at := 0; at+shortest < len(src); {
		length, distance := p.find(src, at, places)
		p.enter(src, at)
		if length < shortest {
			at++
			continue
		}
		if places > 1 && at+1+shortest < len(src) {
			if later, _ := p.find(src, at+1, places); later > length+1 {
				at++
				continue
			}
		}
		w.literals(src[done:at])
		w.match(length, distance)
		end := at + length
		for at++; at < end; at++ {
			if at+shortest < len(src) {
				p.enter(src, at)
			}
		}
		done = end
	}
	w.literals(src[done:])
	return append(w.out, endMarker...)
}

// find returns the best match for src[at:], whose length is zero if there is none.
func (p *packer) find(src []byte, at, places int) (length, distance int) {
	gain := 0
	for from := int(p.last[hash(src[at:])]); from > 0 && places > 0; places-- {
		from--
		d, n := at-from, 0
		for at+n < len(src) && src[from+n] == src[at+n] {
			n++
		}
		if g := n - costOf(n, d); n >= shortest && g > gain {
			length, distance, gain = n, d, g
		}
		from = int(p.older[from])
	}
	return length, distance
}

// costOf is about how many bytes a match takes.
func costOf(length, distance int) int {
	if length <= nearLongest && distance <= nearDistance {
		return 2
	}
	return 3 + length/255
}

// enter makes the bytes at a place known to find.
func (p *packer) enter(src []byte, at int) {
	h := hash(src[at:])
	p.older[at] = p.last[h]
	p.last[h] = uint16(at + 1)
}

// hash of the first three of at least four bytes.
func hash(b []byte) uint32 {
	return (binary.LittleEndian.Uint32(b) << 8) * 0x9E3779B1 >> (32 - hashBits)
}

// blockWriter writes the instructions of a block.
type blockWriter struct {
	out   []byte
	begin int // length of out before the block
}

// literals writes that run is copied as it is.
func (w *blockWriter) literals(run []byte) {
	switch n := len(run); {
	case n == 0:
	case len(w.out) == w.begin && n <= longRun:
		w.out = append(w.out, byte(17+n))
	case n <= 3: // the match before them has room for their number
		w.out[len(w.out)-2] |= byte(n)
	case n <= 18:
		w.out = append(w.out, byte(n-3))
	default:
		w.out = appendCount(append(w.out, 0), n-18)
	}
	w.out = append(w.out, run...)
}

// match writes that length bytes are those that were put out distance bytes ago. The distance is at most
// maxPacked.
func (w *blockWriter) match(length, distance int) {
	d := distance - 1
	switch {
	case length <= nearLongest && distance <= nearDistance:
		w.out = append(w.out, byte((length-1)<<5|d&7<<2), byte(d>>3))
		return
	case length <= 33:
		w.out = append(w.out, byte(32|(length-2)))
	default:
		w.out = appendCount(append(w.out, 32), length-33)
	}
	w.out = append(w.out, byte(d<<2), byte(d>>6))
}

// appendCount appends n, which is not zero, as bytes that add up to it, the last of
// which is not zero and all others, which are, stand for 255.
func appendCount(dst []byte, n int) []byte {
	for ; n > 255; n -= 255 {
		dst = append(dst, 0)
	}
	return append(dst, byte(n))
}

// appendLiterals appends a block that holds src as it is.
func appendLiterals(dst, src []byte) []byte {
	w := blockWriter{out: dst, begin: len(dst)}
	w.literals(src)
	return append(w.out, endMarker...)
}

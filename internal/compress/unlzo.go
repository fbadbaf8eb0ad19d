package compress

// An LZO1X block is a sequence of instructions, each of which copies bytes of its own
// (literals) or bytes that have been put out already (a match).

const (
	endMarker    = "\x11\x00\x00"
	longRun      = 238   // literals that fit into the first byte of a block
	farDistance  = 16384 // where the far matches begin; that distance itself is the end
	nearDistance = 2048
)

// lzo is a decoder at work. It does not look beyond the ends of its slices: the
// first thing that does not fit makes it bad, and then nothing more happens.
type lzo struct {
	in    []byte
	out   []byte
	begin int // length of out before the block
	end   int // greatest length of out
	err   error
}

// unLZO appends the contents of the block in src to dst.
func unLZO(dst, src []byte, limit int) ([]byte, error) {
	d := lzo{in: src, out: dst, begin: len(dst), end: len(dst) + limit}
	state := d.first()
	for d.err == nil {
		var done bool
		if state, done = d.instruction(state); done {
			if len(d.in) > 0 {
				return dst, ErrCorrupt
			}
			return d.out, nil
		}
	}
	return dst, d.err
}

// afterRun is the state after a run of 4 literals or more; otherwise the state is
// how many literals the last instruction copied.
const afterRun = 4

// first handles the first byte of a block, which may stand for a run of literals.
func (d *lzo) first() (state int) {
	if len(d.in) == 0 || d.in[0] <= 17 {
		return 0
	}
	n := int(d.byte()) - 17
	d.literals(n)
	return min(n, afterRun)
}

// instruction carries out one instruction.
func (d *lzo) instruction(state int) (next int, done bool) {
	b := int(d.byte())
	var length, distance, tail int
	switch {
	case b < 16 && state == 0:
		d.literals(d.count(b, 15, 3))
		return afterRun, false
	case b < 16 && state < afterRun:
		length, distance = 2, int(d.byte())<<2+b>>2+1
		tail = b
	case b < 16:
		length, distance = 3, int(d.byte())<<2+b>>2+nearDistance+1
		tail = b
	case b < 32:
		length = d.count(b&7, 7, 2)
		word := d.word()
		distance = (b&8)<<11 + word>>2 + farDistance
		tail = word
		if distance == farDistance {
			return 0, d.err == nil
		}
	case b < 64:
		length = d.count(b&31, 31, 2)
		word := d.word()
		distance = word>>2 + 1
		tail = word
	case b < 128:
		length, distance = b>>5&1+3, int(d.byte())<<3+b>>2&7+1
		tail = b
	default:
		length, distance = b>>5&3+5, int(d.byte())<<3+b>>2&7+1
		tail = b
	}
	d.match(length, distance)
	d.literals(tail & 3)
	return tail & 3, false
}

// count returns the length that the bits of an instruction stand for: bits+base,
// or, if they are 0, as much as the bytes that follow add to limit+base.
func (d *lzo) count(bits, limit, base int) int {
	if bits != 0 {
		return bits + base
	}
	n := limit + base
	for d.err == nil {
		b := int(d.byte())
		if b != 0 {
			return n + b
		}
		if n += 255; n > d.end-d.begin {
			d.err = ErrTooLong
		}
	}
	return n
}

func (d *lzo) byte() byte {
	if len(d.in) == 0 {
		d.fail(ErrCorrupt)
		return 0
	}
	b := d.in[0]
	d.in = d.in[1:]
	return b
}

func (d *lzo) word() int {
	low := int(d.byte())
	return low | int(d.byte())<<8
}

func (d *lzo) literals(n int) {
	switch {
	case d.err != nil:
	case n > len(d.in):
		d.fail(ErrCorrupt)
	case n > d.end-len(d.out):
		d.fail(ErrTooLong)
	default:
		d.out = append(d.out, d.in[:n]...)
		d.in = d.in[n:]
	}
}

// match copies n bytes that were put out distance bytes ago; the two places may
// overlap.
func (d *lzo) match(n, distance int) {
	switch {
	case d.err != nil:
	case distance > len(d.out)-d.begin:
		d.fail(ErrCorrupt)
	case n > d.end-len(d.out):
		d.fail(ErrTooLong)
	default:
		for range n {
			d.out = append(d.out, d.out[len(d.out)-distance])
		}
	}
}

func (d *lzo) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

package sptps

// DefaultWindow is the width of the replay window of a tunnel, in records.
// tinc's own default, 128, is too narrow for the bursts of fast links; the
// width is a matter of the receiver alone.
const DefaultWindow = 4096

// Window keeps a receiver from accepting a record number twice. It is the
// algorithm of tinc 1.1: a bitmap of the numbers after the next expected one,
// and a count of records that jumped beyond it.
type Window struct {
	width  uint64   // records; 0 accepts everything
	next   uint64   // next expected number
	far    int      // jumps beyond the window in a row
	maxFar int      // jumps that are refused before one is believed
	late   []uint64 // bitmap by number modulo width: 1 is not yet received
}

// newWindow has the width in records. maxFar is 0 in tunnels: whatever gets as
// far as the window has authenticated, so a jump means that records were lost,
// and refusing more of them would help nobody.
func newWindow(width int, next uint32, maxFar int) Window {
	return Window{
		width:  uint64(width),
		next:   uint64(next),
		maxFar: maxFar,
		late:   make([]uint64, (width+63)/64),
	}
}

// Check tells whether Accept would accept number.
func (w *Window) Check(number uint32) bool {
	q := uint64(number)
	switch {
	case w.width == 0 || q == w.next:
		return true
	case q >= w.next+w.width:
		return w.far >= w.maxFar
	case q < w.next:
		tooOld := w.next >= w.width && q < w.next-w.width
		return !tooOld && w.isLate(q)
	}
	return true
}

// Accept tells whether number is new, and remembers it. It must be called with
// authenticated numbers only.
func (w *Window) Accept(number uint32) bool {
	q := uint64(number)
	if w.width == 0 {
		w.next = max(w.next, q+1)
		return true
	}
	ok := w.Check(number)
	switch {
	case q >= w.next+w.width:
		w.far++
		if !ok {
			return false
		}
		for i := range w.late {
			w.late[i] = ^uint64(0)
		}
	case !ok:
		return false
	default:
		for i := w.next; i < q; i++ {
			w.late[i%w.width/64] |= 1 << (i % w.width % 64)
		}
	}
	w.late[q%w.width/64] &^= 1 << (q % w.width % 64)
	w.far = 0
	w.next = max(w.next, q+1)
	return true
}

func (w *Window) isLate(q uint64) bool {
	return w.late[q%w.width/64]>>(q%w.width%64)&1 == 1
}

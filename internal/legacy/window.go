package legacy

// window keeps a receiver from accepting a packet number twice. It is the
// algorithm of tinc 1.0.
type window struct {
	width  uint64 // packets, a multiple of 8; 0 accepts everything
	last   uint64 // greatest number that was accepted
	far    int    // packets beyond the window in a row
	maxFar int    // of these, how many are refused before one is believed
	late   []byte // a bit for each number modulo width: 1 was skipped and may still come
}

// newWindow returns a window for width packets, rounded up to a multiple of 8.
func newWindow(width int) window {
	n := (max(width, 0) + 7) / 8
	return window{width: uint64(8 * n), maxFar: n / 4, late: make([]byte, n)}
}

// accept tells whether a number is new, and remembers it. It must be asked about
// authenticated packets only.
func (w *window) accept(number uint32) bool {
	s := uint64(number)
	if w.width == 0 {
		w.last = max(w.last, s)
		return true
	}
	switch {
	case s == w.last+1:
	case s >= w.last+w.width:
		if w.far++; w.far <= w.maxFar {
			return false
		}
		clear(w.late)
	case s <= w.last:
		if w.last >= w.width && s <= w.last-w.width || !w.isLate(s) {
			return false
		}
	default:
		for i := w.last + 1; i < s; i++ {
			w.late[i%w.width/8] |= 1 << (i % 8)
		}
	}
	w.far = 0
	w.late[s%w.width/8] &^= 1 << (s % 8)
	w.last = max(w.last, s)
	return true
}

func (w *window) isLate(s uint64) bool { return w.late[s%w.width/8]>>(s%8)&1 == 1 }

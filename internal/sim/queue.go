package sim

// queue holds what is to happen, as a heap with four children to each node: most of
// the time of a large simulation would otherwise go by in it.
type queue []item

type item struct {
	at  int64 // nanoseconds since 1970
	seq uint64
	fn  func()
}

func (a *item) before(b *item) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (q *queue) push(it item) {
	*q = append(*q, it)
	h := *q
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !it.before(&h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = it
}

// pop takes out the earliest item.
func (q *queue) pop() item {
	h := *q
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = item{}
	h = h[:len(h)-1]
	*q = h
	i := 0
	for {
		child := 4*i + 1
		if child >= len(h) {
			break
		}
		for j := child + 1; j < min(child+4, len(h)); j++ {
			if h[j].before(&h[child]) {
				child = j
			}
		}
		if !h[child].before(&last) {
			break
		}
		h[i] = h[child]
		i = child
	}
	if len(h) > 0 {
		h[i] = last
	}
	return first
}

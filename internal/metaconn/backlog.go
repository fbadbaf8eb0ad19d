package metaconn

import "strings"

// backlog holds requests that wait unsealed for a peer that reads slowly. Where a newer one says
// what became of the same edge or subnet it takes the place of the older one, so what waits is
// bounded by what there is to know, however much happens meanwhile.
type backlog struct {
	texts []string
	first int            // what is before has been taken
	place map[string]int // by subject
	bytes int
}

const (
	// holdBack is how many sealed bytes may wait before further requests go into the backlog.
	holdBack = 64 << 10
	// requestCost is what a request costs besides its text, in bytes.
	requestCost = 32
	// manyTaken is how many requests have to be taken before their room is worth having back.
	manyTaken = 1024
)

func (b *backlog) empty() bool { return b.first == len(b.texts) }

// put adds a request.
func (b *backlog) put(text string) {
	s := subject(text)
	if s != "" {
		if i, ok := b.place[s]; ok {
			b.bytes += len(text) - len(b.texts[i])
			b.texts[i] = text
			return
		}
		if b.place == nil {
			b.place = map[string]int{}
		}
		b.place[s] = len(b.texts)
	}
	b.texts = append(b.texts, text)
	b.bytes += len(text) + requestCost
}

// take removes the oldest request.
func (b *backlog) take() string {
	text := b.texts[b.first]
	b.texts[b.first] = ""
	b.first++
	b.bytes -= len(text) + requestCost
	if s := subject(text); s != "" {
		delete(b.place, s)
	}
	switch {
	case b.empty():
		*b = backlog{}
	case b.first >= manyTaken && b.first >= len(b.texts)/2:
		b.compact()
	}
	return text
}

// compact lets go of the room of what has been taken: with a peer that is always a little behind
// the backlog is never empty.
func (b *backlog) compact() {
	n := copy(b.texts, b.texts[b.first:])
	clear(b.texts[n:])
	b.texts = b.texts[:n]
	for s := range b.place {
		b.place[s] -= b.first
	}
	b.first = 0
}

// subject is what a request tells of if a later one about the same makes it worthless, "" if
// there is no such thing. The words of such a request are KIND NONCE and what it is about.
func subject(text string) string {
	word := func() (w string) {
		w, text, _ = strings.Cut(text, " ")
		return w
	}
	switch kind := word(); kind {
	case "10", "11": // ADD_SUBNET, DEL_SUBNET
		word()
		return "subnet " + word() + " " + word()
	case "12", "13": // ADD_EDGE, DEL_EDGE
		word()
		return "edge " + word() + " " + word()
	}
	return ""
}

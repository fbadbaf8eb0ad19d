package members

import (
	"sync"

	"tincan/internal/node"
)

// share is how many messages of one node may wait. More are dropped: the exchange starts again by itself.
const share = 128

// message is one of another node.
type message struct {
	from node.Name
	data []byte
}

// inbox holds messages of other nodes until they are taken in. All nodes have the same share of it and get their turns, so
// one that sends very much delays and displaces nobody's messages but its own. It is safe for concurrent use.
type inbox struct {
	some chan struct{} // one token: there may be something

	mu    sync.Mutex
	from  map[node.Name][][]byte // the oldest first; of nodes that have some
	turns []node.Name            // of these, the next first
}

func newInbox() *inbox {
	return &inbox{some: make(chan struct{}, 1), from: map[node.Name][][]byte{}}
}

// put adds a message, or drops it if its sender has too many there. It never blocks.
func (b *inbox) put(m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.from[m.from]
	if len(list) >= share {
		return
	}
	if len(list) == 0 {
		b.turns = append(b.turns, m.from)
	}
	b.from[m.from] = append(list, m.data)
	b.more()
}

// more says that there may be something.
func (b *inbox) more() {
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// take returns the oldest message of the node whose turn it is, and false if there is none.
func (b *inbox) take() (message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.turns) == 0 {
		return message{}, false
	}
	from := b.turns[0]
	list := b.from[from]
	b.turns = b.turns[1:]
	if len(list) > 1 {
		b.from[from] = list[1:]
		b.turns = append(b.turns, from)
	} else {
		delete(b.from, from)
	}
	return message{from, list[0]}, true
}

package daemon

import (
	"cmp"
	"slices"
	"sync"

	"tincan/internal/node"
)

// claims are the claims of others to addresses of ours that nothing has been decided about. There is one of each claimant to
// each address, for as long as the claimant can be reached, so the bounds of the protocol core are theirs: nobody who
// makes up claimants keeps another one out.
type claims struct {
	mu    sync.Mutex
	asked map[addressConflict]uint64 // when the claimant was asked last for a proof that it exists, in rounds; 0: never
	round uint64
	// fresh has something when there may be claims that were not looked at.
	fresh chan struct{}
}

// askedAtOnce is how many claimants are asked in one round for a proof that they exist. Each costs a handshake.
const askedAtOnce = 16

func newClaims() *claims {
	return &claims{asked: map[addressConflict]uint64{}, fresh: make(chan struct{}, 1)}
}

// add adds a claim. It never blocks.
func (l *claims) add(c addressConflict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.asked[c]; ok {
		return
	}
	l.asked[c] = 0
	poke(l.fresh)
}

// remove removes a claim that is decided, or is made no longer.
func (l *claims) remove(c addressConflict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asked, c)
}

// some tells whether there are any.
func (l *claims) some() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.asked) > 0
}

// all are the claims of now, in no order.
func (l *claims) all() []addressConflict {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]addressConflict, 0, len(l.asked))
	for c := range l.asked {
		list = append(list, c)
	}
	return list
}

// next chooses among claimants that have not proved that they exist those who are asked for it in this round: who has
// waited for longest.
func (l *claims) next(unproved []addressConflict) (owners []node.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.round++
	slices.SortFunc(unproved, func(a, b addressConflict) int { return cmp.Compare(l.asked[a], l.asked[b]) })
	for _, c := range unproved[:min(len(unproved), askedAtOnce)] {
		if _, ok := l.asked[c]; ok {
			l.asked[c] = l.round
			owners = append(owners, c.owner)
		}
	}
	return owners
}

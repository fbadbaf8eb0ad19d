// Package reconcile brings the sets of two nodes into agreement, at a cost in proportion to what they differ in, by
// small messages that may be lost, doubled, delayed and reordered.
//
// It knows nothing of what the items say: the owner of the set judges them ([Set.Offer]). It has no clock, no
// goroutines and no files: time is an argument, messages come back from [Reconciler.Flush], and [Reconciler.Next] says when
// to call [Reconciler.Tick].
//
// How it works. Each node keeps its ids in a tree of 16 branches a level, each with a hash. Every message carries the
// hash of the whole set, so neighbours that agree know it, and are silent but for a SUM a minute. Those that differ go down
// the tree where the hashes differ, one message a level, until one lists the few ids that it has there; then
// each asks for what it lacks:
//
//	alice                              bob, who lacks one of 10,000
//	SUM  the whole           ────────►
//	                         ◄────────  KIDS  of the whole
//	KIDS of what differs     ────────►
//	                         ◄────────  KIDS  of what differs
//	LIST 3 ids               ────────►
//	                         ◄────────  WANT  1 id
//	GIVE the item            ────────►
//	                         ◄────────  SUM   the whole: the same again
//
// Who is asked keeps nothing in mind; who asks keeps a bounded list, waits a bounded time, and begins again with a SUM if
// something was lost. A new item is announced to the other neighbours (HAVE). An urgent one is pushed to them whole, and they
// pass it on; whatever differs in urgent items is brought into agreement before the rest.
//
// What a neighbour may cost is bounded: messages a second, bytes of answers a second, items that were not worth their
// bytes or were claimed and not given, and a few kilobytes of memory.
package reconcile

import (
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/rate"
)

// Item is what is known of an item without its bytes.
type Item struct {
	ID     ID
	Size   int // bytes, 1 to MaxItem
	Urgent bool
}

// ItemOf describes an item.
func ItemOf(item []byte, urgent bool) Item {
	return Item{ID: IDOf(item), Size: len(item), Urgent: urgent}
}

// Verdict is what the owner of a set thinks of an item that was offered.
type Verdict uint8

const (
	Refused  Verdict = iota // worth nothing, or superseded
	Early                   // cannot be judged yet: to be offered again when urgent items have been added
	Accepted                // it is in the set, or what it says is
)

// Change is what was added to a set and what was taken out of it.
type Change struct {
	Added []Item
	Gone  []ID
}

// Set is the items of a node. All sets agree in the end if what is in them depends only on what has been offered, not on
// the order: Offer has to be a merge that is commutative, associative and idempotent.
type Set interface {
	// Get returns the bytes of an item, nil if it is not in the set. They are not changed, and not kept.
	Get(ID) []byte
	// Offer judges an item, whose id has been checked, and takes it in if it is good. The result says what has changed in
	// the set, which may be several items or none. The set may keep item. Offer does not call the Reconciler.
	Offer(item []byte) (Verdict, Change)
}

// Out is a message to a neighbour.
type Out struct {
	To     node.Name
	Data   []byte // at most MaxMessage bytes, owned by the receiver
	Urgent bool   // it should overtake whatever waits
}

// The waits. They suit round trips of up to some seconds.
const (
	// settle is how long a set must have been quiet before a SUM tells neighbours about it, and maxUnsettled how long
	// it is put off at most.
	settle       = 300 * time.Millisecond
	maxUnsettled = 5 * time.Second
	// announceEvery is the shortest wait between two HAVE for a neighbour.
	announceEvery = 100 * time.Millisecond
	// minRetry and maxRetry are the waits before another SUM while a neighbour does not agree; they double.
	minRetry = time.Second
	maxRetry = 5 * time.Minute
	// idle is how long neighbours that agree are silent, at least; up to half of it is added.
	idle = time.Minute
	// crossed is how recent a SUM of ours is that may have met one from the other end on the way.
	crossed = time.Second
	// stalled is how long answers to questions about the tree are waited for.
	stalled = time.Second
	// forget is after how long an item that was not worth having may be asked for again.
	forget = 10 * time.Minute
)

// maxUseless is how many ids of items not worth having are remembered, in each of two generations.
const maxUseless = 1024

// Reconciler keeps one set in agreement with those of its neighbours. It is not safe for concurrent use.
type Reconciler struct {
	self    node.Name
	network Network
	set     Set

	urgent, ordinary tree
	root             fingerprint // of both
	changed          time.Time   // when root changed last

	neighbours map[node.Name]*neighbour
	order      []*neighbour      // by name
	asked      map[ID]*neighbour // who has been asked for an item
	useless    [2]map[ID]bool    // offered and not in the set; true: it was early. The first is the younger
	turned     time.Time         // when the generations of useless changed
	given      map[ID]*neighbour // who gave an item that the set has accepted and will tell us of with Changed
	out        []Out
}

// New returns a Reconciler without neighbours, for an empty set; see [Reconciler.Changed].
func New(self node.Name, network Network, set Set) *Reconciler {
	r := &Reconciler{
		self: self, network: network, set: set,
		neighbours: map[node.Name]*neighbour{}, asked: map[ID]*neighbour{},
		useless: [2]map[ID]bool{{}, {}}, given: map[ID]*neighbour{},
	}
	r.root = rootOf(&r.urgent, &r.ordinary)
	return r
}

// Len is the number of items.
func (r *Reconciler) Len() int { return r.urgent.root.count + r.ordinary.root.count }

// Changed says what the owner has changed in the set, other than by [Set.Offer]. New items are announced, urgent ones
// pushed. At the start it is called with all items, before there are neighbours.
func (r *Reconciler) Changed(now time.Time, c Change) {
	r.apply(now, c, nil)
	r.finish(now)
}

// Join adds a neighbour. One that exists begins anew.
func (r *Reconciler) Join(now time.Time, name node.Name) {
	r.Leave(name)
	n := &neighbour{r: r, name: name, outstanding: map[ID]*request{}}
	n.phase = phase(r.self, name)
	r.neighbours[name] = n
	i, _ := slices.BinarySearchFunc(r.order, name, byName)
	r.order = slices.Insert(r.order, i, n)
	n.sendRoot(now)
	n.flush(now)
}

// Leave removes a neighbour, if there is one of that name.
func (r *Reconciler) Leave(name node.Name) {
	n := r.neighbours[name]
	if n == nil {
		return
	}
	for _, q := range n.outstanding {
		n.release(q)
	}
	delete(r.neighbours, name)
	r.order = slices.DeleteFunc(r.order, func(o *neighbour) bool { return o == n })
	r.out = slices.DeleteFunc(r.out, func(o Out) bool { return o.To == name })
}

func byName(n *neighbour, name node.Name) int {
	switch {
	case n.name < name:
		return -1
	case n.name > name:
		return 1
	}
	return 0
}

// Handle takes in a message. One from a node that is no neighbour is dropped, as is one beyond what a neighbour may
// cost. An error says that the message was wrong; nothing needs to be done about it.
func (r *Reconciler) Handle(now time.Time, from node.Name, data []byte) error {
	n := r.neighbours[from]
	if n == nil || !n.messages.Take(messageLimit, now) {
		return nil
	}
	m, err := parse(data)
	if err != nil {
		n.fault(now)
		return err
	}
	if m.network != r.network {
		return ErrOtherNetwork
	}
	root := r.root
	n.handle(now, &m)
	n.flush(now)
	if r.root != root {
		r.finish(now)
	}
	return nil
}

// Tick does what is due. It may be called at any time.
func (r *Reconciler) Tick(now time.Time) {
	if now.Sub(r.turned) >= forget {
		r.turnUseless(now)
	}
	for _, n := range r.order {
		n.tick(now)
	}
	r.finish(now)
}

// Next is when Tick is to be called at the latest, the zero time if never.
func (r *Reconciler) Next() time.Time {
	var next time.Time
	for _, n := range r.order {
		next = earlier(next, n.due())
	}
	return next
}

// earlier is the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Flush returns the messages that are to be sent, in this order.
func (r *Reconciler) Flush() []Out {
	out := r.out
	r.out = nil
	return out
}

// Neighbour is how it stands with a neighbour.
type Neighbour struct {
	Name   node.Name
	Agrees bool // its set was the same as ours when it last said something
	Wanted int  // items that it is known to have and we have not
	Spared bool // it is asked for nothing for a while, since it has sent too much that is worth nothing
}

// Neighbours returns them by name.
func (r *Reconciler) Neighbours(now time.Time) []Neighbour {
	list := make([]Neighbour, len(r.order))
	for i, n := range r.order {
		list[i] = Neighbour{
			Name: n.name, Agrees: n.known == r.root,
			Wanted: len(n.wanted) + len(n.outstanding), Spared: n.spared(now),
		}
	}
	return list
}

// finish completes the messages to all neighbours.
func (r *Reconciler) finish(now time.Time) {
	for _, n := range r.order {
		n.flush(now)
	}
}

func (r *Reconciler) tree(urgent bool) *tree {
	if urgent {
		return &r.urgent
	}
	return &r.ordinary
}

// find returns the item with an id, if it is in the set.
func (r *Reconciler) find(id *ID) (Item, bool) {
	for _, urgent := range []bool{true, false} {
		if e, ok := r.tree(urgent).find(id); ok {
			return Item{ID: e.id, Size: int(e.size), Urgent: urgent}, true
		}
	}
	return Item{}, false
}

// lacks tells whether an item is worth asking for.
func (r *Reconciler) lacks(id *ID) bool {
	if _, ok := r.find(id); ok {
		return false
	}
	for _, generation := range r.useless {
		if _, ok := generation[*id]; ok {
			return false
		}
	}
	return true
}

// turnUseless forgets the older generation.
func (r *Reconciler) turnUseless(now time.Time) {
	r.useless[0], r.useless[1] = map[ID]bool{}, r.useless[0]
	r.turned = now
}

// apply follows a change of the set. from gave us the items, nil: nobody did.
func (r *Reconciler) apply(now time.Time, c Change, from *neighbour) {
	moved, urgent := false, false
	for i := range c.Gone {
		moved = r.urgent.remove(&c.Gone[i]) || r.ordinary.remove(&c.Gone[i]) || moved
	}
	var added []Item
	for _, it := range c.Added {
		if it.Size <= 0 || it.Size > MaxItem {
			continue // nobody would take it
		}
		if _, ok := r.find(&it.ID); ok {
			continue
		}
		r.tree(it.Urgent).insert(entry{it.ID, uint16(it.Size)})
		added = append(added, it)
		moved, urgent = true, urgent || it.Urgent
	}
	if !moved {
		return
	}
	r.root = rootOf(&r.urgent, &r.ordinary)
	r.changed = now
	if urgent {
		for _, generation := range r.useless {
			for id, early := range generation {
				if early {
					delete(generation, id)
				}
			}
		}
	}
	for _, n := range r.order {
		n.setChanged(now, urgent)
		if n != from && n.known != r.root {
			for _, it := range added {
				if r.given[it.ID] != n {
					n.tell(it)
				}
			}
		}
	}
	for _, it := range added {
		delete(r.given, it.ID)
	}
}

// offer hands an item from a neighbour to the set.
func (r *Reconciler) offer(now time.Time, from *neighbour, it Item, item []byte) {
	verdict, change := r.set.Offer(item)
	r.apply(now, change, from)
	if _, ok := r.find(&it.ID); !ok {
		if len(r.useless[0]) >= maxUseless {
			r.turnUseless(now)
		}
		r.useless[0][it.ID] = verdict == Early
		if verdict == Early {
			from.keepEarly(it)
		}
		if verdict != Accepted {
			from.fault(now)
			return
		}
		if len(r.given) >= maxUseless {
			clear(r.given)
		}
		r.given[it.ID] = from
	}
}

// The limits of a neighbour.
var (
	// messageLimit is for messages that we have not asked for.
	messageLimit = rate.Limit{Burst: 1000, Every: 4 * time.Millisecond}
	// pushLimit is for items that it pushes.
	pushLimit = rate.Limit{Burst: 64, Every: 50 * time.Millisecond}
	// faultLimit is for items that were worth nothing, not given, or not what they were said to be.
	faultLimit = rate.Limit{Burst: 64, Every: time.Second}
	// answerLimit is for bytes of our answers, by the KiB.
	answerLimit = rate.Limit{Burst: 256, Every: time.Second / 1024}
)

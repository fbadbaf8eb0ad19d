// Package membership keeps the roster of a node in agreement with those of its neighbours: it
// joins the set of statements (package roster) with the exchange of sets (package reconcile).
//
// It has no clock, no goroutines and no files: time is an argument, and what is to be sent comes
// back from [Keeper.Flush]. The daemon and the simulator drive it in the same way.
package membership

import (
	"bytes"
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
)

// Keeper is the roster of a node and its exchange with the neighbours. It is not safe for
// concurrent use.
type Keeper struct {
	roster *roster.Roster
	rec    *reconcile.Reconciler

	ids   []roster.ID // what the reconciler knows of, sorted
	dirty bool        // statements were added that have not been judged
	near  []node.Name // the neighbours, sorted
	whole bool        // see Whole

	same   time.Time     // since when a neighbour has had the same all the time, while not whole; zero: none has
	sameAs *roster.State // what that says
	looked time.Time     // when that was looked at last
}

// A neighbour may be fetching the roster itself, and have the same part of it. So it counts as the whole only when that has
// been so for a while: for wholeAfter if all neighbours have the same, for wholeAnyway whatever the others say.
const (
	wholeAfter  = time.Second
	wholeAnyway = 5 * time.Second
)

// New returns a Keeper of r, which belongs to it from now on, without neighbours.
func New(self node.Name, r *roster.Roster, now time.Time) *Keeper {
	network := r.Network()
	k := &Keeper{roster: r, whole: !r.State().Root.IsZero()}
	k.rec = reconcile.New(self, reconcile.Network(network[:8]), (*set)(k))
	k.dirty = true
	k.settle(now)
	return k
}

// Roster returns the roster. It must not be changed, nor used after the next call of another
// method: see [roster.Roster.Clone].
func (k *Keeper) Roster() *roster.Roster { return k.roster }

// State returns what the roster says. It is another pointer after each change.
func (k *Keeper) State() *roster.State { return k.roster.State() }

// Whole tells whether the roster is more than a part that is being fetched: it had a genesis at the start, as it has when
// it comes from a file, or was the same as a neighbour's for some time since. A part must not be used: it would keep out those who have the rest.
func (k *Keeper) Whole() bool { return k.whole }

// SetNeighbours says with whom the roster is exchanged from now on.
func (k *Keeper) SetNeighbours(now time.Time, names []node.Name) {
	names = slices.Sorted(slices.Values(names))
	for _, n := range k.near {
		if _, stays := slices.BinarySearch(names, n); !stays {
			k.rec.Leave(n)
		}
	}
	for _, n := range names {
		if _, known := slices.BinarySearch(k.near, n); !known {
			k.rec.Join(now, n)
		}
	}
	k.near = names
}

// Restart begins the exchange with a neighbour anew: there is another connection to it.
func (k *Keeper) Restart(now time.Time, name node.Name) {
	if _, known := slices.BinarySearch(k.near, name); known {
		k.rec.Join(now, name)
	}
}

// Receive takes in a message of a neighbour. An error says what is wrong with it; nothing has
// to be done about that.
func (k *Keeper) Receive(now time.Time, from node.Name, data []byte) error {
	return k.rec.Handle(now, from, data)
}

// Merge adds statements of this node's own, and passes them on.
func (k *Keeper) Merge(now time.Time, raws [][]byte) []roster.Result {
	results := k.roster.Merge(raws)
	k.dirty = true
	k.settle(now)
	return results
}

// Next is when [Keeper.Tick] has to be called at the latest, zero if never.
func (k *Keeper) Next() time.Time {
	next := k.rec.Next()
	if !k.whole && !k.same.IsZero() {
		for _, at := range []time.Time{k.same.Add(wholeAfter), k.same.Add(wholeAnyway)} {
			if at.After(k.looked) && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
	}
	return next
}

// Tick does what is due.
func (k *Keeper) Tick(now time.Time) { k.rec.Tick(now) }

// Flush judges what has come in, and returns what is to be sent, in this order.
func (k *Keeper) Flush(now time.Time) []reconcile.Out {
	k.settle(now)
	if !k.whole && !k.State().Root.IsZero() {
		k.whole = k.isWhole(now)
	}
	return k.rec.Flush()
}

// isWhole tells whether what there is may be taken for the whole.
func (k *Keeper) isWhole(now time.Time) bool {
	some, all := false, true
	for _, n := range k.rec.Neighbours(now) {
		some, all = some || n.Agrees, all && n.Agrees
	}
	k.looked = now
	if !some {
		k.same = time.Time{}
		return false
	}
	if state := k.State(); k.same.IsZero() || state != k.sameAs {
		k.same, k.sameAs = now, state
	}
	since := now.Sub(k.same)
	return since >= wholeAnyway || all && since >= wholeAfter
}

// Neighbours tells how it stands with the neighbours, by name.
func (k *Keeper) Neighbours(now time.Time) []reconcile.Neighbour { return k.rec.Neighbours(now) }

// settle tells the reconciler what has changed since the last time.
func (k *Keeper) settle(now time.Time) {
	if !k.dirty {
		return
	}
	if c := k.difference(); len(c.Added)+len(c.Gone) > 0 {
		k.rec.Changed(now, c)
	}
}

// difference is what has changed in the roster since the reconciler was told the last time. A statement has the same id in
// both: the SHA-256 of its bytes.
func (k *Keeper) difference() (c reconcile.Change) {
	k.dirty = false
	was, is := k.ids, k.roster.IDs()
	k.ids = is
	for len(was) > 0 || len(is) > 0 {
		order := 0
		switch {
		case len(is) == 0:
			order = -1
		case len(was) == 0:
			order = 1
		default:
			order = bytes.Compare(was[0][:], is[0][:])
		}
		switch {
		case order < 0:
			c.Gone = append(c.Gone, reconcile.ID(was[0]))
			was = was[1:]
		case order > 0:
			raw := k.roster.Get(is[0])
			c.Added = append(c.Added, reconcile.Item{ID: reconcile.ID(is[0]), Size: len(raw), Urgent: urgent(raw)})
			is = is[1:]
		default:
			was, is = was[1:], is[1:]
		}
	}
	return c
}

// urgent tells whether a statement overtakes others: removals, and whose statements count.
func urgent(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	switch roster.Kind(raw[0]) {
	case roster.KindGenesis, roster.KindOwners, roster.KindRecovery, roster.KindRemoval:
		return true
	}
	return false
}

// set is the roster as the reconciler sees it.
type set Keeper

// Get returns a stored statement, nil if there is none.
func (s *set) Get(item reconcile.ID) []byte { return s.roster.Get(roster.ID(item)) }

// Offer verifies a statement of a neighbour. What is not urgent is judged together with others:
// see [Keeper.Flush].
func (s *set) Offer(item []byte) (reconcile.Verdict, reconcile.Change) {
	k := (*Keeper)(s)
	k.dirty = true
	if !urgent(item) {
		if err := k.roster.Offer(item); err != nil {
			return reconcile.Refused, reconcile.Change{}
		}
		return reconcile.Accepted, reconcile.Change{}
	}
	result, err := k.roster.Add(item)
	verdict := reconcile.Accepted
	switch {
	case err != nil:
		verdict = reconcile.Refused
	case result.Outcome == roster.Waiting:
		verdict = reconcile.Early
	}
	return verdict, k.difference()
}

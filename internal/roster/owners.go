package roster

import (
	"cmp"
	"slices"

	"tincan/internal/keys"
)

// Limits of the history of owners.
const (
	maxRoots = 64   // recoveries one after the other
	maxLists = 1024 // lists of owners since the last of them

	// maxVotes is how many different successors of one list an owner may sign. More are kept
	// only if they are in force together with others.
	maxVotes = 4
)

// root is where a history of owners begins: a genesis or a recovery.
type root struct {
	id       ID
	recovery keys.PublicKey
	owners   *OwnerList
}

// history is the way from the genesis to the owners of today.
type history struct {
	root      root
	list      ID
	owners    *OwnerList
	proposals []*Proposal
	conflicts []Conflict
	lists     []*List // from the root on
}

// List is a list of owners that is or was in force.
type List struct {
	ID ID
	OwnerList
	Root    bool             // a genesis or a recovery: nothing that was signed before can undo it
	Signers []keys.PublicKey // owners of the list before who have signed it, the most senior first; of a root none
}

// ballot is a list of owners and who has signed it.
type ballot struct {
	list  ID
	votes []*entry // by different owners of the list before, the most senior first
}

// followRoots goes from the genesis along the recoveries, each signed by the recovery key of
// the one before. It returns nothing if there is no genesis.
//
// A recovery begins anew, and all lists of owners that were signed after the root before it
// are void. So whoever holds a stolen owner key can not put anything beside or behind it.
func (r *Roster) followRoots() (roots []root) {
	for _, e := range r.kinds[KindGenesis] { // there is one at most: its id is the network's
		g := e.Content.(*Genesis)
		e.keep()
		roots = append(roots, root{id: e.id, recovery: g.Recovery, owners: &g.OwnerList})
	}
	for range maxRoots * len(roots) {
		next := r.recoveryAfter(roots[len(roots)-1])
		if next == nil {
			break
		}
		c := next.Content.(*Recovery)
		next.keep()
		roots = append(roots, root{id: next.id, recovery: c.Recovery, owners: &c.OwnerList})
	}
	return roots
}

// recoveryAfter returns the recovery that follows a root, nil if none does. One signer has one
// slot for each root, so there is never a second one.
func (r *Roster) recoveryAfter(at root) *entry {
	for _, e := range r.kinds[KindRecovery] {
		if e.Content.(*Recovery).Root == at.id && e.Signer == at.recovery {
			return e
		}
	}
	return nil
}

// followOwners goes from a root along the lists of owners, each signed by enough owners of the
// one before.
func (r *Roster) followOwners(at root) history {
	h := history{root: at, list: at.id, owners: at.owners, lists: []*List{{ID: at.id, OwnerList: *at.owners, Root: true}}}
	byParent := map[ID][]*entry{}
	for _, e := range r.kinds[KindOwners] {
		parent := e.Content.(*Owners).Parent
		byParent[parent] = append(byParent[parent], e)
	}
	for range maxLists {
		next := h.step(byParent[h.list])
		if next == nil {
			break
		}
		l := &List{ID: next.list, OwnerList: next.votes[0].Content.(*Owners).OwnerList}
		for _, e := range next.votes {
			l.Signers = append(l.Signers, e.Signer)
		}
		h.list, h.owners, h.lists = l.ID, &l.OwnerList, append(h.lists, l)
	}
	return h
}

// History returns all lists of owners, the genesis first and the one in force last. Those that
// a recovery has voided are among them as far as this node remembers.
func (r *Roster) History() (lists []*List) {
	c := r.Clone() // following marks what it finds
	for _, at := range c.followRoots() {
		lists = append(lists, c.followOwners(at).lists...)
	}
	return lists
}

// sinceRoot are the lists that signatures of owners can still undo.
func (r *Roster) sinceRoot() []*List {
	lists := r.History()
	for i := len(lists) - 1; i > 0; i-- {
		if lists[i].Root {
			return lists[i:]
		}
	}
	return lists
}

// replaces tells whether the owner with a key, alone, could put another list in the place of next.
func (l *List) replaces(next *List, key keys.PublicKey) bool {
	return l.Threshold == 1 && l.May(key, RightOwners) && l.find(key) <= l.find(next.Signers[0])
}

// CanUndo tells whether whoever has the key of a former owner can, alone, undo what the owners
// have decided since: as one that was the most senior of an earlier list. A recovery ends that.
func (r *Roster) CanUndo(key keys.PublicKey) bool {
	lists := r.sinceRoot()
	for i := 1; i < len(lists); i++ {
		if lists[i-1].replaces(lists[i], key) {
			return true
		}
	}
	return false
}

// Base returns the list that an owner's new one has to follow to remove others for good, and the lists that have followed it until
// now. It is the one in force, unless one of the others could undo that, having signed what led to it, or has removed the signer
// himself. Then it is an earlier one, on which the signer is the more senior, if there is such a list. The result is nil if the signer
// cannot change the owners.
func (r *Roster) Base(signer keys.PublicKey, out ...keys.PublicKey) []*List {
	lists := r.sinceRoot()
	last := len(lists) - 1
	decides := func(i int) bool {
		return lists[i].May(signer, RightOwners) && (i == last || lists[i].replaces(lists[i+1], signer))
	}
	senior := func(l *List) bool {
		return !slices.ContainsFunc(out, func(o keys.PublicKey) bool { return l.May(o, RightOwners) && l.find(o) < l.find(signer) })
	}
	undone := func(i int) bool {
		return slices.ContainsFunc(out, func(o keys.PublicKey) bool { return lists[i].replaces(lists[i+1], o) })
	}
	safe := 0 // nobody of those can undo what led to this list
	for safe < last && !undone(safe) {
		safe++
	}
	for i := safe; i >= 0 && last >= 0; i-- {
		if decides(i) && senior(lists[i]) {
			return lists[i:]
		}
	}
	for i := last; i >= 0; i-- {
		if decides(i) {
			return lists[i:]
		}
	}
	return nil
}

// step chooses the successor of the list in force among what was signed for it, nil if there
// is none.
func (h *history) step(votes []*entry) *ballot {
	h.keepVotes(collect(votes, h.owners))
	var valid []*ballot
	h.proposals = nil // of lists before the one in force nothing can come any more
	for _, b := range collect(slices.DeleteFunc(votes, func(e *entry) bool { return !e.kept }), h.owners) {
		if h.enough(b) {
			valid = append(valid, b)
		} else {
			h.proposals = append(h.proposals, b.proposal())
		}
	}
	if len(valid) == 0 {
		return nil
	}
	slices.SortFunc(valid, h.prefer)
	for _, loser := range valid[1:] {
		e := loser.votes[0]
		h.conflicts = append(h.conflicts, Conflict{Reason: ReasonFork, Key: e.Signer, Statement: e.id, Other: valid[0].votes[0].id})
	}
	return valid[0]
}

// enough tells whether a list takes effect.
func (h *history) enough(b *ballot) bool { return len(b.votes) >= int(h.owners.Threshold) }

// collect counts the signatures of owners that may decide, by what they have signed.
func collect(votes []*entry, owners *OwnerList) []*ballot {
	var ballots []*ballot
	for _, e := range votes {
		if !owners.May(e.Signer, RightOwners) {
			continue
		}
		i := slices.IndexFunc(ballots, func(b *ballot) bool { return b.list == e.list })
		if i < 0 {
			i = len(ballots)
			ballots = append(ballots, &ballot{list: e.list})
		}
		ballots[i].votes = append(ballots[i].votes, e)
	}
	for _, b := range ballots {
		slices.SortFunc(b.votes, func(x, y *entry) int {
			return cmp.Compare(owners.find(x.Signer), owners.find(y.Signer))
		})
	}
	return ballots
}

// prefer decides between two lists that enough owners have signed after the same one. A more
// senior owner decides; between two lists that the same one has signed its higher serial, then
// the lower id.
//
// No rule can tell who was first without trusting a clock, and "the longer history" would let
// every key that was once an owner's win later by signing more. Seniority gives it to those
// that the network has put first, and a recovery overrides all.
func (h *history) prefer(a, b *ballot) int {
	x, y := a.votes[0], b.votes[0]
	return cmp.Or(
		cmp.Compare(h.owners.find(x.Signer), h.owners.find(y.Signer)),
		newer(x, y),
	)
}

// keepVotes marks the signatures that are to be stored: of each owner those with the highest
// serials, and all that have put a list in force together with others. The latter can not be
// pushed out, or one owner could undo what several have signed.
func (h *history) keepVotes(ballots []*ballot) {
	perSigner := map[keys.PublicKey][]*entry{}
	for _, b := range ballots {
		together := h.owners.Threshold > 1 && h.enough(b)
		for _, e := range b.votes {
			if together {
				e.keep()
			}
			perSigner[e.Signer] = append(perSigner[e.Signer], e)
		}
	}
	for _, list := range perSigner {
		slices.SortFunc(list, newer)
		for i, e := range list {
			if i < maxVotes {
				e.keep()
			} else {
				e.drop(ReasonLimit)
			}
		}
	}
}

func (b *ballot) proposal() *Proposal {
	p := &Proposal{List: b.list, Owners: b.votes[0].Content.(*Owners)}
	for _, e := range b.votes {
		p.Signers = append(p.Signers, e.Signer)
	}
	return p
}

// keep says that a statement has its ground.
func (e *entry) keep() { e.kept, e.why = true, ReasonNone }

// drop says why a statement has none, unless it has.
func (e *entry) drop(why Reason) {
	if !e.kept {
		e.why = why
	}
}

// withdraw takes back that a statement has its ground.
func (e *entry) withdraw(why Reason) { e.kept, e.why = false, why }

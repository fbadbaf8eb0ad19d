package roster

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"tincan/internal/keys"
)

// Limits of a roster.
const (
	MaxStatements = 100_000  // stored statements
	MaxBytes      = 64 << 20 // their size together

	// reserve is what only owners, recoveries and removals may use of both limits, in parts of
	// a hundred: a network that was filled up can still be put in order.
	reserve = 10

	maxWaiting      = 4096
	maxWaitingBytes = 2 << 20
	maxDormant      = 50_000
	maxDormantBytes = 16 << 20

	// maxUnsettled is how many statements are taken before they are judged. It bounds what a
	// flood can occupy in between.
	maxUnsettled = 1024
)

// Outcome is what became of a statement that was added.
type Outcome uint8

// The outcomes of [Roster.Add].
const (
	Refused    Outcome = iota
	Added              // it is in the set now
	Known              // it was in the set already
	Superseded         // its signer has said something newer about the same
	Waiting            // it has no ground in the set; it is tried again after each change
)

// String returns the outcome in one word.
func (o Outcome) String() string {
	return [...]string{"refused", "added", "known", "superseded", "waiting"}[o]
}

// Reason is a stable code for why a statement was refused or does not count.
type Reason uint8

// The reasons.
const (
	ReasonNone         Reason = iota
	ReasonMalformed           // not a statement
	ReasonNetwork             // of another network
	ReasonSignature           // a signature in it is wrong, or a key is one that anybody can sign for
	ReasonFull                // the roster has reached its limit
	ReasonSigner              // the signer is no owner with the right to this
	ReasonParent              // it follows a list of owners that is not in force
	ReasonInvitation          // there is no such invitation, or it was withdrawn
	ReasonVoucher             // who admitted is no member that may, or was none at that time
	ReasonTime                // outside of the time of the invitation
	ReasonName                // not the name that the invitation is for
	ReasonAddress             // not an address that the invitation may give
	ReasonGrant               // a member grants more than it may
	ReasonSubject             // who leaves is not known
	ReasonRedundant           // the same was said before
	ReasonLimit               // too many of this kind by one signer
	ReasonUses                // the invitation was used up
	ReasonNameTaken           // the name belongs to another key
	ReasonKeyTaken            // the key belongs to another name
	ReasonAddressTaken        // the address belongs to another member
	ReasonRemoved             // the key was removed
	ReasonLeft                // the member has left
	ReasonFork                // owners have signed different lists after the same one
	ReasonEnded               // the membership has ended
	ReasonApproval            // an owner has to approve it
	ReasonUnknown             // nobody has said anything about the key
)

var reasonCodes = [...]string{
	"", "malformed", "other-network", "bad-signature", "roster-full", "signer-without-right", "owners-not-in-force",
	"no-such-invitation", "voucher-no-member", "outside-of-time", "name-not-invited", "address-not-offered", "grant-too-large",
	"nobody-known", "redundant", "too-many", "invitation-used-up", "name-taken", "key-taken", "address-taken", "removed", "left",
	"owners-fork", "ended", "awaits-approval", "not-admitted",
}

// String returns the code.
func (r Reason) String() string { return reasonCodes[r] }

// MarshalText returns the code.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// Refusal is the error for a statement that is not kept.
type Refusal struct {
	Reason Reason
	Err    error // what exactly, may be nil
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return fmt.Sprintf("statement refused (%v): %v", r.Reason, r.Err)
	}
	return fmt.Sprintf("statement refused (%v)", r.Reason)
}

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Result says what became of one statement.
type Result struct {
	ID      ID // zero if it could not be read
	Outcome Outcome
	Reason  Reason // of Refused and Waiting
	cause   error
}

// Err returns a [*Refusal] if the statement was refused, else nil.
func (r Result) Err() error {
	if r.Outcome != Refused {
		return nil
	}
	return &Refusal{Reason: r.Reason, Err: r.cause}
}

// place says in which of the three parts of a roster an entry is.
type place uint8

const (
	waiting place = iota // verified, without ground
	stored               // in the set: counted, spread
	dormant              // was stored, has lost its ground
)

// entry is a statement whose signatures are right.
type entry struct {
	*Statement
	id      ID
	raw     []byte
	subject string
	slot    slot
	list    ID          // of an owners statement: the list that it signs
	member  *Membership // of a member or admission statement: what it makes, remembered from the last evaluation
	under   ID          // of an admission: the statement of the invitation that member follows
	seq     uint64      // order of arrival, for what has to make room
	place   place
	kept    bool   // in the evaluation that goes on: has its ground
	why     Reason // it has none
}

func (e *entry) privileged() bool {
	switch e.Content.Kind() {
	case KindGenesis, KindOwners, KindRecovery, KindRemoval:
		return true
	}
	return false
}

// slot is what one signer can say one thing about. Of two statements in a slot only the newer
// one is kept, wherever it is. That is right only because all statements of a slot count or
// fall together, whatever else is known: they have the same signer and need the same right.
// Admissions and invitations of members depend on their times as well, so each has a slot of
// its own, and which of them is superseded is decided in the evaluation.
type slot struct {
	kind    Kind
	signer  keys.PublicKey
	subject string
}

func newEntry(s *Statement, raw []byte) *entry {
	e := &entry{Statement: s, id: sum(raw)}
	e.subject = string(s.Content.appendSubject(nil))
	e.slot = slot{kind: s.Content.Kind(), signer: s.Signer, subject: e.subject}
	switch c := s.Content.(type) {
	case *Admission, *Invitation:
		e.slot.subject = string(e.id[:])
	case *Owners:
		e.list = c.List(s.Network)
		e.slot.subject += string(e.list[:])
	}
	return e
}

// newer is the order of statements about the same: those that count more come first. Of
// admissions that is the earlier one, else the one with the higher serial; then the lower id.
func newer(a, b *entry) int {
	if x, ok := a.Content.(*Admission); ok {
		if y, ok := b.Content.(*Admission); ok {
			return cmp.Or(cmp.Compare(x.Time, y.Time), compareIDs(a.id, b.id))
		}
	}
	return cmp.Or(cmp.Compare(b.Serial, a.Serial), compareIDs(a.id, b.id))
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

// Roster is a set of statements of one network.
type Roster struct {
	network ID

	byID  map[ID]*entry
	slots map[slot]*entry
	kinds map[Kind][]*entry // each in the order of [compareEntries]
	seq   uint64

	verified keys.PublicKey // the last signer, whose key is a good one
	assumed  *OwnerList     // of a copy on which something is tried: who is an owner there, whatever the statements say

	usage     [3]usage // by place
	unsettled int      // added since the last evaluation
	changed   bool     // something stored is gone since then
	state     *State
	ids       []ID // of what was stored, sorted; nil: to be made
	moved     []ID // since then into the set or out of it
}

// usage is how much is in one place.
type usage struct{ count, bytes int }

// New returns the empty roster of a network, which takes nothing but statements of this
// network, its genesis first.
func New(network ID) *Roster {
	return &Roster{network: network, byID: map[ID]*entry{}, slots: map[slot]*entry{}, kinds: map[Kind][]*entry{}, state: emptyState(network)}
}

// Network returns the id of the network.
func (r *Roster) Network() ID { return r.network }

// Add verifies a statement, puts it into the set if it has its ground there, and judges anew
// what is in the set. It keeps a copy of raw. The error is a [*Refusal] and not nil exactly if
// the statement was refused.
//
// Whether it is stored or waits depends on what else is there, and only on that:
//
//   - a genesis: if it is this network's
//   - owners: if the list that they follow is in force, and the signer an owner of it who may
//     sign the next
//   - a recovery: if it names the genesis or recovery before it, and is signed by its recovery key
//   - members, policies, invitations, removals: if the signer is an owner with the right to it now
//   - a removal of the signer itself: if it belongs or belonged to the network
//   - an invitation by a member: if it may invite, and grants no more than it may
//   - an admission: if the invitation permits it, and the signer was a member at that time
//   - what is of an unknown kind: if an owner has signed it
func (r *Roster) Add(raw []byte) (Result, error) {
	result := r.Merge([][]byte{raw})[0]
	return result, result.Err()
}

// Merge adds statements in one go, which costs little more than adding one. The results have
// the order of the statements; in which order these are does not matter otherwise.
func (r *Roster) Merge(raws [][]byte) []Result {
	results := make([]Result, len(raws))
	entries := make([]*entry, len(raws))
	for i, raw := range raws {
		entries[i], results[i] = r.offer(raw)
	}
	r.settle()
	for i, e := range entries {
		if e != nil {
			results[i] = r.judged(e, results[i].Outcome == Known)
		}
	}
	return results
}

// Offer is [Roster.Add] without the judgement, which the next call of another method makes up
// for: it only says what was refused. It is for many statements that come one by one.
func (r *Roster) Offer(raw []byte) error {
	_, result := r.offer(raw)
	if r.unsettled >= maxUnsettled {
		r.settle()
	}
	return result.Err()
}

// offer verifies one statement and puts it where it can be judged. The entry is nil if there
// is nothing to judge.
func (r *Roster) offer(raw []byte) (*entry, Result) {
	e, result := r.read(raw)
	if e == nil {
		return nil, result
	}
	if old, result := r.known(e); result.ID == e.id {
		return old, result
	}
	if err := r.verify(e.Statement); err != nil {
		return refused(e.id, ReasonSignature, err)
	}
	return r.take(e)
}

// read makes an entry of a statement, whose signatures are not checked. It is nil if it is none of this network.
func (r *Roster) read(raw []byte) (*entry, Result) {
	s, err := Parse(raw)
	if err != nil {
		return refused(ID{}, ReasonMalformed, err)
	}
	e := newEntry(s, raw)
	if s.Network != r.network && e.id != r.network {
		return refused(e.id, ReasonNetwork, nil)
	}
	e.raw = raw
	return e, Result{}
}

// known says what has become of an entry before, or of a newer one about the same. The result is zero if there is nothing.
func (r *Roster) known(e *entry) (*entry, Result) {
	if old := r.byID[e.id]; old != nil {
		if old.place == stored {
			return old, Result{ID: e.id, Outcome: Known}
		}
		return old, Result{ID: e.id, Outcome: Waiting}
	}
	if old := r.slots[e.slot]; old != nil && newer(old, e) < 0 {
		return nil, Result{ID: e.id, Outcome: Superseded}
	}
	return nil, Result{}
}

// take puts an entry that was verified where it can be judged, if there is room.
func (r *Roster) take(e *entry) (*entry, Result) {
	if r.full(len(e.raw), e.privileged()) {
		return refused(e.id, ReasonFull, nil)
	}
	e.raw = bytes.Clone(e.raw)
	r.insert(e)
	return e, Result{ID: e.id, Outcome: Waiting}
}

// verify is [Statement.Verify], which does not check the key of the same signer again and again.
func (r *Roster) verify(s *Statement) error {
	if s.Signer == r.verified {
		return s.verify()
	}
	err := s.Verify()
	if err == nil {
		r.verified = s.Signer
	}
	return err
}

func refused(id ID, why Reason, err error) (*entry, Result) {
	return nil, Result{ID: id, Outcome: Refused, Reason: why, cause: err}
}

// judged says what became of an entry after [Roster.settle].
func (r *Roster) judged(e *entry, known bool) Result {
	switch {
	case r.byID[e.id] != e && r.slots[e.slot] != nil:
		return Result{ID: e.id, Outcome: Superseded} // by another one of the same go
	case r.byID[e.id] != e:
		return Result{ID: e.id, Outcome: Refused, Reason: ReasonLimit}
	case e.place != stored:
		return Result{ID: e.id, Outcome: Waiting, Reason: e.why}
	case known:
		return Result{ID: e.id, Outcome: Known}
	}
	return Result{ID: e.id, Outcome: Added}
}

// full tells whether there is no room for another statement.
func (r *Roster) full(size int, privileged bool) bool {
	count, total := MaxStatements, MaxBytes
	if !privileged {
		count -= count / 100 * reserve
		total -= total / 100 * reserve
	}
	u := r.usage[stored]
	return u.count+r.unsettled+1 > count || u.bytes+r.usage[waiting].bytes+size > total
}

// insert puts a verified entry among the waiting ones, in place of an older one of its slot.
func (r *Roster) insert(e *entry) {
	if old := r.slots[e.slot]; old != nil {
		r.remove(old)
	}
	r.seq++
	e.seq = r.seq
	e.place = waiting
	r.usage[waiting].add(e, 1)
	r.byID[e.id] = e
	r.slots[e.slot] = e
	list := r.kinds[e.slot.kind]
	i, _ := slices.BinarySearchFunc(list, e, compareEntries)
	r.kinds[e.slot.kind] = slices.Insert(list, i, e)
	r.unsettled++
}

// remove forgets an entry.
func (r *Roster) remove(e *entry) {
	r.usage[e.place].add(e, -1)
	if e.place == stored {
		r.moved, r.changed = append(r.moved, e.id), true
		r.unsettled++ // what stood on it has to be judged anew
	}
	delete(r.byID, e.id)
	delete(r.slots, e.slot)
	list := r.kinds[e.slot.kind]
	if i, found := slices.BinarySearchFunc(list, e, compareEntries); found {
		r.kinds[e.slot.kind] = slices.Delete(list, i, i+1)
	}
}

// move puts an entry into another place.
func (r *Roster) move(e *entry, to place) {
	r.usage[e.place].add(e, -1)
	r.usage[to].add(e, 1)
	if e.place == stored || to == stored {
		r.moved, r.changed = append(r.moved, e.id), true
	}
	e.place = to
}

func (u *usage) add(e *entry, n int) {
	u.count += n
	u.bytes += n * len(e.raw)
}

// compareEntries orders the statements of one kind: admissions by their time, others by what
// they are about and then as [newer] says.
func compareEntries(a, b *entry) int {
	if a.slot.kind == KindAdmission {
		return newer(a, b)
	}
	return cmp.Or(cmp.Compare(a.subject, b.subject), newer(a, b))
}

// settle judges all statements, and gives each its place.
func (r *Roster) settle() {
	if r.unsettled == 0 {
		return
	}
	r.unsettled = 0
	state := r.evaluate()
	for _, list := range r.kinds {
		for _, e := range list {
			switch {
			case e.kept && e.place != stored:
				r.move(e, stored)
			case !e.kept && e.place == stored:
				r.move(e, dormant)
			}
		}
	}
	if r.changed {
		r.state, r.changed = state, false
	}
	r.makeRoom(waiting, usage{maxWaiting, maxWaitingBytes})
	r.makeRoom(dormant, usage{maxDormant, maxDormantBytes})
}

// makeRoom forgets the oldest entries of a place until the rest is within a limit.
func (r *Roster) makeRoom(p place, limit usage) {
	if u := r.usage[p]; u.count <= limit.count && u.bytes <= limit.bytes {
		return
	}
	var list []*entry
	for _, e := range r.byID {
		if e.place == p {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
	for _, e := range list {
		// Half of the room is made free at a time, so that a flood does not pay for a sort each time.
		if u := r.usage[p]; u.count <= limit.count/2 && u.bytes <= limit.bytes/2 {
			return
		}
		r.remove(e)
	}
}

// State returns what the statements in the set say together. It never changes; as long as the
// set does not change it is the same pointer.
func (r *Roster) State() *State {
	r.settle()
	return r.state
}

// IDs returns the ids of all stored statements, sorted. The caller must not change them; what it was given before stays as it is.
func (r *Roster) IDs() []ID {
	r.settle()
	switch {
	case r.ids == nil || len(r.moved) > len(r.ids)/8:
		r.ids = make([]ID, 0, r.usage[stored].count)
		for id, e := range r.byID {
			if e.place == stored {
				r.ids = append(r.ids, id)
			}
		}
		slices.SortFunc(r.ids, compareIDs)
	case len(r.moved) > 0:
		r.ids = r.idsAfter(r.ids, r.moved)
	}
	r.moved = nil
	return r.ids
}

// idsAfter is the list of ids after some have come or gone.
func (r *Roster) idsAfter(was, moved []ID) []ID {
	slices.SortFunc(moved, compareIDs)
	ids := make([]ID, 0, r.usage[stored].count)
	for _, id := range slices.Compact(moved) {
		i, found := slices.BinarySearchFunc(was, id, compareIDs)
		ids = append(ids, was[:i]...)
		if found {
			i++
		}
		was = was[i:]
		if e := r.byID[id]; e != nil && e.place == stored {
			ids = append(ids, id)
		}
	}
	return append(ids, was...)
}

// Len returns how many statements are stored, and their size in bytes.
func (r *Roster) Len() (count, size int) {
	r.settle()
	return r.usage[stored].count, r.usage[stored].bytes
}

// Get returns a stored statement as it came, nil if there is none. The caller must not change it.
func (r *Roster) Get(id ID) []byte {
	r.settle()
	if e := r.byID[id]; e != nil && e.place == stored {
		return e.raw
	}
	return nil
}

// Statement returns a stored statement, nil if there is none. The caller must not change it.
func (r *Roster) Statement(id ID) *Statement {
	if r.Get(id) == nil {
		return nil
	}
	return r.byID[id].Statement
}

// Why says why a key, or the RSA key of a hash, is no member's at a time (Unix seconds);
// [ReasonNone] if it is one. That can depend on statements which only this node remembers.
func (r *Roster) Why(key [32]byte, now int64) Reason {
	s := r.State()
	if m := s.MemberByKey(key); m != nil {
		if m.Ended(now) {
			return ReasonEnded
		}
		return ReasonNone
	}
	if gone := s.Removed(key); gone != nil {
		if gone.Left() {
			return ReasonLeft
		}
		return ReasonRemoved
	}
	if slices.ContainsFunc(s.Pending, func(m *Membership) bool { return m.Key == key }) {
		return ReasonApproval
	}
	for _, c := range s.Conflicts {
		if c.Key == key && c.Reason != ReasonFork {
			return c.Reason
		}
	}
	return r.idleReason(key)
}

// idleReason says why a statement that would make a key a member's does not count.
func (r *Roster) idleReason(key [32]byte) Reason {
	why := ReasonUnknown
	r.Idle(func(_ ID, s *Statement, reason Reason) {
		switch c := s.Content.(type) {
		case *Member:
			if c.Key == key || c.RSA == key {
				why = reason
			}
		case *Admission:
			if c.Key == key {
				why = reason
			}
		}
	})
	return why
}

// Idle returns the statements that are remembered without being in the set: those that wait
// for their ground, and those that have lost it. Each comes with the reason.
func (r *Roster) Idle(f func(id ID, s *Statement, why Reason)) {
	r.settle()
	for _, list := range r.kinds {
		for _, e := range list {
			if e.place != stored {
				f(e.id, e.Statement, e.why)
			}
		}
	}
}

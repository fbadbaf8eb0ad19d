package membership

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(n int) *keys.PrivateKey { return keys.FromSeed([32]byte{byte(n), byte(n >> 8), 1}) }

// network is a genesis and its owner.
type network struct {
	t       *testing.T
	owner   *keys.PrivateKey
	genesis []byte
	id      roster.ID
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	owner := key(0)
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "owner"}},
	}}, owner)
	must(t, err)
	return &network{t, owner, raw, id}
}

// member is the statement that makes a member of the n-th key.
func (w *network) member(r *roster.Roster, n int) []byte {
	w.t.Helper()
	raws, err := r.SignMember(roster.Member{Name: node.Name(fmt.Sprintf("n%d", n)), Key: key(n).Public()}, 0, w.owner)
	must(w.t, err)
	return raws[len(raws)-1]
}

// full is a roster with so many members.
func (w *network) full(members int) *roster.Roster {
	w.t.Helper()
	r := roster.New(w.id)
	_, err := r.Add(w.genesis)
	must(w.t, err)
	var raws [][]byte
	for i := range members {
		raws = append(raws, w.member(r, i+1))
	}
	r.Merge(raws)
	return r
}

// line is a row of keepers, each a neighbour of the next. A message takes a millisecond.
type line struct {
	now     time.Time
	keepers []*Keeper
	sent    int
	seen    func(from int, o reconcile.Out) // may be nil
}

func newLine(rosters ...*roster.Roster) *line {
	l := &line{now: time.Unix(1e9, 0)}
	for i, r := range rosters {
		l.keepers = append(l.keepers, New(name(i), r, l.now))
	}
	for i, k := range l.keepers {
		var near []node.Name
		if i > 0 {
			near = append(near, name(i-1))
		}
		if i+1 < len(l.keepers) {
			near = append(near, name(i+1))
		}
		k.SetNeighbours(l.now, near)
	}
	return l
}

func name(i int) node.Name { return node.Name(fmt.Sprintf("k%02d", i)) }

// run lets time pass until done, or for so long.
func (l *line) run(limit time.Duration, done func() bool) time.Duration {
	start := l.now
	for l.now.Sub(start) < limit && !done() {
		l.step()
	}
	return l.now.Sub(start)
}

// step is one millisecond.
func (l *line) step() {
	var out [][]reconcile.Out
	for _, k := range l.keepers {
		if at := k.Next(); !at.IsZero() && !at.After(l.now) {
			k.Tick(l.now)
		}
		out = append(out, k.Flush(l.now))
	}
	l.now = l.now.Add(time.Millisecond)
	for i, list := range out {
		for _, o := range list {
			l.sent++
			if l.seen != nil {
				l.seen(i, o)
			}
			var to int
			fmt.Sscanf(string(o.To), "k%d", &to)
			_ = l.keepers[to].Receive(l.now, name(i), o.Data)
		}
	}
}

// agree tells whether all have the same statements.
func (l *line) agree() bool {
	return !slices.ContainsFunc(l.keepers[1:], func(k *Keeper) bool {
		return !slices.Equal(k.Roster().IDs(), l.keepers[0].Roster().IDs())
	})
}

func TestAnEmptyRosterIsFilledByTheNeighbour(t *testing.T) {
	w := newNetwork(t)
	l := newLine(w.full(200), roster.New(w.id), roster.New(w.id))
	took := l.run(time.Minute, l.agree)
	for i, k := range l.keepers {
		if n := len(k.State().Members); n != 200 {
			t.Errorf("keeper %d has %d members", i, n)
		}
	}
	t.Logf("200 members over two hops in %v, %d messages", took, l.sent)
}

// Statements are judged together, after they have come. Their giver is not told then that they are here.
// Two who are fetching the roster have the same part of it for a moment, which is not the whole.
func TestAPartIsNotTheWhole(t *testing.T) {
	w := newNetwork(t)
	l := newLine(w.full(3000), roster.New(w.id), roster.New(w.id), roster.New(w.id))
	took := l.run(time.Minute, func() bool {
		for i, k := range l.keepers {
			if k.Whole() && len(k.State().Members) < 3000 {
				t.Fatalf("keeper %d takes %d members for the whole", i, len(k.State().Members))
			}
		}
		return !slices.ContainsFunc(l.keepers, func(k *Keeper) bool { return !k.Whole() })
	})
	if took >= time.Minute {
		t.Error("they never take it for the whole")
	}
	t.Logf("after %v", took)
}

// A neighbour that always says something else keeps nobody from using the roster.
func TestADifferentNeighbourDoesNotKeepItFromBeingWhole(t *testing.T) {
	w := newNetwork(t)
	l := newLine(w.full(10), roster.New(w.id))
	l.keepers[1].SetNeighbours(l.now, []node.Name{name(0), "silent"})
	if took := l.run(time.Minute, l.keepers[1].Whole); took < wholeAnyway || took > 2*wholeAnyway {
		t.Errorf("whole after %v", took)
	}
}

func TestTheGiverIsNotToldOfItsStatements(t *testing.T) {
	w := newNetwork(t)
	l := newLine(w.full(200), roster.New(w.id))
	back := 0
	l.seen = func(from int, o reconcile.Out) {
		if from == 1 {
			back += len(o.Data)
		}
	}
	l.run(time.Minute, l.agree)
	l.run(5*time.Second, func() bool { return false })
	// To ask for a statement takes 33 bytes. To tell of it would take as much again.
	if limit := 200 * 45; back > limit {
		t.Errorf("the one who has asked for 200 statements has sent %d bytes, want at most %d", back, limit)
	}
	t.Logf("%d bytes to get 200 statements", back)
}

func TestARemovalIsPassedOnAtOnce(t *testing.T) {
	w := newNetwork(t)
	all := w.full(100)
	var rosters []*roster.Roster
	for range 10 {
		rosters = append(rosters, all.Clone())
	}
	l := newLine(rosters...)
	l.run(5*time.Second, func() bool { return false })
	sent := l.sent

	raws, err := all.SignRemoval(key(7).Public(), "stolen", w.owner)
	must(t, err)
	for _, r := range l.keepers[0].Merge(l.now, raws) {
		must(t, r.Err())
	}
	last := l.keepers[len(l.keepers)-1]
	took := l.run(time.Minute, func() bool { return last.State().Removed(key(7).Public()) != nil })
	if took > 100*time.Millisecond {
		t.Errorf("nine hops of a millisecond took %v", took)
	}
	t.Logf("nine hops in %v, %d messages", took, l.sent-sent)
}

func TestBothSidesOfAPartitionAgreeAfterIt(t *testing.T) {
	w := newNetwork(t)
	a, b := w.full(50), w.full(50)
	removed, err := a.SignRemoval(key(3).Public(), "", w.owner)
	must(t, err)
	a.Merge(removed)
	b.Merge([][]byte{w.member(b, 60)})
	l := newLine(a, b)
	l.run(time.Minute, l.agree)
	for i, k := range l.keepers {
		s := k.State()
		if s.Removed(key(3).Public()) == nil || s.Member("n3") != nil || s.Member("n60") == nil {
			t.Errorf("keeper %d: removed %v, n3 %v, n60 %v", i, s.Removed(key(3).Public()), s.Member("n3"), s.Member("n60"))
		}
	}
}

func TestMembersAloneAreNotBelievedWithoutTheirOwner(t *testing.T) {
	w := newNetwork(t)
	all := w.full(3)
	k := New("a", roster.New(w.id), time.Unix(1, 0))
	for _, id := range all.IDs() {
		if raw := all.Get(id); roster.Kind(raw[0]) == roster.KindMember {
			(*set)(k).Offer(raw)
		}
	}
	k.Flush(time.Unix(1, 0))
	if n := len(k.State().Members); n != 0 {
		t.Errorf("%d members without a genesis", n)
	}
	(*set)(k).Offer(w.genesis)
	if n := len(k.State().Members); n != 3 {
		t.Errorf("%d members after the genesis, want 3", n)
	}
}

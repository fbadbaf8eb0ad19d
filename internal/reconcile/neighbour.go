package reconcile

import (
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"tincan/internal/node"
	"tincan/internal/rate"
)

// ErrOtherNetwork says that a message was about the set of another network.
var ErrOtherNetwork = errors.New("message about the set of another network")

// What is kept of a neighbour, at most. In the worst case it is 40 KiB.
const (
	maxExplore     = 256 // prefixes under which it differs
	maxWanted      = 256 // items that it has and we lack
	maxOutstanding = 128 // items that it was asked for
	maxEarly       = 64  // items that could not be judged when they came
	maxAnnounce    = 64  // items that it has not been told of; of more it learns by SUM
	// maxQuestions is how many questions about the tree wait for answers.
	maxQuestions = 8
	// maxOutstandingBytes is the size of the items that it was asked for.
	maxOutstandingBytes = 64 << 10
	// maxLack is how many ids a neighbour is told at once that it lacks.
	maxLack = 4 * leafMax
	// maxTries is how often an item is asked for.
	maxTries = 4

	minTimeout = 300 * time.Millisecond
	maxTimeout = 4 * time.Second
)

// difference is a prefix under which a neighbour has something else than we.
type difference struct {
	prefix prefix
	count  int // what it has there
}

// request is an item that a neighbour was asked for.
type request struct {
	item  Item
	first time.Time
	again time.Time // when the neighbour is asked again
	tries int
}

// partial is an item of which a neighbour has given some chunks.
type partial struct {
	id     ID
	pushed bool
	begun  time.Time
	bytes  []byte
	have   byte // chunks
}

type neighbour struct {
	r     *Reconciler
	name  node.Name
	phase time.Duration // added to idle

	known   fingerprint // its set, when it said something last
	knownAt time.Time   // since when
	told    fingerprint // ours, when we said something last
	untold  time.Time   // since when told is not ours any more
	lastSum time.Time   // when we sent our root last
	spoke   time.Time   // when either of us said something last
	tries   int         // SUMs since something changed

	explore   []difference // urgent ones first
	questions int          // about the tree, unanswered
	askedAt   time.Time    // the last of them

	wanted      []Item // urgent ones first
	early       []Item // could not be judged when they came
	outstanding map[ID]*request
	size        int // bytes, of what is outstanding
	partial     *partial
	srtt        time.Duration // of a WANT, 0: not known

	announce    []Item
	announcedAt time.Time
	push        []Item

	messages, pushes, faults, answers rate.Bucket

	ask    bool     // the next message asks for an answer
	parts  [][]byte // not sent yet
	pushed [][]byte // the same, urgent
}

// phase differs from neighbour to neighbour, so that not all speak at once.
func phase(a, b node.Name) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(a + " " + b))
	return idle / 2 * time.Duration(h.Sum32()%1024) / 1024
}

// spared tells whether the neighbour has given so much that is worth nothing that it is asked for nothing now. It gets
// its answers all the same.
func (n *neighbour) spared(now time.Time) bool { return !n.faults.Left(faultLimit, now) }

func (n *neighbour) fault(now time.Time) { n.faults.Spend(now, faultLimit.Every) }

// ---------------------------------------------------------------- sending

// mayAnswer tells whether the neighbour may cost so many bytes more, and counts them.
func (n *neighbour) mayAnswer(now time.Time, bytes int) bool {
	if !n.answers.Left(answerLimit, now) {
		return false
	}
	n.answers.Spend(now, answerLimit.Every*time.Duration(bytes)/1024)
	return true
}

func (n *neighbour) add(p part) { n.parts = append(n.parts, p.append(nil)) }

// addItems adds a HAVE, or several.
func (n *neighbour) addItems(items []Item) {
	const most = (MaxMessage - headerLen - 2) / (sha256Len + 2)
	for chunk := range slices.Chunk(items, most) {
		n.add(part{kind: partHave, items: chunk})
	}
}

func (n *neighbour) sendRoot(now time.Time) {
	for _, urgent := range []bool{true, false} {
		p := prefix{urgent: urgent}
		n.add(part{kind: partSum, prefix: p, sum: n.r.tree(urgent).below(p).sum()})
	}
	n.lastSum = now
}

// flush makes messages of the parts.
func (n *neighbour) flush(now time.Time) {
	n.flushPushes()
	if len(n.announce) > 0 && !now.Before(n.announceDue()) {
		n.addItems(n.announce)
		n.announce, n.announcedAt = nil, now
	}
	if len(n.parts)+len(n.pushed) == 0 {
		return
	}
	n.told, n.untold, n.spoke = n.r.root, time.Time{}, now
	n.pack(n.pushed, true)
	n.pack(n.parts, false)
	n.parts, n.pushed, n.ask = nil, nil, false
}

func (n *neighbour) pack(parts [][]byte, urgent bool) {
	for i := 0; i < len(parts); {
		data := appendHeader(make([]byte, 0, 256), n.ask, n.r.network, n.r.root)
		for ; i < len(parts) && len(data)+len(parts[i]) <= MaxMessage; i++ {
			data = append(data, parts[i]...)
		}
		n.r.out = append(n.r.out, Out{To: n.name, Data: data, Urgent: urgent})
	}
}

// tell has the neighbour told of a new item.
func (n *neighbour) tell(it Item) {
	if it.Urgent && len(n.push) < maxAnnounce {
		n.push = append(n.push, it)
	} else if !it.Urgent && len(n.announce) < maxAnnounce {
		n.announce = append(n.announce, it)
	}
}

func (n *neighbour) flushPushes() {
	for _, it := range n.push {
		item := n.r.set.Get(it.ID)
		for chunk := range maxChunks {
			if from, to := chunkBounds(len(item), chunk); from < to {
				g := give{pushed: true, id: it.ID, size: len(item), chunk: chunk, bytes: item[from:to]}
				n.pushed = append(n.pushed, (&part{kind: partGive, give: g}).append(nil))
			}
		}
	}
	n.push = nil
}

// ---------------------------------------------------------------- receiving

func (n *neighbour) handle(now time.Time, m *message) {
	if n.known != m.root {
		n.known, n.knownAt, n.tries = m.root, now, 0
	}
	n.spoke = now
	roots, differs, asked := 0, false, false
	for i := range m.parts {
		p := &m.parts[i]
		if p.kind != partGive {
			n.questions = max(0, n.questions-1) // whatever it answers
		}
		switch p.kind {
		case partSum:
			d := n.r.tree(p.prefix.urgent).below(p.prefix).sum() != p.sum
			if p.prefix.depth == 0 {
				roots, differs = roots+1, differs || d
				d = d && !n.otherBegins(now)
			}
			if d {
				n.differs(difference{p.prefix, p.sum.count})
			}
		case partKids:
			n.compareKids(p)
		case partList:
			n.compareList(now, p)
		case partHave:
			for _, it := range p.items {
				n.want(it)
			}
		case partWant:
			for _, w := range p.wants {
				n.answer(now, w)
			}
		case partGive:
			asked = n.outstanding[p.give.id] != nil || asked
			n.given(now, &p.give)
		}
	}
	if m.ask && roots > 0 && !differs && n.mayAnswer(now, headerLen) {
		n.sendRoot(now)
	}
	if asked {
		n.messages.Spend(now, -messageLimit.Every) // we have asked for it
	}
	n.advance(now)
}

// otherBegins tells whether the SUM that has come may have met one of ours, and the neighbour is the one that begins
// with the tree. Without that both would, and do everything twice.
func (n *neighbour) otherBegins(now time.Time) bool {
	return now.Sub(n.lastSum) < crossed && n.r.self > n.name
}

// differs has a prefix looked at.
func (n *neighbour) differs(d difference) {
	same := func(o difference) bool { return o.prefix == d.prefix }
	if len(n.explore) >= maxExplore || slices.ContainsFunc(n.explore, same) {
		return
	}
	if d.prefix.urgent {
		at := slices.IndexFunc(n.explore, func(o difference) bool { return !o.prefix.urgent })
		if at < 0 {
			at = len(n.explore)
		}
		n.explore = slices.Insert(n.explore, at, d)
		return
	}
	n.explore = append(n.explore, d)
}

func (n *neighbour) compareKids(p *part) {
	t := n.r.tree(p.prefix.urgent)
	for i, theirs := range p.kids {
		c := p.prefix.child(i)
		if t.below(c).sum() != theirs {
			n.differs(difference{c, theirs.count})
		}
	}
}

// compareList looks at all that a neighbour has below a prefix: it is told what it lacks there.
func (n *neighbour) compareList(now time.Time, p *part) {
	t := n.r.tree(p.prefix.urgent)
	mine := t.below(p.prefix)
	common := 0
	for _, it := range p.items {
		if _, ok := t.find(&it.ID); ok {
			common++
		} else {
			n.want(it)
		}
	}
	switch lack := mine.count - common; {
	case lack == 0:
	case lack > maxLack:
		n.tellKids(now, p.prefix, mine)
	default:
		var items []Item
		mine.each(func(e entry) {
			_, has := slices.BinarySearchFunc(p.items, e, func(it Item, e entry) int { return compare(entry{id: it.ID}, e) })
			if !has {
				items = append(items, Item{ID: e.id, Size: int(e.size), Urgent: p.prefix.urgent})
			}
		})
		if n.mayAnswer(now, lack*(sha256Len+2)) {
			n.addItems(items)
		}
	}
}

func (n *neighbour) tellKids(now time.Time, at prefix, b *branch) {
	if b.children == nil || !n.mayAnswer(now, 16*20) {
		return
	}
	kids := new([16]sum)
	for i := range b.children {
		kids[i] = b.children[i].sum()
	}
	n.add(part{kind: partKids, prefix: at, kids: kids})
}

// want notes that the neighbour has an item.
func (n *neighbour) want(it Item) {
	same := func(o Item) bool { return o.ID == it.ID }
	if n.outstanding[it.ID] != nil || !n.r.lacks(&it.ID) || slices.ContainsFunc(n.wanted, same) {
		return
	}
	if !it.Urgent {
		if len(n.wanted) < maxWanted {
			n.wanted = append(n.wanted, it)
		}
		return
	}
	if len(n.wanted) == maxWanted { // in the place of the last, if that is not urgent
		if n.wanted[maxWanted-1].Urgent {
			return
		}
		n.wanted = n.wanted[:maxWanted-1]
	}
	at := slices.IndexFunc(n.wanted, func(o Item) bool { return !o.Urgent })
	if at < 0 {
		at = len(n.wanted)
	}
	n.wanted = slices.Insert(n.wanted, at, it)
}

// answer gives chunks of an item.
func (n *neighbour) answer(now time.Time, w want) {
	item := n.r.set.Get(w.id)
	if !n.mayAnswer(now, len(item)+sha256Len) {
		return
	}
	if len(item) == 0 || len(item) > MaxItem {
		n.add(part{kind: partGive, give: give{id: w.id}})
		return
	}
	for chunk := range maxChunks {
		if from, to := chunkBounds(len(item), chunk); from < to && w.chunks>>chunk&1 == 1 {
			n.add(part{kind: partGive, give: give{id: w.id, size: len(item), chunk: chunk, bytes: item[from:to]}})
		}
	}
}

// given takes in a chunk.
func (n *neighbour) given(now time.Time, g *give) {
	q := n.outstanding[g.id]
	switch {
	case q == nil && !g.pushed:
		return // late, or never asked for
	case g.pushed && q == nil:
		if !n.r.lacks(&g.id) || !n.pushes.Take(pushLimit, now) {
			return
		}
	case g.size == 0 || g.size != q.item.Size:
		n.fault(now)
		n.settle(q)
		return
	}
	item := n.assemble(now, g)
	if item == nil {
		return
	}
	if q != nil {
		if q.tries == 1 {
			n.measured(now.Sub(q.first))
		}
		n.settle(q)
	}
	switch {
	case IDOf(item) != g.id:
		n.fault(now) // and from another neighbour it may be right
	case n.r.lacks(&g.id):
		n.r.offer(now, n, Item{ID: g.id, Size: g.size, Urgent: g.pushed || q.item.Urgent}, item)
	}
}

// assemble returns the item once all its chunks are there. Of those that are longer than a chunk, one is kept; a pushed one
// takes the place of one that was asked for.
func (n *neighbour) assemble(now time.Time, g *give) []byte {
	all := chunksOf(g.size)
	if all == 1 {
		return slices.Clone(g.bytes)
	}
	p := n.partial
	if p == nil || p.id != g.id || len(p.bytes) != g.size {
		if p != nil && p.pushed && !g.pushed && now.Sub(p.begun) < stalled {
			return nil
		}
		p = &partial{id: g.id, pushed: g.pushed, begun: now, bytes: make([]byte, g.size)}
		n.partial = p
	}
	copy(p.bytes[g.chunk*chunkLen:], g.bytes)
	if p.have |= 1 << g.chunk; p.have != all {
		return nil
	}
	n.partial = nil
	return p.bytes
}

func (n *neighbour) measured(rtt time.Duration) {
	if n.srtt == 0 {
		n.srtt = rtt
	}
	n.srtt += (rtt - n.srtt) / 8
}

// settle ends a request, whatever became of it.
func (n *neighbour) settle(q *request) {
	delete(n.outstanding, q.item.ID)
	n.release(q)
	n.size -= q.item.Size
	if n.partial != nil && n.partial.id == q.item.ID {
		n.partial = nil
	}
}

// release lets other neighbours be asked for the item.
func (n *neighbour) release(q *request) {
	if n.r.asked[q.item.ID] == n {
		delete(n.r.asked, q.item.ID)
	}
}

// ---------------------------------------------------------------- asking

// advance asks for what is wanted, and looks further down the tree when little is left.
func (n *neighbour) advance(now time.Time) {
	n.request(now)
	for len(n.explore) > 0 && n.questions < maxQuestions {
		d := n.explore[0]
		if !d.prefix.urgent && (n.urgentWanted() || len(n.wanted) >= maxWanted/2) {
			return
		}
		n.explore = slices.Delete(n.explore, 0, 1)
		n.question(now, d)
	}
}

// question says what we have below a prefix under which the neighbour has something else.
func (n *neighbour) question(now time.Time, d difference) {
	b := n.r.tree(d.prefix.urgent).below(d.prefix)
	switch {
	case b.count <= leafMax:
		if !n.mayAnswer(now, b.count*(sha256Len+2)) {
			return
		}
		p := part{kind: partList, prefix: d.prefix}
		b.each(func(e entry) { p.items = append(p.items, Item{ID: e.id, Size: int(e.size)}) })
		n.add(p)
	case d.count > 0 && d.count <= leafMax && d.prefix.depth > 0: // it lists them; a SUM of depth 0 may be passed over
		n.add(part{kind: partSum, prefix: d.prefix, sum: b.sum()})
	default:
		n.tellKids(now, d.prefix, b)
	}
	n.questions++
	n.askedAt = now
}

// urgentWanted tells whether urgent items are still to come; the others wait for them.
func (n *neighbour) urgentWanted() bool {
	if len(n.wanted) > 0 && n.wanted[0].Urgent {
		return true
	}
	for _, q := range n.outstanding {
		if q.item.Urgent {
			return true
		}
	}
	return false
}

// request asks for items as long as there is room.
func (n *neighbour) request(now time.Time) {
	if n.spared(now) {
		n.wanted = nil
	}
	if len(n.wanted) == 0 || len(n.outstanding) > maxOutstanding/2 {
		return // several at once, for fewer messages
	}
	long := false // one that is longer than a chunk is outstanding
	for _, q := range n.outstanding {
		long = long || q.item.Size > chunkLen
	}
	ordinary := !n.urgentWanted() && !slices.ContainsFunc(n.explore, func(d difference) bool { return d.prefix.urgent })
	var wants []want
	keep := n.wanted[:0]
	for i, it := range n.wanted {
		switch {
		case !n.r.lacks(&it.ID):
		case len(n.outstanding) >= maxOutstanding || n.size >= maxOutstandingBytes:
			keep = append(keep, n.wanted[i:]...)
			n.wanted = keep
			n.addWants(wants)
			return
		case n.r.asked[it.ID] != nil, it.Size > chunkLen && long, !it.Urgent && !ordinary:
			keep = append(keep, it)
		default:
			q := &request{item: it, first: now, tries: 1}
			q.again = now.Add(n.timeout(1))
			n.outstanding[it.ID], n.r.asked[it.ID] = q, n
			n.size += it.Size
			long = long || it.Size > chunkLen
			wants = append(wants, want{it.ID, chunksOf(it.Size)})
		}
	}
	n.wanted = keep
	n.addWants(wants)
}

func (n *neighbour) addWants(wants []want) {
	const most = (MaxMessage - headerLen - 2) / (sha256Len + 1)
	for chunk := range slices.Chunk(wants, most) {
		n.add(part{kind: partWant, wants: chunk})
	}
}

// timeout is how long the answer to a WANT is waited for.
func (n *neighbour) timeout(tries int) time.Duration {
	t := max(3*n.srtt, minTimeout)
	if n.srtt == 0 {
		t = minRetry
	}
	return min(t<<(tries-1), maxTimeout)
}

// ---------------------------------------------------------------- time

// setChanged: our set is another one, possibly with other urgent items.
func (n *neighbour) setChanged(now time.Time, urgent bool) {
	n.tries = 0
	if n.untold.IsZero() {
		n.untold = now
	}
	if urgent {
		early := n.early
		n.early = nil
		for _, it := range early {
			n.want(it)
		}
	}
}

// keepEarly has an item asked for again as soon as there are other urgent ones.
func (n *neighbour) keepEarly(it Item) {
	if len(n.early) < maxEarly {
		n.early = append(n.early, it)
	}
}

// busy tells whether something is asked of the neighbour.
func (n *neighbour) busy() bool {
	return len(n.outstanding) > 0 || len(n.wanted) > 0 || len(n.explore) > 0 || n.questions > 0
}

func (n *neighbour) announceDue() time.Time { return n.announcedAt.Add(announceEvery) }

// sumDue is when our root is to be sent.
func (n *neighbour) sumDue() time.Time {
	switch {
	case n.told != n.r.root:
		wait := settle
		if n.busy() {
			wait = maxUnsettled
		}
		due := n.r.changed.Add(wait)
		if last := n.untold.Add(maxUnsettled); last.Before(due) {
			due = last
		}
		if least := n.lastSum.Add(settle); due.Before(least) {
			return least
		}
		return due
	case n.known == n.r.root:
		return n.spoke.Add(idle + n.phase)
	}
	wait := min(minRetry<<min(n.tries, 16), maxRetry)
	if n.busy() {
		wait = max(wait, maxUnsettled)
	}
	last := n.lastSum
	for _, t := range []time.Time{n.r.changed, n.knownAt} {
		if t.After(last) {
			last = t
		}
	}
	return last.Add(wait)
}

// due is when tick has something to do.
func (n *neighbour) due() time.Time {
	t := n.sumDue()
	if len(n.announce) > 0 {
		t = earlier(t, n.announceDue())
	}
	for _, q := range n.outstanding {
		t = earlier(t, q.again)
	}
	if n.questions > 0 || len(n.explore) > 0 || len(n.wanted) > 0 && len(n.outstanding) == 0 {
		t = earlier(t, n.askedAt.Add(stalled))
	}
	return t
}

func (n *neighbour) tick(now time.Time) {
	var again []*request
	for _, q := range n.outstanding {
		if !now.Before(q.again) {
			again = append(again, q)
		}
	}
	slices.SortFunc(again, func(a, b *request) int { return compare(entry{id: a.item.ID}, entry{id: b.item.ID}) })
	var wants []want
	for _, q := range again {
		if q.tries >= maxTries {
			n.fault(now)
			n.settle(q)
			continue
		}
		n.release(q)
		q.tries++
		q.again = now.Add(n.timeout(q.tries))
		w := want{q.item.ID, chunksOf(q.item.Size)}
		if n.partial != nil && n.partial.id == q.item.ID {
			w.chunks &^= n.partial.have
		}
		wants = append(wants, w)
	}
	n.addWants(wants)
	if now.Sub(n.askedAt) >= stalled {
		n.questions = 0
		n.askedAt = now
	}
	n.advance(now)
	if !now.Before(n.sumDue()) {
		n.tries++
		n.ask = n.told == n.r.root && n.known != n.r.root
		n.sendRoot(now)
	}
}

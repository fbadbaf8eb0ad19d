package mesh

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"tincan/internal/graph"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// What is said of an edge may be outdated: somebody tells a newcomer what he has not heard the
// end of yet. An edge is therefore always told with the nonce with which its owner announced it;
// whoever has learned since that it is gone or different recognises the text, does not
// believe it, and corrects the neighbour.
//
// Two nodes can each hold for outdated what the other one says, for instance when one of them
// has started again and heard the true state before an older one. Correcting each other would
// then go on for ever. So these rules hold for what a neighbour says that is outdated here:
//
//   - if it differs from what is known in nothing but the nonce, there is nothing to correct;
//   - the first time on a connection it is corrected, with the nonce of what is known;
//   - said again in spite of that, it is a dispute, which the greater nonce decides: it is believed,
//     or corrected a second time, so that the other side decides likewise; whatever
//     is wrong in that spreads until the owner hears of it, and he contradicts;
//   - the third time it is ignored.
//
// A dispute therefore costs four messages at most, and since nonces only grow in it, no chain of
// disputes about the same texts runs in circles. The owner, too, answers the same text twice at
// most when it is not new, and his own words of an end, heard again when the edge is there again, once. Nodes of tinc have no part in it: they know no outdated
// texts, and believe the correction.

// addEdge is the ADD_EDGE of e, with the nonce with which it was told first.
func addEdge(e graph.Edge) []byte {
	return wire.AddEdge{
		Nonce: e.Nonce, From: e.From, To: e.To, Addr: e.Addr, Options: e.Options, Weight: e.Weight,
		Local: e.Local, HasLocal: e.Local != wire.Address{},
	}.Append(nil)
}

// addEdgeWithNewNonce is the ADD_EDGE of e for somebody who is to believe it though he may
// have heard the opposite.
func (t *topology) addEdgeWithNewNonce(e graph.Edge) []byte {
	e.Nonce = t.nonce()
	return addEdge(e)
}

// outdated takes note that e is no more what is true: what a neighbour may say of it from
// before is not news. The edge that is made next has another nonce. That somebody takes the
// old one back is no news either, and says nothing of the one that may have followed.
func (t *topology) outdated(e graph.Edge) {
	text := string(addEdge(e))
	t.tombstones.First(t.now, text)
	t.seen.First(t.now, string(refutation(text, e.From, e.To)))
}

// An answer to a text has a nonce that follows from that text, so all who give the same answer
// send the same message. It travels over each connection once, however many have sent it. With
// nonces by chance a text about an edge that comes and goes would breed answers, and
// these would breed others.

// refutation is the DEL_EDGE that answers an outdated ADD_EDGE.
func refutation(text string, from, to node.Name) []byte {
	return wire.DelEdge{Nonce: nonceOf("gone", text), From: from, To: to}.Append(nil)
}

// refuted tells whether somebody has answered text like that. It may come later than the answer,
// by another path.
func (t *topology) refuted(text string, from, to node.Name) bool {
	return t.seen.Has(string(refutation(text, from, to)))
}

// refute answers a text that says something else of our own edge e. From now on that is
// how the edge is told.
func (t *topology) refute(c *conn, e graph.Edge, text string) {
	e.Nonce = 0
	e.Nonce = nonceOf("still", text, string(addEdge(e)))
	t.setEdge(e)
	t.links.send(c, addEdge(e))
}

// nonceOf makes a nonce out of texts.
func nonceOf(texts ...string) uint32 {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n")))
	return binary.BigEndian.Uint32(sum[:])
}

// accepts tells whether what c says of an edge with a text that is outdated here
// is believed nevertheless, and corrects it otherwise.
func (t *topology) accepts(c *conn, e graph.Edge, text string) bool {
	known, ok := t.graph.Get(e.From, e.To)
	if ok && e.Same(*known) {
		return false
	}
	times := t.answersTo(c, text)
	if times > 1 && (!ok || e.Nonce > known.Nonce) {
		return ok
	}
	if times <= maxAnswers {
		t.correct(c, e.From, e.To, text)
	}
	return false
}

// maxAnswers to the same old text are given on a connection in a minute or two.
const maxAnswers = 2

// answersTo counts the answers to an old text of c, this one included, up to one more than
// are given.
func (t *topology) answersTo(c *conn, text string) int {
	for k := 1; k <= maxAnswers; k++ {
		if t.answered.First(t.now, fmt.Sprint(c.id, " ", k, " ", text)) {
			return k
		}
	}
	return maxAnswers + 1
}

// correct tells c what became of an edge of which it knows no more than what it was.
func (t *topology) correct(c *conn, from, to node.Name, text string) {
	if e, ok := t.graph.Get(from, to); ok {
		t.links.send(c, addEdge(*e))
		return
	}
	answer := refutation(text, from, to)
	t.seen.First(t.now, string(answer)) // it may come back
	t.links.send(c, answer)
}

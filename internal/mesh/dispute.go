package mesh

import (
	"encoding/binary"

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
// has started anew and heard the true state before an older one. Correcting each other would
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
// disputes about the same texts runs in circles. Nodes of tinc have no part in it: they know no outdated
// texts, and believe the correction.

// addEdge is the ADD_EDGE of e, with the nonce with which it was told first.
func addEdge(e graph.Edge) []byte {
	return wire.AddEdge{
		Nonce: e.Nonce, From: e.From, To: e.To, Addr: e.Addr, Options: e.Options, Weight: e.Weight,
		Local: e.Local, HasLocal: e.Local != wire.Address{},
	}.Append(nil)
}

// addEdgeAnew is the ADD_EDGE of e for somebody who shall believe it though he may
// have heard the opposite.
func (m *Mesh) addEdgeAnew(e graph.Edge) []byte {
	e.Nonce = m.nonce()
	return addEdge(e)
}

// outdated takes note that e is no more what is true: what a neighbour may say of it from
// before is not news. The edge that is made next has another nonce.
func (m *Mesh) outdated(e graph.Edge) { m.gone.first(m.now, string(addEdge(e))) }

// believes tells whether what c says of an edge with a text that is outdated here
// is believed nevertheless, and corrects it otherwise.
func (m *Mesh) believes(c *conn, e graph.Edge, text string) bool {
	known, ok := m.graph.Get(e.From, e.To)
	if ok && e.Same(*known) {
		return false
	}
	again := !m.corrected.first(m.now, correction(c, "1", text))
	if again && (!ok || e.Nonce > known.Nonce) {
		return ok
	}
	if !again || m.corrected.first(m.now, correction(c, "2", text)) {
		m.correct(c, e.From, e.To)
	}
	return false
}

// correction stands for the correction of a text on a connection.
func correction(c *conn, times, text string) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(c.id))) + times + text
}

// correct tells c what became of an edge of which it knows no more than what it was.
func (m *Mesh) correct(c *conn, from, to node.Name) {
	if e, ok := m.graph.Get(from, to); ok {
		m.send(c, addEdge(*e))
	} else {
		m.send(c, m.withdrawal(from, to))
	}
}

// Package events keeps what has happened in a network that people want to be told of: nodes that come and go, paths that
// change, members, owners, policy.
//
// [Log] remembers the latest ones. A reader follows it at its own pace: one that is too slow loses the oldest and is told
// how many, and nobody waits for it.
package events

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/control"
	"tincan/internal/node"
)

// Kind says what has happened: a fixed word.
type Kind string

// The kinds.
const (
	Started          Kind = "started"           // this node works
	Stopping         Kind = "stopping"          // this node ends
	NodeUp           Kind = "node-up"           // Node is reachable
	NodeDown         Kind = "node-down"         // Node is not reachable any more
	PathChanged      Kind = "path-changed"      // packets for Node take another path
	ExitChanged      Kind = "exit-changed"      // packets of this node leave the mesh by Node; without one they are refused
	MemberJoined     Kind = "member-joined"     // Node is a member of the signed network
	MemberPending    Kind = "member-pending"    // Node waits for an owner's approval
	MemberLeft       Kind = "member-left"       // Node has left by its own will
	MemberRemoved    Kind = "member-removed"    // Node was removed, or refused while it waited
	InvitationReused Kind = "invitation-reused" // an invitation was used more often than it may
	OwnersChanged    Kind = "owners-changed"    // other owners, or other rights of them
	PolicyChanged    Kind = "policy-changed"    // another access policy, or none any more
	Missed           Kind = "missed"            // the reader was too slow, or the events too old: Count are missing
)

// Kinds are all kinds.
var Kinds = []Kind{
	Started, Stopping, NodeUp, NodeDown, PathChanged, ExitChanged, MemberJoined, MemberPending, MemberLeft, MemberRemoved, InvitationReused, OwnersChanged,
	PolicyChanged, Missed,
}

// Event is one of them. It is part of the stable JSON forms.
type Event struct {
	// ID tells events of a node apart; later ones of one run have greater numbers after the hyphen. None: "missed".
	ID      string    `json:"id,omitempty"`
	Time    time.Time `json:"time"`
	Event   Kind      `json:"event"`
	Network string    `json:"network,omitempty"`
	Self    node.Name `json:"self"`           // the node that tells
	Node    node.Name `json:"node,omitempty"` // that it is about
	Text    string    `json:"text"`           // a sentence for people

	Path      control.Path      `json:"path,omitempty"`        // path-changed: as in status
	Via       node.Name         `json:"via,omitempty"`         // path-changed: the relay
	Transport control.Transport `json:"transport,omitempty"`   // path-changed: by which packets leave
	Before    control.Path      `json:"path_before,omitempty"` // path-changed
	BeforeVia node.Name         `json:"via_before,omitempty"`  // path-changed

	Fingerprint string `json:"fingerprint,omitempty"` // of the key, or of the invitation, that it is about
	By          string `json:"by,omitempty"`          // who did it: a name, or else a fingerprint
	Reason      string `json:"reason,omitempty"`      // of a removal
	Count       int    `json:"count,omitempty"`       // missed: how many, as far as that is known
}

// Log keeps the latest events. It is safe for concurrent use.
type Log struct {
	run  string
	size uint64 // events that are remembered
	mu   sync.Mutex
	ring []Event       // grows to size
	next uint64        // number of the event to come, from 1 on
	more chan struct{} // closed when there is one
}

// New makes a log that remembers size events. run begins their ids; it must be another one for each start of the node.
func New(run string, size int) *Log {
	return &Log{run: run, size: uint64(size), next: 1, more: make(chan struct{})}
}

// Add appends an event; its ID is set here. It never waits.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.ID = l.run + "-" + strconv.FormatUint(l.next, 10)
	if at := l.place(l.next); at < len(l.ring) {
		l.ring[at] = e
	} else {
		l.ring = append(l.ring, e)
	}
	l.next++
	close(l.more)
	l.more = make(chan struct{})
}

// place is where the event of a number is, or comes to, in the ring.
func (l *Log) place(number uint64) int { return int((number - 1) % l.size) }

// oldest is the number of the oldest event that is remembered. l.mu is held.
func (l *Log) oldest() uint64 {
	if l.next > l.size {
		return l.next - l.size
	}
	return 1
}

// Reader follows a [Log]. It is for one goroutine.
type Reader struct {
	l       *Log
	at      uint64 // number of the next event
	unknown bool   // events of another run may be missing
}

// Read returns a reader of the events from now on.
func (l *Log) Read() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Reader{l: l, at: l.next}
}

// ReadAll returns a reader that begins with the oldest event that is remembered.
func (l *Log) ReadAll() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &Reader{l: l, at: l.oldest()}
}

// ReadAfter returns a reader of the events after the one with an id. If that is of another run, it begins with the oldest one.
func (l *Log) ReadAfter(id string) *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	text, ok := strings.CutPrefix(id, l.run+"-")
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil || n >= l.next {
		return &Reader{l: l, at: l.oldest(), unknown: true}
	}
	return &Reader{l: l, at: n + 1}
}

// Next waits for the next event. If some were lost it is a [Missed] one. The error is that of ctx.
func (r *Reader) Next(ctx context.Context) (Event, error) {
	for {
		r.l.mu.Lock()
		oldest, more := r.l.oldest(), r.l.more
		switch {
		case r.unknown:
			r.unknown = false
			r.l.mu.Unlock()
			return Event{Time: time.Now().UTC(), Event: Missed, Text: "the node was restarted, or the events are too old: some may be missing"}, nil
		case r.at < oldest:
			n := int(oldest - r.at)
			r.at = oldest
			r.l.mu.Unlock()
			return Event{Time: time.Now().UTC(), Event: Missed, Text: strconv.Itoa(n) + " events are missing: they came faster than they were read", Count: n}, nil
		case r.at < r.l.next:
			e := r.l.ring[r.l.place(r.at)]
			r.at++
			r.l.mu.Unlock()
			return e, nil
		}
		r.l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

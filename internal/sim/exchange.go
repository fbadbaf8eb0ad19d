package sim

import (
	"time"

	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/reconcile"
)

// Exchange keeps the roster of a host in agreement with those of others: a membership.Keeper, or
// something simpler in a test. It stays the same when the host restarts, as a file does.
type Exchange interface {
	SetNeighbours(now time.Time, names []node.Name)
	Restart(now time.Time, name node.Name)
	Receive(now time.Time, from node.Name, data []byte) error
	Next() time.Time
	Tick(now time.Time)
	Flush(now time.Time) []reconcile.Out
}

// Exchanged is to be called after the roster of a host has been changed from outside. It carries what is to be sent,
// and has the exchange ticked in time.
func (h *Host) Exchanged() {
	for _, o := range h.Exchange.Flush(h.now()) {
		h.event(mesh.SendRoster{To: o.To, Data: o.Data, Urgent: o.Urgent})
	}
	h.tellRoster()
	next := h.Exchange.Next()
	if next.IsZero() {
		return
	}
	h.exchangeTick++
	tick, run := h.exchangeTick, h.run
	h.w.at(next.Add(-h.skew), func() {
		if h.Up && h.run == run && h.exchangeTick == tick {
			h.Exchange.Tick(h.now())
			h.Exchanged()
		}
	})
}

// rosterNeighbours is what the protocol core says about whom to talk to.
func (h *Host) rosterNeighbours(e mesh.RosterNeighbours) {
	if h.Exchange == nil {
		return
	}
	h.Exchange.SetNeighbours(h.now(), e.Names)
	for _, name := range e.Anew {
		h.Exchange.Restart(h.now(), name)
	}
	h.w.After(0, h.exchangedIfUp())
}

func (h *Host) rosterReceived(e mesh.RosterReceived) {
	if h.Exchange == nil {
		return
	}
	_ = h.Exchange.Receive(h.now(), e.From, e.Data)
	h.w.After(0, h.exchangedIfUp())
}

// exchangedIfUp is [Host.Exchanged] for when the effects at hand have been carried out.
func (h *Host) exchangedIfUp() func() {
	run := h.run
	return func() {
		if h.Up && h.run == run {
			h.Exchanged()
		}
	}
}

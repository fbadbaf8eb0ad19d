package sim

import (
	"tincan/internal/membership"
	"tincan/internal/mesh"
	"tincan/internal/roster"
)

// Keep makes h a node of a signed network from its next start on, with r as the file that it reads then. r belongs to h.
func (h *Host) Keep(r *roster.Roster) {
	h.Keeper = membership.New(h.Name, r, h.now())
	h.Exchange = h.Keeper
}

// reread has h begin with its roster as after a start of the program.
func (h *Host) reread() {
	if h.Keeper == nil {
		return
	}
	if h.run > 1 {
		h.Keep(h.Keeper.Roster().Clone())
	}
	h.Heard = h.counts()
}

// Submit adds statements at h, as its operator does, and returns what became of them.
func (h *Host) Submit(raws ...[]byte) []roster.Result {
	results := h.Keeper.Merge(h.now(), raws)
	h.Exchanged()
	return results
}

// counts is the state of the roster if it counts, nil otherwise.
func (h *Host) counts() *roster.State {
	if !h.Keeper.Whole() {
		return nil
	}
	return h.Keeper.State()
}

// tellRoster tells the protocol core what its roster says, if that is something new.
func (h *Host) tellRoster() {
	if h.Keeper == nil || h.counts() == h.Heard {
		return
	}
	h.Heard = h.counts()
	h.event(h.rosterNow())
}

// rosterNow is what the protocol core is told of the roster.
func (h *Host) rosterNow() mesh.RosterChanged {
	return mesh.RosterChanged{State: h.Heard, Fetching: h.Keeper != nil && h.Heard == nil}
}

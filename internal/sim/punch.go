package sim

import (
	"errors"
	"net/netip"
	"slices"

	"tincan/internal/mesh"
)

// together is a connection that is dialled from a port of ours, in the hope that the other end does
// the same.
type together struct {
	conn mesh.ConnID
	to   *Host
}

// dialTogether dials from h's own port, which its NAT keeps. A NAT lets in nothing but the answer
// to that, or the same from the other end.
func (h *Host) dialTogether(e mesh.Dial) {
	w, run := h.w, h.run
	w.Dials++
	h.Punched++
	ip, _ := netip.ParseAddr(e.To.Host)
	var to *Host
	for _, x := range w.hosts {
		if x.outside().Addr() == ip {
			to = x
		}
	}
	if to != nil && to.Opens {
		h.meet(to, e)
		return
	}
	mine := &together{e.Conn, to}
	h.together = append(h.together, mine)
	w.After(e.Timeout, func() {
		if i := slices.Index(h.together, mine); i >= 0 && h.run == run {
			h.together = slices.Delete(h.together, i, i+1)
			if !h.hungUp[e.Conn] {
				h.event(mesh.Closed{Conn: e.Conn, Err: errors.New("timed out")})
			}
		}
	})
	if to == nil || !to.Up || !w.TCP(h, to) || !w.TCP(to, h) {
		return
	}
	for i, theirs := range to.together {
		if theirs.to == h && !to.hungUp[theirs.conn] {
			h.together = h.together[:len(h.together)-1]
			to.together = slices.Delete(to.together, i, i+1)
			h.cross(to, e.Conn, theirs.conn)
			return
		}
	}
}

// cross makes one connection of two attempts.
func (h *Host) cross(to *Host, own, theirs mesh.ConnID) {
	a := &link{host: h, id: own, run: h.run}
	b := &link{host: to, id: theirs, run: to.run}
	a.other, b.other = b, a
	h.links[a.id], to.links[b.id] = a, b
	for _, x := range []*link{a, b} {
		x.other.deliver(func() {
			x.host.event(mesh.Dialed{Conn: x.id, Remote: x.other.host.outside(), Local: x.host.Addr})
		})
	}
}

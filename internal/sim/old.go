package sim

import (
	"errors"
	"math/big"
	"slices"

	"tincan/internal/forward"
	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Nodes of tinc 1.0. Their protocol core is ours without an Ed25519 key, which then speaks
// only the old protocol; the world watches that they are told nothing that a
// real one does not know. The login is not carried out, the packets are.

// AddOld makes a host with a node of tinc 1.0.
func (w *World) AddOld(name node.Name) *Host {
	h := w.Add(name)
	h.Old = true
	h.MakeRSA()
	return h
}

// MakeRSA gives h an RSA key, which is none, but different from all others.
func (h *Host) MakeRSA() {
	h.RSA = &keys.RSAPublicKey{N: new(big.Int).SetBytes([]byte(h.Name)), E: 65537}
}

// understood tells whether tinc 1.0 could make something of a request.
func understood(h *Host, text string) bool {
	kind, err := wire.RequestKind(text)
	if err != nil || kind > wire.KindPacket || kind == wire.KindTermReq || len(text) > wire.MaxLine {
		return false
	}
	if kind == wire.KindReqKey { // it would take any for a request for a key
		r, err := wire.ParseReqKey(text)
		return err == nil && (r.Sub == wire.SubNone || r.To != h.Name)
	}
	return true
}

// tryRSA completes the login of tinc 1.0, and checks what a real one would check.
func (l *link) tryRSA() {
	a, b := l.rsa, l.other.rsa
	if l.closed {
		return
	}
	if a.Initiator == b.Initiator || !a.PeerKey.Equal(*l.other.host.RSA) || !b.PeerKey.Equal(*l.host.RSA) {
		err := errors.New("the answer to the challenge is wrong")
		l.deliver(func() { l.other.host.event(mesh.Closed{Conn: l.other.id, Err: err}) })
		l.shut(err)
		return
	}
	l.secured()
}

// sendOldProbe carries a probe as a packet of tinc 1.0.
func (h *Host) sendOldProbe(e mesh.SendProbe, link *legacy.Link) {
	datagram, err := link.Seal(nil, e.Data)
	if err != nil {
		return
	}
	h.datagram(e.Addr, false, len(datagram), func(to *Host) {
		if to.Name != e.Node { // somebody else's address
			return
		}
		if frame, ok := to.openOld(h, datagram); ok {
			to.heardFrom(h)
			if frame[0] != wire.ProbeRequest {
				to.heardAgain(h, false)
			}
			to.event(mesh.ProbeIn{Node: h.Name, Addr: h.outside(), Direct: true, Data: frame})
		}
	})
}

// openOld opens a datagram of from. One that cannot be opened is from nobody unless from is known
// to have that address.
func (h *Host) openOld(from *Host, datagram []byte) ([]byte, bool) {
	st := h.peers[from.Name]
	err := legacy.ErrNoKey
	if st.Legacy != nil {
		var frame []byte
		if frame, err = st.Legacy.Open(nil, datagram); err == nil {
			h.bad[from.Name] = 0
			return frame, true
		}
	}
	if st.Addr == from.outside() && !errors.Is(err, legacy.ErrReplay) {
		h.bad[from.Name]++
		h.event(mesh.Undecodable{Node: from.Name, Count: h.bad[from.Name]})
	}
	return nil, false
}

// emitOld is one hop of tinc 1.0's rule for sending a packet, section "Choosing the path of a frame".
func (w *World) emitOld(at, to *Host, size int, byTCP bool, r Trace, done func(Trace)) {
	frame := make([]byte, max(size+14, 60))
	frame[12] = 8
	arrive := func(hop *Host, byTCP bool) {
		if len(r.Hops) > 1 && r.Hops[len(r.Hops)-2] == hop.Name {
			return // never back to where it came from
		}
		r := r
		r.Hops = append(slices.Clip(r.Hops), hop.Name)
		r.UDP = r.UDP && !byTCP
		if hop == to {
			r.Arrived = true
			done(r)
			return
		}
		hop.event(mesh.Traffic{Node: to.Name})
		w.emit(hop, to, size, byTCP, r, done)
	}
	packet := func(st mesh.PeerState) {
		if l := at.links[st.Conn]; l != nil && !l.closed {
			l.packet(func() { arrive(l.other.host, true) })
		}
	}
	target := at.peers[at.peers[to.Name].Via]
	if byTCP {
		target = at.peers[at.peers[to.Name].NextHop]
	}
	for range 16 {
		step := forward.Legacy(len(frame), byTCP || at.cfg.TCPOnly, target.LegacyForward())
		switch step {
		case forward.LegacySession: // it gets the frame as if it were its own
			if hop := w.hosts[target.Node]; hop != nil && target.Tunnel != nil {
				record := target.Tunnel.Seal(nil, append(make([]byte, 1, size+1), make([]byte, size)...))
				w.forward(at, at, hop, record, r, func(way Trace) {
					r.UDP, r.Hops = way.UDP, way.Hops[:len(way.Hops)-1] // arrive adds the last
					arrive(hop, false)
				})
			}
			return
		case forward.LegacyDatagram:
			datagram, err := target.Legacy.Seal(nil, frame)
			if err != nil {
				return
			}
			name := target.Node
			at.datagram(target.Addr, false, len(datagram), func(hop *Host) {
				if hop.Name != name {
					return
				}
				if _, ok := hop.openOld(at, datagram); ok {
					hop.heardFrom(at)
					arrive(hop, false)
				}
			})
			return
		case forward.LegacyNext:
			target = at.peers[target.NextHop]
		default:
			packet(target)
			return
		}
	}
}

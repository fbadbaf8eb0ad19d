package mesh

import (
	"fmt"
	"slices"
	"time"

	"tincan/internal/mask"
	"tincan/internal/wire"
)

// Datagrams between two tincans are hidden with masks if both can do it (package mask), so that a filter does not recognise them. A
// filter that lets nothing pass that it does not recognise is possible as well. So while a path is searched both forms are tried
// in turn, the one that is liked better first, or that has worked in this network before, unless the configuration wants only one of
// them. While the other one is in use the better one is tried now and then.

// form is how the datagrams on a path look.
type form uint8

const (
	noForm form = iota // none may be sent, at least for now
	plainForm
	maskedForm
)

// String is what a path of that form is called in logs.
func (f form) String() string {
	if f == maskedForm {
		return "masked UDP"
	}
	return "UDP"
}

func formOf(masked bool) form {
	if masked {
		return maskedForm
	}
	return plainForm
}

// carrier is the carrier that datagrams of that form are.
func (f form) carrier() Carrier {
	switch f {
	case maskedForm:
		return ByMasked
	case plainForm:
		return ByUDP
	}
	return NoCarrier
}

// forms are those that datagrams to a node may have.
type forms struct {
	p       *peer
	mask    *mask.Mask // nil: they cannot be hidden
	pending bool       // this is going to be known
	plain   Unmasked
}

func formsOf(e *env, p *peer) forms {
	m, pending := p.session().mask()
	return forms{p, m, pending, e.cfg.Unmasked}
}

// masked tells whether datagrams to p are hidden.
func masked(e *env, p *peer) bool { return formsOf(e, p).now() == maskedForm }

// choice tells whether there is one.
func (f forms) choice() bool { return f.mask != nil && f.plain != UnmaskedNever }

// now is that of the path, or as long as it is not confirmed, the one to be tried.
func (f forms) now() form {
	switch {
	case f.mask != nil && (!f.choice() || !f.p.unhidden()):
		return maskedForm
	case f.pending, f.plain == UnmaskedNever:
		return noForm
	}
	return plainForm
}

// reply is that of the reply to a probe request: that of the request where it may be.
func (f forms) reply(request form) form {
	switch {
	case f.mask != nil && (request == maskedForm || !f.choice()):
		return maskedForm
	case f.plain == UnmaskedNever, f.pending && request == maskedForm:
		return noForm
	}
	return plainForm
}

// best is the one that is liked better.
func (f forms) best() form {
	if f.mask == nil || f.plain == UnmaskedFirst {
		return plainForm
	}
	return maskedForm
}

// other is the one that the path does not have, noForm if there is none.
func (f forms) other() form {
	switch {
	case !f.choice():
		return noForm
	case f.now() == plainForm:
		return maskedForm
	}
	return plainForm
}

// takeTurns chooses the form of the next requests to a node that is not found yet.
func (f forms) takeTurns() {
	if !f.choice() {
		return
	}
	r := f.p.udp()
	first := f.best()
	if was := f.p.workedForm(); was != noForm {
		first = was
	}
	r.plain = first == plainForm
	if r.bursts > quickBursts/2 && r.bursts%2 == 0 {
		r.plain = !r.plain
	}
}

// formsChanged: the session with p says something new about masks.
func (ps *paths) formsChanged(p *peer) {
	ps.touch(p)
	p.udp().probeNow()
	ps.try(p, true)
}

// probeJitter is by how much the next probe of discovery is late, up to a quarter of the interval, if datagrams are hidden: a
// timer would give them away.
func probeJitter(e *env, p *peer) time.Duration {
	if formsOf(e, p).now() != maskedForm {
		return 0
	}
	interval := e.cfg.UDPDiscoveryInterval
	if p.confirmed() {
		interval = e.cfg.UDPDiscoveryKeepalive
	}
	return e.jitter(max(interval/4, time.Millisecond))
}

// maskAs is what hides a datagram to p in that form, nil: nothing.
func (p *peer) maskAs(f form) *mask.Mask {
	if f != maskedForm {
		return nil
	}
	m, _ := p.session().mask()
	return m
}

// ladderOfForms says what has become of both forms of datagrams to p. may: it may be sent some; direct: packets for p go directly by UDP.
func ladderOfForms(e *env, p *peer, may, direct bool) []CarrierState {
	order := []form{maskedForm, plainForm}
	if e.cfg.Unmasked == UnmaskedFirst {
		slices.Reverse(order)
	}
	out := make([]CarrierState, 0, len(order))
	for _, f := range order {
		state, text := rungOf(e, p, f, may, direct)
		out = append(out, CarrierState{f.carrier(), state, text})
	}
	return out
}

// rungOf says what has become of one of them.
func rungOf(e *env, p *peer, f form, may, direct bool) (state, text string) {
	forms := formsOf(e, p)
	now := noForm
	if p.contacted != nil {
		now = forms.now()
	}
	switch options := p.path().Options; {
	case e.cfg.TCPOnly:
		return CarrierOff, "no UDP is used here: TCPOnly = yes, or Carriers names neither form of it"
	case p.host().TCPOnly:
		return CarrierOff, fmt.Sprintf("the host file of %s here has TCPOnly = yes", p.name)
	case f == maskedForm && (e.cfg.Mask == nil || !e.cfg.Hybrid):
		return CarrierOff, "Carriers does not name masked"
	case f == plainForm && e.cfg.Unmasked == UnmaskedNever:
		return CarrierOff, "Carriers does not name udp"
	case !p.reachable():
		return CarrierStandby, fmt.Sprintf("%s is not reachable", p.name)
	case options.Has(wire.TCPOnly):
		return CarrierUnavailable, fmt.Sprintf("%s, or the node that connects it, uses no UDP", p.name)
	case !may:
		return CarrierUnavailable, "IndirectData = yes here, there or on the way"
	case !p.session().ready():
		return CarrierStandby, fmt.Sprintf("there is no session with %s", p.name)
	case f == maskedForm && forms.mask == nil && forms.pending:
		return CarrierTrying, fmt.Sprintf("%s has not said yet whether it takes it", p.name)
	case f == maskedForm && forms.mask == nil:
		return CarrierUnavailable, fmt.Sprintf("%s does not take it: it is a node of tinc or an older tincan, or does not name masked in its Carriers", p.name)
	case p.confirmed() && f == now && direct:
		return CarrierInUse, "packets"
	case p.confirmed() && f == now:
		return CarrierStandby, "it is answered, but packets take another path"
	case p.confirmed() && f == forms.best():
		return CarrierFailed, fmt.Sprintf("not answered; tried every %s", e.cfg.UDPDiscoveryKeepalive)
	case p.confirmed():
		return CarrierStandby, fmt.Sprintf("not needed: %s is answered", now)
	case p.idle() || p.contacted == nil || p.udp().asked.IsZero():
		return CarrierStandby, "not tried, as there was no packet lately"
	case p.udp().bursts < quickBursts:
		return CarrierTrying, "no answer yet"
	}
	return CarrierFailed, "no answer"
}

package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tincan/internal/mesh/timer"
	"tincan/internal/node"
)

// A node may take meta connections inside of HTTPS, too: by a carrier. The configuration says which of the two is liked better,
// TCP or carriers, or that only one of them may be used. TCP is, by default, as it is better where it works: it is tried
// first, and carriers beside it a little later. Where what is liked better has turned out not to work, the other one
// comes first, and the better one is tried from time to time, beside the connection that stands. That is remembered for the place
// where this machine is.

const (
	// tcpShare is how many addresses are tried by TCP before carriers are tried beside them.
	tcpShare = 2
	// firstAvoid is how long what is liked better is avoided to a node after it did not work where the other may. It doubles each
	// time up to longestAvoid.
	firstAvoid   = time.Minute
	longestAvoid = 6 * time.Hour
	// rememberedAvoid is the same where that was so before.
	rememberedAvoid = 10 * time.Minute
	// proven is how long a connection by what is liked better must live until that counts as working.
	proven = time.Minute
	// carrierLogin is how long a login by TCP may be without an answer if there is a carrier that has not been tried.
	carrierLogin = 2 * time.Second
	// carrierAlone is how long carriers are tried alone if TCP may be tried beside them.
	carrierAlone = 2500 * time.Millisecond
)

// carrying is what is known of TCP and carriers to a node.
type carrying struct {
	avoid  time.Time     // what is liked better comes second until then
	wait   time.Duration // how long that was; 0: it works, as far as is known
	why    string        // why it is avoided, for people
	worked Worked        // what is remembered of this place
	turn   bool          // a connection that stood was cut off: the other of the two is tried at once
	better *timer.Timer  // next attempt, by what is liked better, beside a connection
}

// carriers decides when a node is dialled by its carriers, and when by TCP.
type carriers struct {
	*env
	*directory

	links interface { // connections
		newDial(p *peer, to netip.AddrPort) *conn
	}
	addresses interface { // which addresses are believed
		isMirror(e Endpoint) bool
		mayDial(p *peer, e Endpoint) bool
	}
	dialer interface { // whom we dial
		addressesOf(p *peer) []Endpoint
		isDialTarget(name node.Name) bool
	}
}

// of lists the carriers of p.
func (k *carriers) of(p *peer) (out []Endpoint) {
	if k.cfg.Connecting == OnlyTCP {
		return nil
	}
	for _, e := range p.host().Carriers {
		if !k.addresses.isMirror(e) && k.addresses.mayDial(p, e) {
			out = append(out, e)
		}
	}
	return out
}

// tcp lists where p may be dialled by TCP.
func (k *carriers) tcp(p *peer) []Endpoint {
	if k.cfg.Connecting == OnlyTLS {
		return nil
	}
	return k.dialer.addressesOf(p)
}

// likesTLS tells whether carriers are liked better than TCP.
func (k *carriers) likesTLS() bool {
	return k.cfg.Connecting == TLSFirst || k.cfg.Connecting == OnlyTLS
}

// hasChoice tells whether p may be dialled by TCP as well as by carriers.
func (k *carriers) hasChoice(p *peer) bool {
	return k.cfg.Connecting != OnlyTCP && k.cfg.Connecting != OnlyTLS && len(p.host().Carriers) > 0
}

// avoids tells whether what is liked better comes second for p.
func (k *carriers) avoids(p *peer) bool { return k.hasChoice(p) && k.now.Before(p.carry.avoid) }

// tlsFirst tells whether p is dialled by carriers first.
func (k *carriers) tlsFirst(p *peer) bool { return k.likesTLS() != k.avoids(p) }

// isBetter tells whether c is by what is liked better.
func (k *carriers) isBetter(c *conn) bool { return c.isCarried() == k.likesTLS() }

// targets lists where p may be dialled, in the order in which that is tried.
func (k *carriers) targets(p *peer) []Endpoint {
	if k.tlsFirst(p) {
		return append(k.of(p), k.tcp(p)...)
	}
	return mixed(k.tcp(p), k.of(p))
}

// mixed puts carriers after the first addresses for TCP.
func mixed(tcp, carriers []Endpoint) []Endpoint {
	return slices.Insert(append([]Endpoint{}, tcp...), min(tcpShare, len(tcp)), carriers...)
}

// together cuts off of a queue what is tried together, and says how long each of it may take. Where carriers come first, they are tried
// alone for a while: a TCP connection is made in one round trip, a carrier in three.
func (k *carriers) together(p *peer, queue []Endpoint) (now, later []Endpoint, timeout time.Duration) {
	if i := slices.IndexFunc(queue, func(e Endpoint) bool { return e.Carrier == "" }); i > 0 && k.tlsFirst(p) {
		return queue[:i], mixed(queue[i:], queue[:i]), min(carrierAlone, k.cfg.PingTimeout)
	}
	return queue, []Endpoint{}, k.cfg.PingTimeout
}

// avoid notes that what is liked better did not work with p.
func (k *carriers) avoid(p *peer, why string) {
	if !k.hasChoice(p) {
		return
	}
	wait := min(max(2*p.carry.wait, firstAvoid), longestAvoid)
	p.carry.wait, p.carry.avoid, p.carry.why = wait, k.now.Add(wait+k.jitter(wait/4)), why
}

// forget has what is liked better tried first again, as nothing is known of this place, or to be counted on any more.
func (k *carriers) forget(worked map[node.Name]Worked) {
	for _, p := range k.order {
		k.timers.Cancel(p.carry.better)
		p.carry = carrying{}
	}
	k.remember(worked)
}

// remember takes over what has worked when this machine was last where it is.
func (k *carriers) remember(worked map[node.Name]Worked) {
	for _, p := range k.order {
		if w := worked[p.name]; w != (Worked{}) {
			p.carry.worked = w
			if w.Link == ByTLS && !k.likesTLS() || w.Link == ByTCP && k.likesTLS() {
				p.carry.avoid, p.carry.wait, p.carry.why = k.now.Add(rememberedAvoid), rememberedAvoid, "did not work in this network before"
			}
		}
		if c := p.conn(); c != nil {
			k.seekBetter(c)
		}
	}
}

// answered: of what c was tried at, to has answered first.
func (k *carriers) answered(c *conn, to Endpoint, tries []Endpoint) {
	better := func(e Endpoint) bool { return (e.Carrier != "") == k.likesTLS() }
	if !better(to) && (slices.ContainsFunc(tries, better) || k.likesTLS() && !k.avoids(c.peer)) {
		k.avoid(c.peer, "did not answer")
	}
}

// takesTurn tells whether p is to be dialled at once, though its connection did not live long.
func (k *carriers) takesTurn(p *peer) bool {
	turn := p.carry.turn
	p.carry.turn = false
	return turn
}

// loginTime is how long the login on c may be without an answer.
func (k *carriers) loginTime(c *conn) time.Duration {
	if c.dialled() && !c.isCarried() && c.peer != nil && len(k.of(c.peer)) > 0 {
		return min(carrierLogin, k.cfg.PingTimeout)
	}
	return k.cfg.PingTimeout
}

// cutOff: c, which we have dialled, has fallen silent or was cut off, during the login or later.
func (k *carriers) cutOff(c *conn) {
	p := c.peer
	if p == nil || !c.dialled() || c.isPunched() || !k.hasChoice(p) {
		return
	}
	p.carry.turn = c.isActive()
	if !k.isBetter(c) {
		p.carry.avoid = time.Time{} // both are tried
		return
	}
	k.avoid(p, "was cut off or fell silent")
}

// stands: c, which we have dialled, has been activated.
func (k *carriers) stands(c *conn) {
	p := c.peer
	if !k.hasChoice(p) {
		return
	}
	if !k.isBetter(c) {
		if k.avoids(p) {
			k.note(p, linkOf(c))
		}
		k.seekBetter(c)
		return
	}
	k.after(proven, func() {
		if p.conn() == c {
			p.carry.wait, p.carry.avoid, p.carry.why = 0, time.Time{}, ""
			k.note(p, NoCarrier)
		}
	})
}

// linkOf is what c is made by.
func linkOf(c *conn) Carrier {
	if c.isCarried() {
		return ByTLS
	}
	return ByTCP
}

func (k *carriers) note(p *peer, link Carrier) {
	if p.carry.worked.Link != link {
		p.carry.worked.Link = link
		k.emit(SaveWorked{Node: p.name, Worked: p.carry.worked})
	}
}

// noteForm notes that datagrams to p have a form that is not liked better; noForm: they have.
func (k *carriers) noteForm(p *peer, f form) {
	if c := f.carrier(); p.carry.worked.Form != c {
		p.carry.worked.Form = c
		k.emit(SaveWorked{Node: p.name, Worked: p.carry.worked})
	}
}

// workedForm is the form of datagrams to p that has worked here where the other one did not, noForm if there is none.
func (p *peer) workedForm() form {
	switch p.carry.worked.Form {
	case ByMasked:
		return maskedForm
	case ByUDP:
		return plainForm
	}
	return noForm
}

// seekBetter sets when what is liked better is tried beside c.
func (k *carriers) seekBetter(c *conn) {
	p := c.peer
	if k.isBetter(c) || !c.dialled() || !k.hasChoice(p) {
		return
	}
	k.timers.Cancel(p.carry.better)
	at := later(p.carry.avoid, k.now.Add(firstAvoid))
	p.carry.better = k.timers.Set(at, func() { k.tryBetter(c) })
}

// tryBetter dials the peer of c by what is liked better, beside c. Should that lead to a login, the new connection takes c's place.
func (k *carriers) tryBetter(c *conn) {
	p := c.peer
	if k.down || p.conn() != c || !k.dialer.isDialTarget(p.name) {
		return
	}
	to, what := k.tcp(p), "TCP"
	if k.likesTLS() {
		to, what = k.of(p), "HTTPS"
	}
	if len(to) == 0 {
		k.avoid(p, "has no address")
		k.seekBetter(c)
		return
	}
	b := k.links.newDial(p, netip.AddrPort{})
	b.carry.beside = c
	k.logf(2, Info, "trying %s to %s, which is connected by %s", what, p.name, linkOf(c).long())
	k.emit(Dial{Conn: b.id, Node: p.name, To: to[0], Others: to[1:], Timeout: k.cfg.PingTimeout})
}

// ended: b, an attempt beside a connection, has failed.
func (k *carriers) ended(b *conn) {
	if c := b.carry.beside; c != nil && b.peer.conn() == c {
		k.avoid(b.peer, "did not answer")
		k.seekBetter(c)
	}
}

// connCarry is what carriers keeps of a connection.
type connCarry struct {
	beside *conn // the connection that it is to replace, nil if there is none
}

// ladder says what has become of TCP and carriers to p. direct: packets for p go over our connection with it.
func (k *carriers) ladder(p *peer, direct bool) []CarrierState {
	order := []Carrier{ByTCP, ByTLS}
	if k.likesTLS() {
		slices.Reverse(order)
	}
	out := make([]CarrierState, 0, len(order))
	for i, by := range order {
		s := k.rung(p, by, i == 0)
		if s.State == CarrierInUse {
			s.Text = "requests"
			if direct {
				s.Text = "packets and requests"
			}
		}
		out = append(out, s)
	}
	return out
}

// rung says what has become of one of the two. better: it is liked better.
func (k *carriers) rung(p *peer, by Carrier, better bool) CarrierState {
	say := func(state, format string, args ...any) CarrierState {
		return CarrierState{by, state, fmt.Sprintf(format, args...)}
	}
	c := p.conn()
	switch {
	case c != nil && linkOf(c) == by:
		return CarrierState{Carrier: by, State: CarrierInUse}
	case k.cfg.Connecting == OnlyTLS && by == ByTCP, k.cfg.Connecting == OnlyTCP && by == ByTLS:
		return say(CarrierOff, "Carriers does not name %s", by)
	case by == ByTLS && len(p.host().Carriers) == 0:
		return say(CarrierUnavailable, "there is no line Carrier in the host file of %s", p.name)
	case by == ByTCP && len(k.tcp(p)) == 0:
		return say(CarrierUnavailable, "no address of %s is known", p.name)
	case better && k.avoids(p) && (c == nil || c.dialled()):
		return say(CarrierFailed, "%s; tried again in %s", p.carry.why, p.carry.avoid.Sub(k.now).Round(time.Second))
	case c != nil && !c.dialled():
		return say(CarrierStandby, "not needed: %s has made the connection by %s", p.name, linkOf(c).long())
	case c != nil:
		return say(CarrierStandby, "not needed: there is a connection by %s", linkOf(c).long())
	case !k.dialer.isDialTarget(p.name):
		return say(CarrierStandby, "no connection with %s is wanted: packets go without one", p.name)
	case p.lastProblem() != "":
		return say(CarrierFailed, "the last attempt to connect failed")
	}
	return say(CarrierTrying, "no answer yet")
}

// CarrierState says what has become of one carrier to a node.
type CarrierState struct {
	Carrier Carrier
	State   string // one of the following
	Text    string // what it carries, or why it carries nothing; for people, without a full stop
}

// States of carriers.
const (
	CarrierInUse       = "in-use"
	CarrierStandby     = "standby"     // it may work, and is not needed
	CarrierTrying      = "trying"      // nobody has answered yet
	CarrierFailed      = "failed"      // it was tried, and did not work
	CarrierUnavailable = "unavailable" // the other node does not have it
	CarrierOff         = "off"         // the configuration here does not allow it
)

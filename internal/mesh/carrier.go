package mesh

import (
	"net/netip"
	"slices"
	"time"

	"tincan/internal/mesh/timer"
	"tincan/internal/node"
)

// A node may take meta connections inside of HTTPS, too: by a carrier. TCP is better where it works, so it is tried first,
// and carriers beside it a little later. Where TCP to a node has turned out not to work, its carriers come first, and TCP is
// tried from time to time, beside the connection that stands. That is remembered for the place where this machine is.

const (
	// tcpShare is how many addresses are tried by TCP before carriers are tried beside them.
	tcpShare = 2
	// firstAvoid is how long TCP to a node is avoided after it did not work where a carrier may. It doubles each time
	// up to longestAvoid.
	firstAvoid   = time.Minute
	longestAvoid = 6 * time.Hour
	// rememberedAvoid is the same where that was so before.
	rememberedAvoid = 10 * time.Minute
	// proven is how long a connection by TCP must live until TCP counts as working.
	proven = time.Minute
	// carrierLogin is how long a login by TCP may be without an answer if there is a carrier that has not been tried.
	carrierLogin = 2 * time.Second
)

// carrying is what is known of TCP and carriers to a node.
type carrying struct {
	avoid      time.Time     // carriers come before TCP until then
	wait       time.Duration // how long that was; 0: TCP works, as far as is known
	remembered bool          // that carriers come first here
	turn       bool          // a connection that stood was cut off: the other of the two is tried at once
	better     *timer.Timer  // next attempt by TCP beside a carrier
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
	for _, e := range p.host().Carriers {
		if !k.addresses.isMirror(e) && k.addresses.mayDial(p, e) {
			out = append(out, e)
		}
	}
	return out
}

// targets lists where p may be dialled, in the order in which that is tried.
func (k *carriers) targets(p *peer) []Endpoint {
	tcp, carriers := k.dialer.addressesOf(p), k.of(p)
	if k.avoidsTCP(p) {
		return append(carriers, tcp...)
	}
	return slices.Insert(tcp, min(tcpShare, len(tcp)), carriers...)
}

// together cuts off of a queue what is tried together. Where TCP is avoided, carriers are tried alone: a TCP
// connection is made in one round trip, a carrier in three.
func (k *carriers) together(p *peer, queue []Endpoint) (now, later []Endpoint) {
	if i := slices.IndexFunc(queue, func(e Endpoint) bool { return e.Carrier == "" }); i > 0 && k.avoidsTCP(p) {
		return queue[:i], slices.Clone(queue[i:])
	}
	return queue, []Endpoint{}
}

// avoidsTCP tells whether p is dialled by carriers first.
func (k *carriers) avoidsTCP(p *peer) bool {
	return len(p.host().Carriers) > 0 && k.now.Before(p.carry.avoid)
}

// avoidTCP notes that TCP to p did not work.
func (k *carriers) avoidTCP(p *peer) {
	if len(p.host().Carriers) == 0 {
		return
	}
	wait := min(max(2*p.carry.wait, firstAvoid), longestAvoid)
	p.carry.wait, p.carry.avoid = wait, k.now.Add(wait+k.jitter(wait/4))
}

// forget has TCP tried first again, as nothing is known of this place, or to be counted on any more.
func (k *carriers) forget(carried map[node.Name]bool) {
	for _, p := range k.order {
		k.timers.Cancel(p.carry.better)
		p.carry = carrying{}
	}
	k.remember(carried)
}

// remember takes over which nodes were reached by carriers when this machine was last where it is.
func (k *carriers) remember(carried map[node.Name]bool) {
	for _, p := range k.order {
		if carried[p.name] {
			p.carry = carrying{avoid: k.now.Add(rememberedAvoid), wait: rememberedAvoid, remembered: true}
		}
		if c := p.conn(); c != nil {
			k.seekBetter(c)
		}
	}
}

// answered: of what c was tried at, a carrier has answered first.
func (k *carriers) answered(c *conn, tries []Endpoint) {
	if slices.ContainsFunc(tries, func(e Endpoint) bool { return e.Carrier == "" }) {
		k.avoidTCP(c.peer)
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
	if p == nil || !c.dialled() || c.isPunched() || len(p.host().Carriers) == 0 {
		return
	}
	p.carry.turn = c.isActive()
	if c.isCarried() {
		p.carry.avoid = time.Time{} // both are tried
		return
	}
	k.avoidTCP(p)
}

// stands: c, which we have dialled, has been activated.
func (k *carriers) stands(c *conn) {
	p := c.peer
	if len(p.host().Carriers) == 0 {
		return
	}
	if c.isCarried() {
		if k.avoidsTCP(p) {
			k.note(p, true)
		}
		k.seekBetter(c)
		return
	}
	k.after(proven, func() {
		if p.conn() == c {
			p.carry.wait, p.carry.avoid = 0, time.Time{}
			k.note(p, false)
		}
	})
}

func (k *carriers) note(p *peer, yes bool) {
	if p.carry.remembered != yes {
		p.carry.remembered = yes
		k.emit(SaveCarried{Node: p.name, Carried: yes})
	}
}

// seekBetter sets when TCP is tried beside c.
func (k *carriers) seekBetter(c *conn) {
	p := c.peer
	if !c.isCarried() || !c.dialled() {
		return
	}
	k.timers.Cancel(p.carry.better)
	at := later(p.carry.avoid, k.now.Add(firstAvoid))
	p.carry.better = k.timers.Set(at, func() { k.tryTCP(c) })
}

// tryTCP dials the peer of c by TCP, beside c. Should that lead to a login, the new connection takes c's place.
func (k *carriers) tryTCP(c *conn) {
	p := c.peer
	if k.down || p.conn() != c || !k.dialer.isDialTarget(p.name) {
		return
	}
	tcp := k.dialer.addressesOf(p)
	if len(tcp) == 0 {
		k.avoidTCP(p)
		k.seekBetter(c)
		return
	}
	b := k.links.newDial(p, netip.AddrPort{})
	b.carry.beside = c
	k.logf(2, Info, "trying TCP to %s, which is connected by a carrier", p.name)
	k.emit(Dial{Conn: b.id, Node: p.name, To: tcp[0], Others: tcp[1:], Timeout: k.cfg.PingTimeout})
}

// ended: b, an attempt by TCP beside a carrier, has failed.
func (k *carriers) ended(b *conn) {
	if c := b.carry.beside; c != nil && b.peer.conn() == c {
		k.avoidTCP(b.peer)
		k.seekBetter(c)
	}
}

// connCarry is what carriers keeps of a connection.
type connCarry struct {
	beside *conn // the connection by a carrier that it is to replace, nil if there is none
}

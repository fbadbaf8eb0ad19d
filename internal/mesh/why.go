package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tincan/internal/hybrid"
	"tincan/internal/mesh/pmtu"
	"tincan/internal/node"
	"tincan/internal/wire"
)

// Why says why packets for a node take the path they do.
type Why struct {
	Node       node.Name
	Good       bool // no problem was found
	Reasons    []Reason
	Carriers   []CarrierState // to the node itself, also if packets go through another; none for this node
	Encryption string         // what protects the packets, and why by nothing better; "" without a session, and with nodes of tinc 1.0
	Change     string         // the one change that would help, "" if nobody here can tell
}

// Reason is one link of the chain: each follows from the one after it.
type Reason struct {
	Code string // a fixed word for programs, see the constants
	Text string // a sentence for people, without a full stop
}

// Other reasons why a session has the keys that it has.
const (
	stockOnly = "stock-only"       // the node does not announce the second key exchange
	notWanted = "post-quantum-off" // it does not want post-quantum keys
)

// Codes of reasons.
const (
	WhySelf         = "self"
	WhyUnknown      = "unknown-node"
	WhyUnreachable  = "unreachable"
	WhyAlone        = "no-connection-here" // this node has no connection with anybody
	WhyAway         = "not-in-the-mesh"    // nobody has one with that node
	WhyRefused      = "connection-failed"
	WhyNoAddress    = "no-address"
	WhyDirect       = "direct-udp"
	WhyTCP          = "direct-tcp"
	WhyRelayed      = "relayed"
	WhyHopByHop     = "tinc-1.0" // relays open the packets
	WhyNoSession    = "no-session"
	WhyKeyUnknown   = "no-key"
	WhyOtherKey     = "another-key" // somebody claims another key for the node than the known one
	WhyRemoved      = "removed"     // its host file was deleted here
	WhyNoRSAKey     = "no-rsa-key"  // it speaks tinc 1.0 only, and there are no keys for that
	WhyHandshake    = "handshake-in-progress"
	WhyNoAnswer     = "no-answer" // others say that it is reachable, but it has not answered
	WhyTCPOnlyHere  = "tcp-only-here"
	WhyTCPOnlyThere = "tcp-only-there"
	WhyIndirect     = "indirect-data"
	WhyNoDiscovery  = "no-udp-discovery"
	WhyNoUDPAddress = "no-udp-address"
	WhyUnanswered   = "udp-unanswered"
	WhyNoUDPHere    = "no-udp-here"         // nobody answers this node by UDP
	WhyNoUDPThere   = "no-udp-there"        // others do
	WhyBetween      = "udp-blocked-between" // both answer others, but not each other
	WhySymmetric    = "symmetric-nat"
	WhySilent       = "udp-silent" // it worked, and does not any more
	WhyDegraded     = "direct-path-degraded"
	WhySlow         = "high-latency"
	WhyLossy        = "packet-loss"
	WhySmall        = "low-mtu"
	WhyCompressed   = "compressed"

	WhyNoSecond    = "key-exchange-withheld" // the node announces the second key exchange, but nobody answers
	WhyPostQuantum = "post-quantum-required" // it has no such keys
)

// What is worth mentioning of a path that works.
const (
	farAway    = 150 * time.Millisecond
	manyLost   = 0.05
	smallFrame = 1294 // IPv6's least MTU, as a frame
)

// Found is what was looked up just now to explain the path to a node. The zero value: nothing.
type Found struct {
	Command string             // how the user calls this program for this network; "": tincan
	Heard   map[node.Name]bool // nodes that were asked by UDP, and whether they answered
	NAT     bool               // they see this node at another address than its own
	Seen    []netip.AddrPort   // where they see it
	Relays  int                // nodes through which the node itself was asked by UDP
	Through int                // of these, those that brought its answer without TCP
}

// Unclear tells whether the explanation can be made better by looking further, see [Found].
func (w Why) Unclear() bool {
	return slices.ContainsFunc(w.Reasons, func(r Reason) bool { return r.Code == WhyUnanswered })
}

// why explains the path to a node.
func (rp *reports) why(name node.Name, f Found) Why {
	w := Why{Node: name}
	f.Command = cmp.Or(f.Command, "tincan")
	p := rp.nodes[name]
	switch {
	case p == nil:
		w.add(WhyUnknown, "no node in this network knows %s", name)
		w.Change = "check the name; if it is right, the node has not joined yet: use its invitation there, or import its host file"
	case p == rp.self:
		w.Good = true
		w.add(WhySelf, "%s is this node itself", name)
	case !p.reachable():
		rp.whyUnreachable(&w, p, f)
	default:
		rp.whyReachable(&w, p, f)
	}
	if p != nil && p != rp.self {
		w.Carriers = rp.ladder(p)
		rp.whyKey(&w, p, f)
	}
	return w
}

// whyKey says what is the matter with the key of p.
func (rp *reports) whyKey(w *Why, p *peer, f Found) {
	by, contested := p.rival()
	switch {
	case rp.isOut(p):
		w.Good = false
		w.add(WhyRemoved, "the host file of %s was deleted here, so nothing is sent to it or believed of its key", p.name)
		w.Change = fmt.Sprintf("if it is to come back: %s accept %s, or import its host file", f.Command, p.name)
	case contested:
		w.add(WhyOtherKey, "another key than the one that is known is claimed for %s, through %s", p.name, by)
		w.suggest("ask the owner of %s which key is right; if it is the new one: %s accept %s", p.name, f.Command, p.name)
	}
}

func (w *Why) add(code, format string, args ...any) {
	w.Reasons = append(w.Reasons, Reason{code, fmt.Sprintf(format, args...)})
}

// suggest proposes a change, unless one nearer to the root of the trouble has been found.
func (w *Why) suggest(format string, args ...any) {
	if w.Change == "" {
		w.Change = fmt.Sprintf(format, args...)
	}
}

func (rp *reports) whyUnreachable(w *Why, p *peer, f Found) {
	since := "since this node was started"
	if !p.since().IsZero() {
		since = "for " + max(rp.now.Sub(p.since()), time.Second).Round(time.Second).String()
	}
	w.add(WhyUnreachable, "%s has not been reachable %s", p.name, since)
	if len(rp.links.activeConns()) > 0 {
		if p.howRefused() == notRefused {
			w.add(WhyAway, "no node of the mesh has a connection with %s: it does not run, or its network reaches none of them", p.name)
		} else {
			w.add(WhyAway, "no node of the mesh has a connection with %s", p.name)
		}
		rp.whyNotConnected(w, p)
		w.suggest("start %s; if it runs, look there with: %s why %s", p.name, f.Command, rp.cfg.Name)
		return
	}
	w.add(WhyAlone, "this node has no connection with any other")
	dials := rp.dialer.dialTargets()
	if p.howRefused() != notRefused && !rp.dialer.isDialTarget(p.name) { // it has dialled us
		rp.whyNotConnected(w, p)
	}
	for _, o := range dials[:min(len(dials), maxDialsTold)] {
		rp.whyNotConnected(w, rp.peer(o))
	}
	switch {
	case len(dials) > 0:
		w.suggest("check that %s runs, that its Address is right, and that TCP to it is allowed here and there", dials[0])
	case rp.cfg.AutoConnect:
		w.suggest("tell it where another node is: Address = HOST in that node's host file")
	default:
		w.suggest("choose a node to connect to: ConnectTo = NODE, or AutoConnect = yes")
	}
}

// maxDialsTold are the nodes without a connection of which it is said why.
const maxDialsTold = 3

// whyNotConnected says what became of the attempts to connect with p.
func (rp *reports) whyNotConnected(w *Why, p *peer) {
	switch {
	case p.lastProblem() != "":
		w.add(WhyRefused, "the last attempt to connect with %s failed: %s", p.name, p.lastProblem())
	case rp.dialer.isDialTarget(p.name) && !rp.dialer.hasAnyAddress(p):
		w.add(WhyNoAddress, "no address of %s is known, so it would have to connect to this node", p.name)
	}
	switch p.howRefused() {
	case refusedHere:
		w.suggest("see what this line says; the log of %s may say more", p.name)
	case refusedKey:
		w.suggest("the key in hosts/%s here is not the one that %s has: if it was reinstalled, import its new host file with --force", p.name, p.name)
	case refusedThere:
		w.suggest("see in the log of %s why it does not let this node in; most likely its host file of %s has another key than this node: import the one of this node there, with --force", p.name, rp.cfg.Name)
	}
}

// whyProtected says what protects packets for p, if there is a session, and why by no better keys.
func (rp *reports) whyProtected(w *Why, p *peer) {
	s := p.session()
	w.Encryption = rp.encryption(p)
	switch problem := rp.weakness(p); problem {
	case WhyPostQuantum:
		w.Good = false
		w.add(problem, "no packets are exchanged with %s, which has no post-quantum keys: PostQuantum = require", p.name)
		w.Change = fmt.Sprintf("update %s, or set PostQuantum = yes in its host file here", p.name)
	case WhyNoSecond:
		w.Good = false
		w.add(problem, "%s announces the second key exchange, but its messages do not arrive, there or here", p.name)
		w.suggest("a node on the path may suppress them: connect the two directly, and see the log of %s", p.name)
	default:
		if s.held() {
			w.add(WhyHandshake, "the second key exchange with %s is in progress", p.name)
		}
	}
}

// encryption says what protects packets for p, "" if there is no session, or tinc's.
func (rp *reports) encryption(p *peer) string {
	s := p.session()
	k := s.protection()
	if !rp.cfg.Hybrid || k.Cipher == 0 {
		return ""
	}
	text := k.Cipher.String() + ", "
	if k.PostQuantum {
		return text + "post-quantum keys"
	}
	text += "classical keys"
	switch s.whyStock() {
	case stockOnly:
		text += fmt.Sprintf(" (%s runs tinc or an older tincan)", p.name)
	case notWanted:
		text += fmt.Sprintf(" (%s has PostQuantum = no)", p.name)
	}
	return text
}

// weakness is what is wrong with the keys for packets for p: the code of a reason, "" if nothing is.
func (rp *reports) weakness(p *peer) string {
	s := p.session()
	code := s.whyStock()
	waits := code == WhyHandshake || code == WhyNoSecond
	switch {
	case rp.postQuantum(p.host()) == hybrid.Require && (s.hopByHop() || s.held() && !waits):
		return WhyPostQuantum
	case code == WhyNoSecond:
		return code
	}
	return ""
}

func (rp *reports) whyReachable(w *Why, p *peer, f Found) {
	defer rp.whyProtected(w, p)
	if !p.session().ready() || rp.keyring.passOnly(p) {
		rp.whyNoSession(w, p, f)
		return
	}
	if p.idle() && p.conn() == nil && rp.now.Sub(p.lastActive()) >= keepTrying {
		w.Good = true
		w.add(WhyNoSession, "there has been no packet for %s lately; the first one looks for the best path", p.name)
		return
	}
	switch {
	case p.relay() != nil:
		w.add(WhyRelayed, "packets for %s are relayed by %s, by UDP", p.name, p.relay().name)
		if rp.relays.isDirect(p) {
			rp.whyDegraded(w, p)
			return
		}
	case rp.relays.isDirect(p):
		rp.whyDirect(w, p)
		return
	case rp.reach.effectiveVia(p) != p && rp.reach.effectiveVia(p) != nil:
		w.add(WhyRelayed, "packets for %s are relayed by %s", p.name, rp.reach.effectiveVia(p).name)
	case p.conn() != nil && p.conn().isCarried():
		w.add(WhyTCP, "packets for %s go over the meta connection with it, by a carrier (inside of HTTPS)", p.name)
	case p.conn() != nil:
		w.add(WhyTCP, "packets for %s go over the meta connection with it, by TCP", p.name)
	default:
		how := "over meta connections"
		if rp.forwarding.leavesByUDP(p, minProbe) {
			how = "by UDP"
		}
		w.add(WhyRelayed, "packets for %s are relayed by %s, %s", p.name, p.path().NextHop, how)
	}
	if p.session().hopByHop() {
		w.add(WhyHopByHop, "%s speaks the protocol of tinc 1.0, in which every node on the path decrypts the packets", p.name)
	}
	rp.whyNoUDP(w, p, f)
}

func (rp *reports) whyNoSession(w *Why, p *peer, f Found) {
	why := rp.keyring.whyNotLegacy(p)
	switch {
	case why != "":
		w.add(WhyNoRSAKey, "nothing is sent to %s: %s", p.name, why)
		if rp.cfg.RSAKey == nil {
			w.suggest("make an RSA key with: %s tinc generate-rsa-keys; then import the host file of %s here, and the one of %s there", f.Command, p.name, rp.cfg.Name)
		} else {
			w.suggest("import the host file of %s", p.name)
		}
	case !p.session().hopByHop() && p.key() == nil && p.keyAsked():
		w.add(WhyKeyUnknown, "the public key of %s is not known here, and it has not sent it yet", p.name)
		w.suggest("import the host file of %s", p.name)
	case rp.reach.silent(p):
		w.add(WhyNoAnswer, "others say that %s is reachable, but it does not answer", p.name)
		w.suggest("if %s is off, a member pretends that it has a connection: see %s dump edges | grep %s for who says so", p.name, f.Command, p.name)
	case p.session().pending():
		w.add(WhyHandshake, "a handshake with %s is in progress", p.name)
		w.suggest("wait a few seconds; if it persists, the host file of %s here, or that of %s there, has another key than the node", p.name, rp.cfg.Name)
	default:
		w.Good = true
		w.add(WhyNoSession, "there has been no packet for %s lately; the first one makes a session and looks for the best path", p.name)
	}
}

// whyDirect: packets go directly by UDP. Is that as good as it gets?
func (rp *reports) whyDirect(w *Why, p *peer) {
	u := p.udpState()
	form := ""
	if masked(rp.env, p) {
		form = ", masked"
	}
	w.add(WhyDirect, "packets for %s go directly by UDP to %s%s", p.name, u.addr, form)
	w.Good = true
	if rtt := u.rtt; rtt >= farAway {
		w.add(WhySlow, "high latency: the round trip takes %s", rtt.Round(time.Millisecond))
	}
	if loss := u.loss; loss >= manyLost {
		w.Good = false
		w.add(WhyLossy, "%.0f %% of the probes are lost", 100*loss)
		w.suggest("the line between the two drops packets; if it is yours, look for an overloaded router or a bad radio link")
	}
	if u.fixed && u.passes < smallFrame {
		w.Good = false
		w.add(WhySmall, "packets of more than %d bytes do not pass", u.passes-14)
		w.suggest("raise the MTU of the link between the two that takes only small packets; a tunnel inside of a tunnel is the usual cause. Until then all works, but slower")
	}
	if level := p.session().suite().Compression; level != 0 {
		w.add(WhyCompressed, "%s wants packets to be compressed (level %d), which takes time for each one", p.name, level)
	}
}

// udpState is what is told of the UDP path to a node.
type udpState struct {
	addr   netip.AddrPort
	heard  []netip.AddrPort // other addresses that were reported
	asked  bool             // it was probed
	alive  time.Time        // last answer
	rtt    time.Duration
	loss   float64
	fixed  bool // the search for the MTU has ended with a result
	narrow bool // it has found that hardly anything passes
	passes int  // largest frame known to pass, in bytes
}

// whyDegraded: there is a direct path by UDP, and a relay is better nevertheless.
func (rp *reports) whyDegraded(w *Why, p *peer) {
	s, c := p.directQuality(), p.chosenQuality()
	w.add(WhyDegraded, "the direct path is worse: %s and %.0f %% loss, through %s %s and %.0f %%",
		s.Mean().Round(time.Millisecond), 100*s.Loss(), p.relay().name, c.Mean().Round(time.Millisecond), 100*c.Loss())
	w.suggest("the line between the two is slow or drops packets; as long as it does, the relay is the best path")
}

// whyNoUDP: packets do not go directly by UDP.
func (rp *reports) whyNoUDP(w *Why, p *peer, f Found) {
	opts := p.path().Options
	switch {
	case rp.cfg.TCPOnly:
		w.add(WhyTCPOnlyHere, "this node was told to use only TCP")
		w.suggest("remove TCPOnly = yes from tinc.conf or from the host file of this node")
		return
	case p.host().TCPOnly:
		w.add(WhyTCPOnlyHere, "the host file of %s on this node says that only TCP is to be used", p.name)
		w.suggest("remove TCPOnly = yes from the host file of %s here", p.name)
		return
	case opts&wire.TCPOnly != 0:
		w.add(WhyTCPOnlyThere, "%s, or the node that connects it, uses only TCP", p.name)
		w.suggest("remove TCPOnly = yes on %s", p.name)
		return
	case rp.cfg.Indirect || opts&wire.Indirect != 0 || p.path().Indirect:
		w.add(WhyIndirect, "IndirectData = yes says that only nodes with a connection may exchange packets directly")
		w.suggest("remove IndirectData = yes, or add a connection between %s and %s (ConnectTo)", rp.cfg.Name, p.name)
		return
	case rp.cfg.NoUDPDiscovery:
		w.add(WhyNoDiscovery, "this node does not look for UDP paths")
		w.suggest("remove UDPDiscovery = no")
		return
	}
	u := p.udpState()
	if p.confirmed() { // it answers, but large packets do not pass yet
		if u.narrow {
			w.add(WhySmall, "UDP between the two passes only for packets of less than %d bytes, which is of no use", pmtu.MinFrame-14)
			w.suggest("a firewall or a tunnel between the two drops larger datagrams; if it is yours, let them pass")
			return
		}
		w.add(WhySmall, "by UDP only packets of up to %d bytes are known to pass so far", max(u.passes-14, 0))
		w.suggest("wait a moment: the largest size is being looked for")
		return
	}
	asked := rp.paths.candidates(p)
	if len(asked) == 0 {
		w.add(WhyNoUDPAddress, "no address is known at which %s might be reached by UDP", p.name)
		w.suggest("add Address = HOST to the host file of %s, if it has a public address", p.name)
		return
	}
	if !u.alive.IsZero() {
		w.add(WhySilent, "%s answered by UDP until %s ago", p.name, rp.now.Sub(u.alive).Round(time.Second))
	}
	w.add(WhyUnanswered, "%s does not answer by UDP at %s", p.name, list(asked))
	heard, tried := rp.udpPeers(f)
	switch {
	case heard == 0 && tried > 1:
		w.add(WhyNoUDPHere, "none of the %d nodes that this one asks answers it by UDP: something here lets no UDP through", tried)
		w.suggest("allow UDP to and from port %d in the firewall of this machine and of its network; %s netcheck tells more", rp.cfg.Port, f.Command)
	case heard > 0 && (p.relay() != nil || f.Through > 0):
		rp.whyBetween(w, p, f)
	case heard > 0 && f.Relays > 0:
		w.add(WhyNoUDPThere, "%d of %d nodes answer this one by UDP, and none of them gets an answer of %s by UDP: something there lets no UDP through", heard, tried, p.name)
		w.suggest("allow UDP to and from port %d in the firewall of %s and of its network", portOf(p), p.name)
	default:
		if heard > 0 {
			w.add(WhyNoUDPThere, "%d of %d nodes answer this one by UDP, so it is the network of %s that blocks it, or the two NATs are incompatible", heard, tried, p.name)
		}
		w.suggest("allow UDP to port %d of this machine, or to port %d of %s, from outside: in the firewall, and by a port forwarded by the router (or UPnP = yes)", rp.cfg.Port, portOf(p), p.name)
	}
}

// whyBetween: this node and p both answer others by UDP, but not each other.
func (rp *reports) whyBetween(w *Why, p *peer, f Found) {
	w.add(WhyBetween, "both answer other nodes by UDP, so it is the routers or firewalls of the two that do not let in each other's packets")
	here, there := f.NAT && manyPorts(f.Seen), rp.seemsSymmetric(p)
	const each = "another port towards each node (symmetric NAT), so other nodes cannot predict it"
	switch {
	case here && there:
		w.add(WhySymmetric, "both routers use %s", each)
	case here:
		w.add(WhySymmetric, "the router here uses %s", each)
	case there:
		w.add(WhySymmetric, "the router of %s seems to use %s", p.name, each)
	}
	if f.NAT || len(f.Seen) == 0 {
		w.suggest("forward UDP port %d of the router here to this machine, or set UPnP = yes; the same at %s would also work", rp.cfg.Port, p.name)
	} else {
		w.suggest("allow UDP to port %d from outside in the firewall of this machine", rp.cfg.Port)
	}
}

// manyPorts tells whether there are several ports of one address in the list.
func manyPorts(seen []netip.AddrPort) bool {
	ports := map[netip.Addr]uint16{}
	for _, a := range seen {
		if port, ok := ports[a.Addr()]; ok && port != a.Port() {
			return true
		}
		ports[a.Addr()] = a.Port()
	}
	return false
}

// seemsSymmetric tells whether others hear p at several ports, apart from those that it
// announces itself.
func (rp *reports) seemsSymmetric(p *peer) bool {
	var seen []netip.AddrPort
	u := p.udpState()
	for _, a := range append(slices.Clone(u.heard), u.addr) {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if a.IsValid() && a.Port() != portOf(p) {
			seen = append(seen, a)
		}
	}
	return manyPorts(seen)
}

// portOf is the UDP port that p announces.
func portOf(p *peer) uint16 {
	if p.path().Prev != nil {
		if a, ok := p.path().Prev.Addr.Addr(); ok {
			return a.Port()
		}
	}
	return 655
}

// udpPeers counts the nodes that answer by UDP, and those that were asked.
func (rp *reports) udpPeers(f Found) (heard, tried int) {
	for _, p := range rp.order {
		if p == rp.self || !p.reachable() || !p.session().ready() {
			continue
		}
		answers, asked := f.Heard[p.name]
		if !asked {
			answers = p.confirmed()
		}
		if answers {
			heard++
		}
		if answers || asked || p.udpState().asked {
			tried++
		}
	}
	return heard, tried
}

func list(addrs []netip.AddrPort) string {
	const most = 6
	var out []string
	for i, a := range addrs {
		if i == most {
			out = append(out, fmt.Sprintf("%d more", len(addrs)-most))
			break
		}
		out = append(out, a.String())
	}
	return strings.Join(out, ", ")
}

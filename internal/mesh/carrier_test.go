package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

var bobsCarrier = Endpoint{Host: "vpn.example", Port: "443", Carrier: "wss://vpn.example/3vBqP0dZ8sLw1yTn"}

// carrierPlayer is alice, who connects to bob. He is at bob.example by TCP, and has a carrier.
type carrierPlayer struct {
	*player
	dials []Dial
	saved []string
}

func newCarrierPlayer(t *testing.T, worked map[node.Name]Worked) *carrierPlayer {
	return newLadderPlayer(t, TCPFirst, worked)
}

func newLadderPlayer(t *testing.T, by Connecting, worked map[node.Name]Worked) *carrierPlayer {
	p := &carrierPlayer{player: newPlayer(t)}
	p.watch = func(effects []Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case Dial:
				p.dials = append(p.dials, e)
			case SaveWorked:
				p.saved = append(p.saved, fmt.Sprint(e.Node, " ", e.Worked.Link))
			}
		}
	}
	p.input("node alice connect=bob")
	p.m.nodes["bob"].trust.host.Carriers = []Endpoint{bobsCarrier}
	p.m.cfg.Connecting = by
	p.m.carriers.remember(worked)
	p.pongs = true
	p.input("wait 1ms")
	return p
}

// dialled is what is dialled since the last call: TCP or carriers, in their order.
func (p *carrierPlayer) dialled() string {
	var all []string
	for _, d := range p.dials {
		var to []string
		for _, e := range append([]Endpoint{d.To}, d.Others...) {
			to = append(to, map[bool]string{true: "carrier", false: "tcp"}[e.Carrier != ""])
		}
		all = append(all, strings.Join(to, "+"))
	}
	p.dials = nil
	return strings.Join(all, ", ")
}

// answers has the last dial answered at one of its endpoints, and bob log in there.
func (p *carrierPlayer) answers(carrier bool) ConnID {
	c := p.greets(carrier)
	p.input(fmt.Sprintf("line %d 0 bob 17.7", c))
	p.input(fmt.Sprintf("secured %d", c))
	p.input(fmt.Sprintf("request %d 4 655 10 700000c", c))
	return c
}

// greets has it answered, and nothing more.
func (p *carrierPlayer) greets(carrier bool) ConnID {
	p.t.Helper()
	d := p.dials[len(p.dials)-1]
	all := append([]Endpoint{d.To}, d.Others...)
	i := slices.IndexFunc(all, func(e Endpoint) bool { return (e.Carrier != "") == carrier })
	if i < 0 {
		p.t.Fatalf("dialled are %v", all)
	}
	p.m.Handle(p.now, Dialed{Conn: d.Conn, To: all[i], Remote: netip.MustParseAddrPort("198.51.100.2:443"), Local: netip.MustParseAddrPort("192.0.2.1:40000")})
	p.flush()
	return d.Conn
}

func (p *carrierPlayer) expect(what, want string) {
	p.t.Helper()
	if got := p.dialled(); got != want {
		p.t.Errorf("%s: dialled %q, want %q", what, got, want)
	}
}

// step lets time pass.
func (p *carrierPlayer) step(d time.Duration) {
	p.input("wait " + d.String())
}

func TestCarriersAreTriedBesideTCP(t *testing.T) {
	p := newCarrierPlayer(t, nil)
	p.expect("at first", "tcp+carrier")
}

func TestWhatWorkedByACarrierIsRememberedAndTCPIsTriedAgain(t *testing.T) {
	p := newCarrierPlayer(t, nil)
	c := p.answers(true)
	p.dialled()
	if !slices.Equal(p.saved, []string{"bob tls"}) {
		t.Errorf("saved: %q", p.saved)
	}
	if e, ok := p.m.graph.Get("alice", "bob"); !ok || e.Addr.String() == "198.51.100.2:655" {
		t.Errorf("the address of the carrier is told as bob's: %v", e.Addr)
	}
	if len(p.m.nodes["bob"].host().Cached) != 0 {
		t.Errorf("it is remembered as one for TCP: %v", p.m.nodes["bob"].host().Cached)
	}
	p.step(50 * time.Second)
	p.expect("in the first minute", "")
	p.step(40 * time.Second)
	if len(p.dials) != 1 {
		t.Fatalf("after that %d dials", len(p.dials))
	}
	p.m.Handle(p.now, Closed{Conn: p.dials[0].Conn, Err: errors.New("no answer")})
	p.flush()
	p.expect("after that", "tcp")
	if p.m.nodes["bob"].conn().id != c {
		t.Error("the connection by the carrier is gone")
	}
	p.step(100 * time.Second)
	p.expect("soon after a failure", "")
	p.step(80 * time.Second)
	if len(p.dials) != 1 {
		t.Fatalf("later %d dials", len(p.dials))
	}
	b := p.answers(false)
	if p.m.nodes["bob"].conn().id != b {
		t.Error("the new connection does not take the place of the other")
	}
	p.step(70 * time.Second)
	if !slices.Equal(p.saved, []string{"bob tls", "bob "}) {
		t.Errorf("saved: %q", p.saved)
	}
}

func TestWhereACarrierWorkedLastItComesFirst(t *testing.T) {
	p := newCarrierPlayer(t, map[node.Name]Worked{"bob": {Link: ByTLS}})
	d := p.dials[0]
	p.expect("at first", "carrier")
	p.m.Handle(p.now, Closed{Conn: d.Conn, Err: errors.New("no answer")})
	p.flush()
	p.expect("when it has failed", "tcp+carrier")
	p.step(10 * time.Millisecond)
	p.m.Handle(p.now, NetworkChanged{Reason: "test"})
	p.flush()
	p.step(10 * time.Millisecond)
	p.expect("in another network", "tcp+carrier")
}

func TestAConnectionThatIsCutOffGivesWayToACarrier(t *testing.T) {
	p := newCarrierPlayer(t, nil)
	c := p.answers(false)
	p.dialled()
	p.step(time.Second)
	p.pongs = false
	p.m.links.ask(p.m.links.conns[c])
	p.flush()
	p.step(1200 * time.Millisecond)
	p.expect("when TCP has fallen silent", "carrier")
}

func TestAGreetingThatIsNotAnsweredGivesWayToACarrierSoon(t *testing.T) {
	p := newCarrierPlayer(t, nil)
	p.greets(false)
	p.dialled()
	p.step(carrierLogin + 100*time.Millisecond)
	p.expect("two seconds after the greeting", "carrier")
}

func TestCarriersThatOthersHaveTold(t *testing.T) {
	p := newCarrierPlayer(t, nil)
	h := &p.m.nodes["bob"].trust.host
	h.Carriers = []Endpoint{bobsCarrier, {Host: "127.0.0.1", Port: "443", Carrier: "wss://127.0.0.1/3vBqP0dZ8sLw1yTn"}}
	if n := len(p.m.carriers.of(p.m.nodes["bob"])); n != 2 {
		t.Errorf("of those in a host file written here %d count", n)
	}
	h.Told = true
	if n := len(p.m.carriers.of(p.m.nodes["bob"])); n != 1 {
		t.Errorf("of those that others have told %d count", n)
	}
}

// Where HTTPS is liked better than TCP it is dialled alone first, and TCP only if that does not work. Then HTTPS is tried again, beside it.
func TestHTTPSFirst(t *testing.T) {
	p := newLadderPlayer(t, TLSFirst, nil)
	d := p.dials[0]
	p.expect("at first", "carrier")
	if d.Timeout > carrierAlone {
		t.Errorf("TCP has to wait for %v", d.Timeout)
	}
	p.m.Handle(p.now, Closed{Conn: d.Conn, Err: errors.New("no answer")})
	p.flush()
	if len(p.dials) != 1 {
		t.Fatalf("after that %d dials", len(p.dials))
	}
	if all := append([]Endpoint{p.dials[0].To}, p.dials[0].Others...); all[0].Carrier != "" || all[1].Carrier == "" {
		t.Errorf("when it has failed, dialled %v", all)
	}
	c := p.answers(false)
	p.dialled()
	if !slices.Equal(p.saved, []string{"bob tcp"}) {
		t.Errorf("saved: %q", p.saved)
	}
	p.step(100 * time.Second)
	if len(p.dials) != 1 || p.m.nodes["bob"].conn().id != c {
		t.Fatalf("a minute later %d dials", len(p.dials))
	}
	b := p.answers(true)
	p.expect("beside TCP", "carrier")
	if p.m.nodes["bob"].conn().id != b {
		t.Error("HTTPS does not take the place of TCP")
	}
	p.step(70 * time.Second)
	if !slices.Equal(p.saved, []string{"bob tcp", "bob "}) {
		t.Errorf("saved: %q", p.saved)
	}
}

// What Carriers does not name is not dialled, not taken, and does not stay after a reload.
func TestOnlyWhatCarriersNames(t *testing.T) {
	p := newLadderPlayer(t, OnlyTLS, map[node.Name]Worked{"bob": {Link: ByTCP}})
	p.expect("with tls alone", "carrier")
	p.step(20 * time.Second) // the attempt has failed, and others
	if got := p.dialled(); strings.Contains(got, "tcp") {
		t.Errorf("with tls alone dialled %s", got)
	}
	p.m.Handle(p.now, Accepted{Conn: 2, Remote: netip.MustParseAddrPort("198.51.100.2:4000")})
	p.flush()
	if p.m.links.conns[2] != nil {
		t.Error("a connection by TCP was taken")
	}
	p.m.Handle(p.now, Accepted{Conn: 4, Remote: netip.MustParseAddrPort("198.51.100.2:4000"), Carrier: true})
	p.flush()
	if p.m.links.conns[4] == nil {
		t.Error("a connection by HTTPS was not taken")
	}

	p = newLadderPlayer(t, OnlyTCP, map[node.Name]Worked{"bob": {Link: ByTLS}})
	c := p.answers(false)
	p.expect("with tcp alone", "tcp")
	cfg := p.m.cfg
	cfg.Connecting = OnlyTLS
	cfg.Hosts = map[node.Name]Host{"bob": *p.m.nodes["bob"].host()}
	p.m.Handle(p.now, Reconfigured{Config: cfg})
	p.flush()
	if p.m.links.conns[c] != nil {
		t.Error("the connection by TCP stays")
	}
}

// why says what has become of each carrier.
func TestTheLadderIsToldOf(t *testing.T) {
	ladder := func(p *carrierPlayer) string {
		p.t.Helper()
		var out []string
		for _, s := range p.m.Why("bob", Found{}).Carriers {
			if s.Text == "" {
				p.t.Errorf("%s is %s, and it does not say why", s.Carrier, s.State)
			}
			out = append(out, fmt.Sprint(s.Carrier, " ", s.State))
		}
		return strings.Join(out, ", ")
	}
	expect := func(p *carrierPlayer, when, want string) {
		p.t.Helper()
		if got := ladder(p); got != want {
			p.t.Errorf("%s: %s", when, got)
		}
	}
	p := newCarrierPlayer(t, nil)
	expect(p, "at first", "masked off, udp standby, tcp trying, tls trying")
	p.answers(true)
	expect(p, "connected by HTTPS", "masked off, udp standby, tcp failed, tls in-use")
	if s := p.m.Carriers(5); len(s) != 4 || s[2].Failures != 1 || s[2].Failed[0].Node != "bob" || s[3].InUse != 1 || !s[0].Off {
		t.Errorf("in sum: %+v", s)
	}
	for _, n := range p.m.Nodes() {
		if n.Name == "bob" && n.Link != ByTLS {
			t.Errorf("the connection is by %q", n.Link)
		}
	}
	p = newLadderPlayer(t, TLSFirst, nil)
	p.answers(true)
	expect(p, "as it should", "masked off, udp standby, tls in-use, tcp standby")
	p = newLadderPlayer(t, OnlyTCP, nil)
	p.m.nodes["bob"].trust.host.Carriers = nil
	p.answers(false)
	expect(p, "without tls", "masked off, udp standby, tcp in-use, tls off")
	p = newCarrierPlayer(t, nil)
	p.m.nodes["bob"].trust.host.Carriers = nil
	p.m.cfg.TCPOnly = true
	expect(p, "without a carrier and UDP", "masked off, udp off, tcp trying, tls unavailable")
}

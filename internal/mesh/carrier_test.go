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

func newCarrierPlayer(t *testing.T, carried map[node.Name]bool) *carrierPlayer {
	p := &carrierPlayer{player: newPlayer(t)}
	p.watch = func(effects []Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case Dial:
				p.dials = append(p.dials, e)
			case SaveCarried:
				p.saved = append(p.saved, fmt.Sprint(e.Node, " ", e.Carried))
			}
		}
	}
	p.input("node alice connect=bob")
	p.m.nodes["bob"].trust.host.Carriers = []Endpoint{bobsCarrier}
	p.m.carriers.remember(carried)
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
	if !slices.Equal(p.saved, []string{"bob true"}) {
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
	if !slices.Equal(p.saved, []string{"bob true", "bob false"}) {
		t.Errorf("saved: %q", p.saved)
	}
}

func TestWhereACarrierWorkedLastItComesFirst(t *testing.T) {
	p := newCarrierPlayer(t, map[node.Name]bool{"bob": true})
	d := p.dials[0]
	p.expect("at first", "carrier")
	p.m.Handle(p.now, Closed{Conn: d.Conn, Err: errors.New("no answer")})
	p.flush()
	p.expect("when it has failed", "tcp")
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

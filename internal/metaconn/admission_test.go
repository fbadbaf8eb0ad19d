package metaconn

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// yard is an admission under virtual time.
type yard struct {
	*testing.T
	*admission
	now     time.Time
	evicted map[string]int
}

func newYard(t *testing.T, known ...string) *yard {
	var list []netip.Addr
	for _, k := range known {
		list = append(list, netip.MustParseAddr(k))
	}
	return &yard{t, newAdmission(10, list), time.Unix(1000, 0), map[string]int{}}
}

// come lets a connection from an address come in. It is nil if there was no room.
func (y *yard) come(from string) (*visitor, time.Duration) {
	v, wait, victim := y.enter(netip.MustParseAddr(from), y.now, func() { y.evicted[from]++ })
	if victim != nil {
		victim.evict()
	}
	if n := y.admission.len(); n > maxPending {
		y.Fatalf("%d connections are held", n)
	}
	return v, wait
}

// flood lets connections from an address come, so many a second, for a while. They say nothing.
func (y *yard) flood(rate int, d time.Duration, from func(i int) string, between func()) (in int) {
	var open []*visitor
	for i := range int(d.Seconds() * float64(rate)) {
		y.now = y.now.Add(time.Second / time.Duration(rate))
		for len(open) > 0 && y.now.Sub(open[0].since) > 5*time.Second { // the login took too long
			y.leave(open[0])
			open = open[1:]
		}
		if v, _ := y.come(from(i)); v != nil {
			open = append(open, v)
			in++
		}
		if between != nil {
			between()
		}
	}
	return in
}

func one(addr string) func(int) string { return func(int) string { return addr } }

func many(i int) string { return fmt.Sprintf("100.%d.%d.%d", 64+i>>16&63, i>>8&255, i&255) }

func TestOneAddressThatFloodsHindersNobodyElse(t *testing.T) {
	for name, other := range map[string]string{
		"IPv4": "198.51.100.7", "IPv6": "2001:db8:7::1", "a neighbour": "192.0.2.67",
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			in := y.flood(200, 30*time.Second, one("192.0.2.66"), func() {
				if v, wait := y.come(other); v == nil || wait > 0 {
					t.Fatalf("visitor %v, wait %s", v, wait)
				} else {
					y.leave(v)
				}
				y.now = y.now.Add(100 * time.Millisecond)
			})
			t.Logf("%d of the flood were let in", in)
			if y.evicted[other] > 0 || y.admission.len() > maxEach {
				t.Errorf("%d evicted, %d places taken", y.evicted[other], y.admission.len())
			}
		})
	}
}

// Connections that end at once take no place, and cost a handshake of TCP and a greeting each.
func TestOneAddressThatComesAndGoesHasABudget(t *testing.T) {
	y := newYard(t)
	in := 0
	for range 2000 { // 200 a second
		y.now = y.now.Add(5 * time.Millisecond)
		if v, _ := y.come("192.0.2.66"); v != nil {
			in++
			y.leave(v)
		}
	}
	if most := 10 + 10*(10+int(turnLimit.Seconds())); in > most {
		t.Errorf("%d were let in, at most %d should be", in, most)
	}
}

func TestA64CountsAsOneAddress(t *testing.T) {
	y := newYard(t)
	in := y.flood(200, 10*time.Second, func(i int) string { return fmt.Sprintf("2001:db8::%x", i+1) }, nil)
	if in > 10+10*10+maxEach {
		t.Errorf("%d were let in", in)
	}
}

// Fifty newcomers, or nodes that restart, behind one address.
func TestACrowdBehindOneAddressIsLetInByTurns(t *testing.T) {
	y := newYard(t)
	var longest time.Duration
	for i := range 50 {
		v, wait := y.come("192.0.2.1")
		if v == nil {
			t.Fatalf("connection %d is refused", i)
		}
		if i < 10 && wait > 0 {
			t.Errorf("connection %d waits %s", i, wait)
		}
		longest = max(longest, wait)
	}
	if longest != 4*time.Second {
		t.Errorf("the last one waits %s", longest)
	}
}

func TestWhoHasLoggedInBeforeComesFirst(t *testing.T) {
	for name, arrange := range map[string]func(y *yard){
		"since the start": func(y *yard) {
			v, _ := y.come("198.51.100.7")
			y.prove(v, y.now)
			y.leave(v)
		},
		"before the start": func(y *yard) {
			y.known[netip.MustParsePrefix("198.51.100.7/32")] = time.Time{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			arrange(y)
			y.flood(5000, 10*time.Second, many, nil)
			for i := range 10 {
				v, wait := y.come("198.51.100.7")
				if v == nil || wait > 0 {
					t.Fatalf("connection %d: %v, wait %s", i, v, wait)
				}
				y.flood(5000, 2*time.Second, many, nil)
				if y.evicted["198.51.100.7"] > 0 {
					t.Fatal("it was closed for an unknown address")
				}
				y.leave(v)
			}
		})
	}
}

func TestAFloodFromManyAddressesIsBounded(t *testing.T) {
	y := newYard(t)
	in := y.flood(5000, 10*time.Second, many, nil)
	if all := 10 * unknownShare; in > all*12 {
		t.Errorf("%d unknown addresses were let in within 10 s", in)
	}
	if n := len(y.known); n > 0 {
		t.Errorf("%d addresses are known", n)
	}
}

// A few hundred addresses that hold connections open: a newcomer still gets in and has time to log in.
func TestSilentConnectionsGiveWayToOthers(t *testing.T) {
	y := newYard(t)
	for i := range maxPending {
		if v, _ := y.come(many(i)); v == nil && i < 200 {
			t.Fatalf("connection %d is refused", i)
		}
		y.now = y.now.Add(5 * time.Millisecond)
	}
	y.now = y.now.Add(loginTime)
	v, wait := y.come("198.51.100.7")
	if v == nil || wait > 0 {
		t.Fatalf("%v, wait %s", v, wait)
	}
	y.flood(100, loginTime/2, func(i int) string { return many(1000 + i) }, nil)
	if y.evicted["198.51.100.7"] > 0 {
		t.Error("it had no time to log in")
	}
}

func TestWhoHasProvedItsKeyIsNotEvicted(t *testing.T) {
	y := newYard(t)
	v, _ := y.come("198.51.100.7")
	y.prove(v, y.now)
	for i := range 300 {
		w, _ := y.come(fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
		if w != nil {
			y.prove(w, y.now)
		}
		y.now = y.now.Add(time.Second)
	}
	if y.evicted["198.51.100.7"] > 0 {
		t.Error("evicted")
	}
}

func TestKnownAddressesAreBounded(t *testing.T) {
	y := newYard(t)
	for i := range maxKnown + 10 {
		y.now = y.now.Add(time.Second)
		v, _ := y.come(many(i))
		y.prove(v, y.now)
		y.leave(v)
	}
	if len(y.known) != maxKnown {
		t.Errorf("%d addresses", len(y.known))
	}
	if _, ok := y.known[netip.MustParsePrefix(many(0)+"/32")]; ok {
		t.Error("the oldest is still known")
	}
}

func TestRefusalsAreToldOnceAMinute(t *testing.T) {
	var told []int
	r := refusals{say: func(_ netip.Addr, n int) { told = append(told, n) }}
	now := time.Unix(1000, 0)
	for range 600 {
		r.add(netip.Addr{}, now)
		now = now.Add(200 * time.Millisecond)
	}
	if fmt.Sprint(told) != "[1 300]" || r.total != 600 {
		t.Errorf("told %v of %d", told, r.total)
	}
}

func TestRefusalsAreCountedByAddress(t *testing.T) {
	r := &Table{}
	now := time.Unix(1000, 0)
	for range 5 {
		r.refusals.add(netip.MustParseAddr("192.0.2.7"), now)
	}
	r.refusals.add(netip.MustParseAddr("2001:db8::1"), now)
	r.refusals.add(netip.MustParseAddr("2001:db8::2"), now) // the same /64
	total, from := r.Refused()
	if total != 7 || len(from) != 2 || from[0].Addr.String() != "192.0.2.7" || from[0].Count != 5 || from[1].Count != 2 || !from[1].Last.Equal(now) {
		t.Errorf("%d: %v", total, from)
	}
	for i := range 10 * maxRefusedFrom { // a flood from very many addresses
		r.refusals.add(netip.MustParseAddr(many(i)), now)
	}
	if _, from = r.Refused(); len(from) > maxRefusedFrom || from[0].Count != 5 {
		t.Errorf("%d addresses are counted, the worst %v", len(from), from[0])
	}
}

func (a *admission) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.pending)
}

//go:build linux

package lab

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

// wired is [street] with cables. The one returned is alice's.
func wired(t *testing.T) (alice, bob *Host, link *Link) {
	t.Helper()
	_, _, alice, bob, link = houses(t, (*Router).Cable)
	return alice, bob, link
}

func TestACableCarries(t *testing.T) {
	alice, bob, link := wired(t)
	for _, family := range []string{"ip4", "ip6"} {
		reaches(t, alice, bob.Addr(family))
		reaches(t, bob, alice.Addr(family))
	}
	rate, err := Throughput(alice, bob, bob.Addr("ip4"), 300*time.Millisecond)
	must(t, err)
	t.Logf("%.0f Mbit/s", rate/1e6)
	if rate < 20e6 {
		t.Errorf("only %.0f Mbit/s", rate/1e6)
	}
	must(t, link.Down())
	silent(t, bob, alice.Addr("ip4"))
	must(t, link.Up())
	reaches(t, bob, alice.Addr("ip4"))
	reaches(t, bob, alice.Addr("ip6"))
}

func TestALinkOfTheKernelCannotBeMadeBad(t *testing.T) {
	l := newLab(t)
	internet, err := l.Router("internet")
	must(t, err)
	alice, err := l.Host("alice")
	must(t, err)
	link, err := internet.Attach(alice, "192.0.2.2/24")
	must(t, err)
	if err := link.Delay(time.Second); !errors.Is(err, ErrNoCable) {
		t.Errorf("got %v", err)
	}
	if err := (&Router{Host: alice}).NAT(FullCone); !errors.Is(err, ErrNoCable) {
		t.Errorf("got %v", err)
	}
}

func TestDelay(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, alice, bob.Addr("ip4"))
	best := func() time.Duration { // of three, since this machine may be busy
		rtt := time.Hour
		for range 3 {
			one, err := alice.Ping(bob.Addr("ip4"), 56, time.Second)
			must(t, err)
			rtt = min(rtt, one)
		}
		return rtt
	}
	must(t, link.Delay(40*time.Millisecond))
	if rtt := best(); rtt < 80*time.Millisecond || rtt > 150*time.Millisecond {
		t.Errorf("round trip of %v with 40 ms each way", rtt)
	}
	must(t, link.Quality(Quality{Delay: 40 * time.Millisecond}, ToHost))
	must(t, link.Quality(Quality{}, ToRouter))
	if rtt := best(); rtt < 40*time.Millisecond || rtt > 75*time.Millisecond {
		t.Errorf("round trip of %v with 40 ms one way", rtt)
	}
}

// arrivals sends numbered datagrams from a to b and returns those that came,
// in their order, and when after the first was sent.
func arrivals(t *testing.T, a, b *Host, count, size int, every time.Duration) (got []int, when []time.Duration) {
	t.Helper()
	in, err := b.ListenPacket("udp4", netip.AddrPortFrom(b.Addr("ip4"), 0).String())
	must(t, err)
	defer in.Close()
	out, err := a.Dial(t.Context(), "udp4", in.LocalAddr().String())
	must(t, err)
	defer out.Close()
	began := time.Now()
	go func() {
		for i := range count {
			p := make([]byte, size)
			p[0], p[1] = byte(i>>8), byte(i)
			_, _ = out.Write(p)
			time.Sleep(every)
		}
	}()
	buf := make([]byte, 2000)
	for {
		_ = in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, _, err := in.ReadFrom(buf); err != nil {
			return got, when
		}
		got, when = append(got, int(buf[0])<<8|int(buf[1])), append(when, time.Since(began))
	}
}

func TestWhatACableDoesToPackets(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, alice, bob.Addr("ip4"))
	const count = 400
	send := func(q Quality, size int, every time.Duration) ([]int, []time.Duration) {
		must(t, link.Quality(q, ToRouter))
		return arrivals(t, alice, bob, count, size, every)
	}
	disorder := func(got []int) (n int) {
		for i := 1; i < len(got); i++ {
			if got[i] < got[i-1] {
				n++
			}
		}
		return n
	}

	if got, _ := send(Quality{}, 100, time.Millisecond); len(got) != count || disorder(got) != 0 {
		t.Errorf("a good cable: %d of %d arrive, %d out of order", len(got), count, disorder(got))
	}
	if got, _ := send(Quality{Loss: 25}, 100, time.Millisecond/2); len(got) < count*6/10 || len(got) > count*9/10 {
		t.Errorf("25 %% loss: %d of %d arrive", len(got), count)
	}
	if got, _ := send(Quality{Duplicate: 25}, 100, time.Millisecond/2); len(got) < count*11/10 || len(got) > count*14/10 {
		t.Errorf("25 %% duplication: %d of %d arrive", len(got), count)
	}
	if got, _ := send(Quality{Reorder: 10}, 100, time.Millisecond); len(got) != count || disorder(got) < count/50 {
		t.Errorf("10 %% reordering: %d of %d arrive, %d out of order", len(got), count, disorder(got))
	}
	if got, _ := send(Quality{Delay: 5 * time.Millisecond, Jitter: 10 * time.Millisecond}, 100, time.Millisecond); len(got) != count || disorder(got) != 0 {
		t.Errorf("jitter: %d of %d arrive, %d out of order", len(got), count, disorder(got))
	}
	// 400 kB at 8 Mbit/s take 0.4 s; the queue holds 0.6 s.
	got, when := send(Quality{Rate: 8e6, Queue: 600 * time.Millisecond}, 1000-42, 0)
	if last := when[len(when)-1]; len(got) != count || last < 390*time.Millisecond || last > 700*time.Millisecond {
		t.Errorf("a rate of 8 Mbit/s: %d of %d arrive within %v", len(got), count, last)
	}
	// The queue holds 100 of them.
	if got, _ := send(Quality{Rate: 8e6}, 1000-42, 0); len(got) < 90 || len(got) > 200 {
		t.Errorf("a queue of 0.1 s: %d of %d arrive", len(got), count)
	}
}

func TestACutGoesOneWayOrBoth(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, alice, bob.Addr("ip4"))
	must(t, link.Cut(ToHost))
	if !hears(t, alice, bob, "ip4") || hears(t, bob, alice, "ip4") {
		t.Error("a cut towards alice must stop what goes there, and only that")
	}
	must(t, link.Cut())
	if hears(t, alice, bob, "ip4") {
		t.Error("a cut cable carries")
	}
	must(t, link.Restore())
	reaches(t, bob, alice.Addr("ip4"))
}

func TestABlackHoleTellsNobody(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, alice, bob.Addr("ip4"))
	must(t, link.BlackHole(1280))
	for range 2 { // the second time too: no kernel has learned anything
		if _, err := alice.Ping(bob.Addr("ip4"), 1280-28+1, 150*time.Millisecond); err == nil {
			t.Error("a packet of 1281 bytes passes")
		}
	}
	_, err := alice.Ping(bob.Addr("ip4"), 1280-28, time.Second)
	must(t, err)
	must(t, link.BlackHole(0))
	_, err = alice.Ping(bob.Addr("ip4"), 1400, time.Second)
	must(t, err)
}

// natted is a host inside of a NAT whose uplink is a cable, and two outside.
func natted(t *testing.T, kind NAT) (gate *Router, inside, alice, bob *Host) {
	t.Helper()
	l, internet, alice, bob := street(t)
	gate, err := l.Router("gate")
	must(t, err)
	inside, err = l.Host("inside")
	must(t, err)
	_, err = internet.Cable(gate.Host, "203.0.113.2/24")
	must(t, err)
	_, err = gate.Attach(inside, "10.0.0.2/24")
	must(t, err)
	must(t, gate.NAT(kind))
	return gate, inside, alice, bob
}

// TestNATKinds does what STUN clients do (RFC 5780): it compares where a
// socket is seen, and tries from where it is heard.
func TestNATKinds(t *testing.T) {
	for _, c := range []struct {
		kind                          NAT
		onePort                       bool // for all destinations
		samePort, sameAddr, elsewhere bool // who is let in, after alice's first socket was written to
	}{
		{FullCone, true, true, true, true},
		{AddressRestricted, true, true, true, false},
		{PortRestricted, true, true, false, false},
		{Symmetric, false, true, false, false},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			gate, inside, alice, bob := natted(t, c.kind)
			socket := func(h *Host) net.PacketConn {
				pc, err := h.ListenPacket("udp4", netip.AddrPortFrom(h.Addr("ip4"), 0).String())
				must(t, err)
				t.Cleanup(func() { pc.Close() })
				return pc
			}
			in, a1, a2, b := socket(inside), socket(alice), socket(alice), socket(bob)
			seen := mapped(t, in, a1)
			if seen.Addr() != gate.Addr("ip4") {
				t.Errorf("seen as %v, not as the router", seen)
			}
			if c.onePort && seen.Port() != in.LocalAddr().(*net.UDPAddr).AddrPort().Port() {
				t.Errorf("the port was not kept: %v", seen)
			}
			for _, from := range []struct {
				name   string
				socket net.PacketConn
				heard  bool
			}{{"the same socket", a1, c.samePort}, {"another port", a2, c.sameAddr}, {"another host", b, c.elsewhere}} {
				if got := gets(t, from.socket, in, seen); got != from.heard {
					t.Errorf("%s is heard: %v", from.name, got)
				}
			}
			if again := mapped(t, in, b); (again == seen) != c.onePort {
				t.Errorf("alice sees %v and bob %v", seen, again)
			}
			if again := mapped(t, in, a1); again != seen {
				t.Errorf("alice sees %v, and later %v", seen, again)
			}

			reaches(t, inside, alice.Addr("ip4"))
			silent(t, alice, inside.Addr("ip4"))
			silent(t, alice, gate.Addr("ip4"))
			_, err := Throughput(inside, bob, bob.Addr("ip4"), 20*time.Millisecond)
			must(t, err)

			must(t, gate.ForgetNAT())
			if gets(t, a1, in, seen) {
				t.Error("a NAT that has forgotten all lets somebody in")
			}
			must(t, gate.NATIdle(50*time.Millisecond))
			seen = mapped(t, in, a1)
			time.Sleep(100 * time.Millisecond)
			if gets(t, a1, in, seen) {
				t.Error("somebody is let in after the mapping has ended")
			}
		})
	}
}

// mapped sends a datagram from in to out and returns where out saw it come from.
func mapped(t *testing.T, in, out net.PacketConn) netip.AddrPort {
	t.Helper()
	_, err := in.WriteTo([]byte("hello"), out.LocalAddr())
	must(t, err)
	must(t, out.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, from, err := out.ReadFrom(make([]byte, 10))
	must(t, err)
	return from.(*net.UDPAddr).AddrPort()
}

// gets says whether a datagram from out to the address seen arrives at in.
func gets(t *testing.T, out, in net.PacketConn, seen netip.AddrPort) bool {
	t.Helper()
	_, err := out.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(seen))
	must(t, err)
	must(t, in.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, _, err = in.ReadFrom(make([]byte, 10))
	return err == nil
}

func TestTwoHostsBehindANATDoNotGetTheSamePort(t *testing.T) {
	gate, inside, alice, _ := natted(t, PortRestricted)
	second, err := gate.lab.Host("second")
	must(t, err)
	_, err = gate.Attach(second, "10.0.1.2/24")
	must(t, err)
	out, err := alice.ListenPacket("udp4", "192.0.2.2:0")
	must(t, err)
	defer out.Close()
	var seen []netip.AddrPort
	for _, h := range []*Host{inside, second} {
		in, err := h.ListenPacket("udp4", ":5000")
		must(t, err)
		defer in.Close()
		seen = append(seen, mapped(t, in, out))
		if !gets(t, out, in, seen[len(seen)-1]) {
			t.Errorf("%s does not get the answer", h.Name())
		}
	}
	if seen[0] == seen[1] {
		t.Errorf("both are seen as %v", seen[0])
	}
}

func TestNATTranslatesErrors(t *testing.T) {
	for name, dial := range map[string]func(t *testing.T, inside, alice *Host) net.Conn{ // to a port at which nobody listens
		"of a peer": func(t *testing.T, inside, alice *Host) net.Conn {
			conn, err := inside.Dial(t.Context(), "udp4", netip.AddrPortFrom(alice.Addr("ip4"), 9).String())
			must(t, err)
			return conn
		},
		"of a host inside": func(t *testing.T, inside, alice *Host) net.Conn {
			in, err := inside.ListenPacket("udp4", ":5000")
			must(t, err)
			out, err := alice.ListenPacket("udp4", "192.0.2.2:6000")
			must(t, err)
			seen := mapped(t, in, out)
			in.Close()
			out.Close()
			var conn net.Conn
			must(t, alice.Do(func() error {
				conn, err = net.DialUDP("udp4", &net.UDPAddr{Port: 6000}, net.UDPAddrFromAddrPort(seen))
				return err
			}))
			return conn
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, inside, alice, _ := natted(t, PortRestricted)
			conn := dial(t, inside, alice)
			defer conn.Close()
			_, err := conn.Write([]byte("hello"))
			must(t, err)
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = conn.Read(make([]byte, 10))
			var timeout net.Error
			if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the refusal did not arrive: %v", err)
			}
		})
	}
}

func TestAHostMovesToAnotherNetwork(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, bob, alice.Addr("ip4"))
	old := alice.Addr("ip4")
	for _, to := range []string{"192.0.3.2/24", "192.0.2.2/24"} {
		must(t, link.Move(to))
		if got := alice.Addr("ip4"); netip.PrefixFrom(got, 24).String() != to || alice.Addr("ip6").IsValid() {
			t.Errorf("alice is at %v now", got)
		}
		reaches(t, alice, bob.Addr("ip4"))
		reaches(t, bob, alice.Addr("ip4"))
	}
	must(t, link.Move("192.0.3.2/24"))
	silent(t, bob, old)
}

func TestFlowsNoticeAnInterruption(t *testing.T) {
	alice, bob, link := wired(t)
	reaches(t, alice, bob.Addr("ip4"))
	datagrams, err := Datagrams(alice, bob, bob.Addr("ip4"), 5*time.Millisecond)
	must(t, err)
	defer datagrams.Stop()
	echoes, err := alice.Echo(bob.Addr("ip4"), 5*time.Millisecond)
	must(t, err)
	defer echoes.Stop()
	bytes, err := Stream(alice, bob, bob.Addr("ip4"))
	must(t, err)
	defer bytes.Stop()
	const interruption = 300 * time.Millisecond
	for name, g := range map[string]*Gaps{"datagrams": &datagrams.Gaps, "echoes": &echoes.Gaps, "bytes": &bytes.Gaps} {
		for began := time.Now(); g.LastSent().IsZero() && time.Since(began) < 20*time.Second; time.Sleep(5 * time.Millisecond) {
		}
		time.Sleep(50 * time.Millisecond)
		g.Restart()
		must(t, link.Cut())
		time.Sleep(interruption)
		// What had passed the cable before may have been read late, on a busy machine, and only then it begins.
		for cut := time.Now(); g.Longest() < interruption && time.Since(cut) < 20*time.Second; time.Sleep(time.Millisecond) {
		}
		if now := g.Longest(); now < interruption {
			t.Fatalf("%s: %v since the last arrival, on a cut cable", name, now)
		}
		must(t, link.Restore())
		restored := time.Now()
		// TCP takes up to twice as long to try again.
		for !g.LastSent().After(restored) && time.Since(restored) < 20*time.Second {
			time.Sleep(5 * time.Millisecond)
		}
		if gap := g.Longest(); gap < interruption || gap > 20*time.Second {
			t.Errorf("%s: the longest gap was %v, after an interruption of %v", name, gap, interruption)
		}
		for try := 1; ; try++ { // a machine that is busy for a moment makes gaps of its own
			g.Restart()
			time.Sleep(100 * time.Millisecond)
			if n, gap := g.Arrived(), g.Longest(); n > 0 && gap <= 250*time.Millisecond {
				break
			} else if try == 10 {
				t.Errorf("%s: on a good cable %d arrive, with gaps of %v", name, n, gap)
				break
			}
		}
	}
}

//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m.Run, "LAB_MAY_SKIP", nil) }

func newLab(t *testing.T) *Lab {
	t.Helper()
	l, err := New()
	must(t, err)
	t.Cleanup(l.Close)
	l.LogTo(t.Output())
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// street is a lab with two hosts on one router.
func street(t *testing.T) (l *Lab, internet *Router, alice, bob *Host) {
	t.Helper()
	l, internet, alice, bob, _ = houses(t, (*Router).Attach)
	return l, internet, alice, bob
}

// houses are [street] with links that lay lays. The one returned is alice's.
func houses(t *testing.T, lay func(*Router, *Host, ...string) (*Link, error)) (l *Lab, internet *Router, alice, bob *Host, link *Link) {
	t.Helper()
	l = newLab(t)
	internet, err := l.Router("internet")
	must(t, err)
	alice, err = l.Host("alice")
	must(t, err)
	bob, err = l.Host("bob")
	must(t, err)
	link, err = lay(internet, alice, "192.0.2.2/24", "2001:db8:1::2/64")
	must(t, err)
	_, err = lay(internet, bob, "198.51.100.2/24", "2001:db8:2::2/64")
	must(t, err)
	return l, internet, alice, bob, link
}

func reaches(t *testing.T, from *Host, to netip.Addr) {
	t.Helper()
	_, err := from.Reach(to, 10*time.Second)
	must(t, err)
}

func silent(t *testing.T, from *Host, to netip.Addr) {
	t.Helper()
	if rtt, err := from.Ping(to, 56, 150*time.Millisecond); err == nil {
		t.Fatalf("%s answers %s in %v, but should not", to, from.Name(), rtt)
	}
}

func TestHostsOfOneRouterReachEachOther(t *testing.T) {
	_, _, alice, bob := street(t)
	for _, family := range []string{"ip4", "ip6"} {
		reaches(t, alice, bob.Addr(family))
		reaches(t, bob, alice.Addr(family))
	}
}

func TestHostsDoNotShareTheirFiles(t *testing.T) {
	_, _, alice, bob := street(t)
	for _, path := range []string{"/etc/tinc/x", "/run/x", "/var/run/y", "/var/log/x"} {
		must(t, alice.WriteFile(path, []byte("hers")))
		if _, err := bob.ReadFile(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("bob reads %s of alice: error is %v", path, err)
		}
		out, err := alice.Run("cat", path)
		if must(t, err); out != "hers" {
			t.Errorf("a program of alice reads %q from %s", out, path)
		}
	}
	// The rest of /etc is still there.
	if _, err := alice.Run("test", "-e", "/etc/passwd"); err != nil {
		t.Error(err)
	}
}

func TestWhatARouterBlocksIsDroppedUntilTheRuleIsLifted(t *testing.T) {
	_, internet, alice, bob := street(t)
	for _, family := range []string{"ip4", "ip6"} {
		t.Run(family, func(t *testing.T) {
			udp := func() bool { return hears(t, alice, bob, family) }
			if !udp() {
				t.Fatal("no UDP before it is blocked")
			}
			rule, err := internet.Block(UDP, alice, bob)
			must(t, err)
			if udp() {
				t.Error("UDP passes although it is blocked")
			}
			reaches(t, alice, bob.Addr(family))
			must(t, rule.Lift())
			if !udp() {
				t.Error("no UDP after the rule was lifted")
			}
		})
	}
}

// hears says whether a datagram passes from a to b.
func hears(t *testing.T, a, b *Host, family string) bool {
	t.Helper()
	in, err := b.ListenPacket("udp", net.JoinHostPort(b.Addr(family).String(), "0"))
	must(t, err)
	defer in.Close()
	out, err := a.Dial(t.Context(), "udp", in.LocalAddr().String())
	must(t, err)
	defer out.Close()
	_, err = out.Write([]byte("hello"))
	must(t, err)
	must(t, in.SetReadDeadline(time.Now().Add(150*time.Millisecond)))
	_, _, err = in.ReadFrom(make([]byte, 10))
	return err == nil
}

func TestLossTakesItsShare(t *testing.T) {
	_, internet, alice, bob := street(t)
	_, err := internet.Lose(30, All, alice)
	must(t, err)
	e, err := alice.Echo(bob.Addr("ip4"), time.Millisecond)
	must(t, err)
	time.Sleep(500 * time.Millisecond)
	// A round trip passes the rule twice: half of the echoes come back.
	c := e.Stop()
	if lost := float64(c.Lost()) / float64(c.Sent); lost < 0.3 || lost > 0.7 {
		t.Errorf("%s; wanted about 51 %%", c)
	}
}

func TestALinkThatWasDownComesBack(t *testing.T) {
	l, internet, _, bob := street(t)
	carol, err := l.Host("carol")
	must(t, err)
	link, err := internet.Attach(carol, "203.0.113.2/24", "2001:db8:3::2/64")
	must(t, err)
	for range 2 {
		for _, family := range []string{"ip4", "ip6"} {
			reaches(t, carol, bob.Addr(family))
		}
		must(t, link.Down())
		for _, family := range []string{"ip4", "ip6"} {
			silent(t, bob, carol.Addr(family))
		}
		must(t, link.Up())
	}
}

func TestANarrowLinkDropsWhatIsTooLong(t *testing.T) {
	l, internet, alice, _ := street(t)
	carol, err := l.Host("carol")
	must(t, err)
	link, err := internet.Attach(carol, "203.0.113.2/24")
	must(t, err)
	reaches(t, alice, carol.Addr("ip4"))
	must(t, link.MTU(1400))
	// The first packet is dropped, and tells alice's kernel to cut the second.
	if _, err := alice.Ping(carol.Addr("ip4"), 1380, 200*time.Millisecond); err == nil {
		t.Error("a packet of 1408 bytes passes a link of 1400")
	}
	_, err = alice.Ping(carol.Addr("ip4"), 1380, time.Second)
	must(t, err)
	ifaces, err := carol.Interfaces()
	must(t, err)
	if got := strings.Join(ifaces, " "); got != "lo eth0" {
		t.Errorf("carol has the interfaces %s", got)
	}
}

func TestNATHidesItsHosts(t *testing.T) {
	for _, c := range []struct {
		name      string
		kind      NAT
		samePorts bool
	}{
		{"one port for all destinations", PortRestricted, true},
		{"another port for each destination", Symmetric, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, internet, alice, bob := street(t)
			gate, err := l.Router("gate")
			must(t, err)
			inside, err := l.Host("inside")
			must(t, err)
			_, err = internet.Attach(gate.Host, "203.0.113.2/24")
			must(t, err)
			_, err = gate.Attach(inside, "10.0.0.2/24")
			must(t, err)
			must(t, gate.NAT(c.kind))

			pc, err := inside.ListenPacket("udp", ":0")
			must(t, err)
			defer pc.Close()
			a, b := seenFrom(t, pc, alice), seenFrom(t, pc, bob)
			if a.Addr() != gate.Addr("ip4") || b.Addr() != gate.Addr("ip4") {
				t.Errorf("seen as %v and %v, not as the router", a, b)
			}
			if (a.Port() == b.Port()) != c.samePorts {
				t.Errorf("seen as %v and %v", a, b)
			}
			silent(t, alice, inside.Addr("ip4"))
		})
	}
}

// seenFrom sends a datagram to h and returns the address that it came from.
func seenFrom(t *testing.T, pc net.PacketConn, h *Host) netip.AddrPort {
	t.Helper()
	in, err := h.ListenPacket("udp", netip.AddrPortFrom(h.Addr("ip4"), 0).String())
	must(t, err)
	defer in.Close()
	_, err = pc.WriteTo([]byte("hello"), in.LocalAddr())
	must(t, err)
	must(t, in.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, from, err := in.ReadFrom(make([]byte, 10))
	must(t, err)
	return from.(*net.UDPAddr).AddrPort()
}

func TestProcesses(t *testing.T) {
	_, _, alice, _ := street(t)

	t.Run("a failure shows what was said", func(t *testing.T) {
		_, err := alice.Run("sh", "-c", "echo no luck >&2; exit 3")
		var bad *RunError
		if !errors.As(err, &bad) || bad.Stderr != "no luck\n" || !strings.Contains(err.Error(), "no luck") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("output is kept and can be waited for", func(t *testing.T) {
		p, err := alice.Start("sh", "-c", "echo one; echo ready; exec sleep 100")
		must(t, err)
		must(t, p.WaitLog("^one\nready", 5*time.Second))
		must(t, p.Signal(syscall.SIGTERM))
		if err := p.Wait(time.Second); err == nil || !strings.Contains(err.Error(), "terminated") {
			t.Errorf("got %v", err)
		}
		if err := p.WaitLog("never", time.Second); err == nil {
			t.Error("waited with success for a line that never came")
		}
	})
	t.Run("an orphan is reaped", func(t *testing.T) {
		out, err := alice.Run("sh", "-c", "sleep 0.05 >/dev/null 2>&1 & echo $!")
		must(t, err)
		for end := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat("/proc/" + strings.TrimSpace(out)); err != nil {
				return
			}
			if time.Now().After(end) {
				t.Fatal("a zombie is left")
			}
		}
	})
	t.Run("memory is measured", func(t *testing.T) {
		p, err := alice.Start("sleep", "100")
		must(t, err)
		time.Sleep(20 * time.Millisecond)
		if rss, err := p.RSS(); err != nil || rss < 100<<10 || rss > 100<<20 {
			t.Errorf("got %d bytes, %v", rss, err)
		}
	})
}

func TestCloseEndsTheProcesses(t *testing.T) {
	l, _, alice, _ := street(t)
	p, err := alice.Start("sleep", "100")
	must(t, err)
	l.Close()
	if !p.Ended() {
		t.Error("the process still runs")
	}
}

func TestHTTPBetweenHosts(t *testing.T) {
	_, _, alice, bob := street(t)
	ln, err := bob.Listen("tcp", "[::]:80")
	must(t, err)
	srv := &http.Server{Handler: http.FileServerFS(os.DirFS("testdata"))}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	})
	go srv.Serve(ln)
	defer srv.Close()
	resp, err := alice.HTTP().Get("http://" + bob.Addr("ip4").String() + "/")
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if !bytes.HasPrefix(body, []byte("192.0.2.2:")) {
		t.Errorf("bob was asked by %s", body)
	}
}

func TestThroughput(t *testing.T) {
	_, _, alice, bob := street(t)
	rate, err := Throughput(alice, bob, bob.Addr("ip4"), 200*time.Millisecond)
	must(t, err)
	if rate < 10e6 {
		t.Errorf("only %.0f bit/s", rate)
	}
}

func TestATunnelDeviceCanBeMade(t *testing.T) {
	_, _, alice, _ := street(t)
	must(t, alice.InFiles(func() error {
		f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return f.Close()
	}))
}

func TestNamesOfHostsAreChecked(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"", "9x", "two words", "averylongname", "Alice"} {
		if _, err := l.Host(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
	_, err := l.Host("alice")
	must(t, err)
	if _, err := l.Host("alice"); err == nil {
		t.Error("the same name is accepted twice")
	}
}

func TestAllButOnePortIsBlocked(t *testing.T) {
	_, internet, alice, bob := street(t)
	_, err := internet.Block(NotTCP, alice)
	must(t, err)
	_, err = internet.Block(OtherTCP(443), alice)
	must(t, err)
	connects := func(port string) bool {
		ln, err := bob.Listen("tcp", net.JoinHostPort(bob.Addr("ip4").String(), port))
		must(t, err)
		defer ln.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		conn, err := alice.Dial(ctx, "tcp", ln.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	if !connects("443") || connects("442") {
		t.Error("TCP passes by other ports than 443, or not by that")
	}
	if hears(t, alice, bob, "ip4") {
		t.Error("UDP passes")
	}
}

// What a program of the lab writes below /etc stays in the lab, also as root: units of systemd
// on one host only, and the files of the machine cannot be changed.
func TestHostsDoNotChangeTheMachine(t *testing.T) {
	l := newLab(t)
	a, err := l.Host("a")
	must(t, err)
	b, err := l.Host("b")
	must(t, err)
	if out, err := a.Run("sh", "-c", "mkdir -p /etc/systemd/system && echo unit >/etc/systemd/system/lab-test.service"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := b.ReadFile("/etc/systemd/system/lab-test.service"); err == nil {
		t.Error("a unit of one host is on another one, too")
	}
	must(t, a.InFiles(func() error {
		f, err := os.OpenFile("/etc/passwd", os.O_WRONLY, 0) // and nothing is written
		if err == nil {
			t.Error("a host can change the machine's /etc/passwd")
			return f.Close()
		}
		return nil
	}))
}

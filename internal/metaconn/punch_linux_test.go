package metaconn

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"tincan/internal/config"
	"tincan/internal/mesh"
)

// shared is a listener on loopback whose port can be dialled from.
func shared(t *testing.T) (*net.TCPListener, uint16) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tcp := l.(*net.TCPListener)
	if err := Share(tcp); err != nil {
		t.Fatal(err)
	}
	return tcp, addrPort(l.Addr()).Port()
}

func TestDialFromThePortThatIsListenedAt(t *testing.T) {
	a, b := newHost(t, "alice", nil), newHost(t, "bob", nil)
	_, port := shared(t)
	a.Do(mesh.Dial{Conn: 1, Node: "bob", To: endpoint(b.addr), From: port, Timeout: patience})
	if e := expect[mesh.Dialed](a); e.Local.Port() != port {
		t.Errorf("dialled from %s, not from port %d", e.Local, port)
	}
	if e := expect[mesh.Accepted](b); e.Remote.Port() != port {
		t.Errorf("connection from %s, not from port %d", e.Remote, port)
	}
}

// Who listens by mistake where we do must hear of it, as ever.
func TestASharedPortIsTaken(t *testing.T) {
	_, port := shared(t)
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	if l, err := net.Listen("tcp", at.String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another could listen at %s: %v", at, err)
		if err == nil {
			l.Close()
		}
	}
}

// As long as the other end has not dialled, its NAT may refuse.
func TestRefusalsDoNotEndAnAttemptTogether(t *testing.T) {
	a := newHost(t, "alice", nil)
	_, port := shared(t)
	to := closedPort(t)
	a.Do(mesh.Dial{Conn: 1, To: endpoint(to), From: port, Timeout: patience})
	time.Sleep(50 * time.Millisecond)
	l, err := net.Listen("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expect[mesh.Dialed](a)

	to = closedPort(t)
	a.Do(mesh.Dial{Conn: 3, To: endpoint(to), From: port, Timeout: 500 * time.Millisecond})
	begun := time.Now()
	if e := expect[mesh.Closed](a); e.Err == nil || time.Since(begun) < 400*time.Millisecond {
		t.Errorf("ended after %s: %v", time.Since(begun), e.Err)
	}
}

func TestNotTogetherThroughAProxy(t *testing.T) {
	a := newHost(t, "alice", func(c *Config) { c.Proxy = config.Proxy{Kind: config.HTTPProxy, Host: "127.0.0.1", Port: "1"} })
	a.Do(mesh.Dial{Conn: 1, To: endpoint(closedPort(t)), From: 1, Timeout: patience})
	if e := expect[mesh.Closed](a); e.Err == nil {
		t.Error("no error")
	}
}

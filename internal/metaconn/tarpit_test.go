package metaconn

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"tincan/internal/mesh"
)

// call dials h, says something and returns the connection.
func call(h *host, text string) (net.Conn, mesh.ConnID) {
	h.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		h.Fatal(err)
	}
	return c, expect[mesh.Accepted](h).Conn
}

// open tells whether c stays open for d. Whatever comes in meanwhile is an error unless
// something was said before.
func open(t *testing.T, c net.Conn, d time.Duration) bool {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(d))
	b, err := io.ReadAll(c)
	if len(b) > 0 {
		t.Errorf("the peer was told %q", b)
	}
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func (h *host) inTarpit() int {
	h.tarpit.mu.Lock()
	defer h.tarpit.mu.Unlock()
	return len(h.tarpit.held)
}

// refuse lets the host's protocol core refuse what the peer has said.
func (h *host) refuse(id mesh.ConnID) {
	h.Helper()
	expect[mesh.Line](h)
	h.Do(mesh.CloseConn{Conn: id, Reason: "who is that?", Trap: true})
}

func TestRefusedConnectionsAreHeldInSilence(t *testing.T) {
	for name, x := range map[string]struct {
		text  string
		after func(h *host, id mesh.ConnID)
	}{
		"refused by the protocol core": {"0 mallory 17.7\n", (*host).refuse},
		"too late": {"", func(h *host, id mesh.ConnID) {
			h.Do(mesh.CloseConn{Conn: id, Reason: "the login took too long", Trap: true})
		}},
		"a first line without end": {strings.Repeat("x", 2200), func(h *host, _ mesh.ConnID) { expect[mesh.Closed](h) }},
		"garbage instead of KEX": {"0 bob 17.7\n\x00\x01\x80x", func(h *host, id mesh.ConnID) {
			expect[mesh.Line](h)
			h.secureWith(id, "bob", false)
			if e := expect[mesh.Closed](h); e.Conn != id || e.Err == nil {
				h.Errorf("%+v", e)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "alice", nil)
			goroutines := runtime.NumGoroutine()
			c, id := call(h, x.text)
			x.after(h, id)
			wait(t, "the connection is put aside", func() bool { return h.inTarpit() == 1 })
			if strings.Contains(name, "KEX") { // our own has left already
				c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("closed at once: %v", err)
				}
			} else if !open(t, c, 100*time.Millisecond) {
				t.Error("closed at once")
			}
			io.WriteString(c, "0 bob 17.7\n") // nobody listens
			h.quiet()
			if n := h.admission.len(); n != 0 {
				t.Errorf("%d places before login are taken", n)
			}
			wait(t, "its goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
			h.Close()
			if open(t, c, patience) {
				t.Error("it outlives the table")
			}
		})
	}
}

func TestTheTarpitIsBounded(t *testing.T) {
	h := newHost(t, "alice", nil)
	var all []net.Conn
	for i := range 3 * tarpitSize {
		c, id := call(h, "0 mallory 17.7\n")
		h.refuse(id)
		wait(t, "the connection is put aside", func() bool { return h.inTarpit() == min(i+1, tarpitSize) && h.admission.len() == 0 })
		all = append(all, c)
	}
	for i, c := range all[:2*tarpitSize] {
		if open(t, c, patience) {
			t.Errorf("connection %d is still open", i)
		}
	}
	for i, c := range all[2*tarpitSize:] {
		if !open(t, c, 10*time.Millisecond) {
			t.Errorf("connection %d is closed, and it is one of the newest", 2*tarpitSize+i)
		}
	}
}

func TestNobodyStaysInTheTarpit(t *testing.T) {
	h := newHost(t, "alice", nil)
	h.tarpit.keep = 200 * time.Millisecond
	c, id := call(h, "hello\n")
	h.refuse(id)
	if begin := time.Now(); open(t, c, patience) || time.Since(begin) < 100*time.Millisecond {
		t.Errorf("held for %s, want 200 ms", time.Since(begin))
	}
	wait(t, "the tarpit is empty", func() bool { return h.inTarpit() == 0 })
}

// A peer that is authenticated, or cannot be, sees the end at once.
func TestWhoIsNotHeld(t *testing.T) {
	t.Run("closed by the protocol core for another reason", func(t *testing.T) {
		h := newHost(t, "alice", nil)
		c, id := call(h, "0 bob 17.7\n")
		expect[mesh.Line](h)
		h.Do(mesh.CloseConn{Conn: id, Reason: "our own connection to it is being made"})
		if open(t, c, patience) {
			t.Error("it stays open")
		}
	})
	t.Run("who hangs up", func(t *testing.T) {
		h := newHost(t, "alice", nil)
		c, _ := call(h, "0 b")
		c.(*net.TCPConn).CloseWrite()
		if open(t, c, patience) {
			t.Error("it stays open")
		}
		expect[mesh.Closed](h)
	})
	t.Run("who has proved who it is", func(t *testing.T) {
		h := newHost(t, "alice", nil)
		x, _ := visit(h)
		x.record("21 20").flush(0)
		expect[mesh.Closed](h)
		x.Conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, x.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it stays open")
		}
	})
	t.Run("whom we have dialled", func(t *testing.T) {
		a, b := newHost(t, "alice", nil), newHost(t, "bob", nil)
		a.Do(mesh.Dial{Conn: 1, Node: "bob", To: endpoint(b.addr), Timeout: patience})
		expect[mesh.Dialed](a)
		expect[mesh.Accepted](b)
		a.Do(mesh.CloseConn{Conn: 1, Reason: "dialled bob, but mallory answered", Trap: true})
		expect[mesh.Closed](b)
	})
}

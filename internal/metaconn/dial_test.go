package metaconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tincan/internal/config"
	"tincan/internal/fixture"
	"tincan/internal/mesh"
)

// closing is a connection of which only the end counts.
type closing struct {
	stream
	closed *atomic.Int32
}

func (c closing) Close() error { c.closed.Add(1); return nil }

func TestTheFirstAddressThatAnswersIsTaken(t *testing.T) {
	type answer struct {
		after time.Duration
		ok    bool
	}
	for name, c := range map[string]struct {
		answers []answer // of 192.0.2.0, .1, ...
		winner  int      // -1: none
		took    time.Duration
		begun   int
	}{
		"the first is quick":                  {[]answer{{10 * time.Millisecond, true}, {0, true}}, 0, 10 * time.Millisecond, 1},
		"the first is dead":                   {[]answer{{5 * time.Second, false}, {20 * time.Millisecond, true}}, 1, 270 * time.Millisecond, 2},
		"the first refuses":                   {[]answer{{10 * time.Millisecond, false}, {10 * time.Millisecond, true}}, 1, 20 * time.Millisecond, 2},
		"the first is slower than the second": {[]answer{{400 * time.Millisecond, true}, {20 * time.Millisecond, true}}, 1, 270 * time.Millisecond, 2},
		"three are dead":                      {[]answer{{5 * time.Second, false}, {5 * time.Second, false}, {5 * time.Second, false}, {0, true}}, 3, 750 * time.Millisecond, 4},
		"all are dead":                        {[]answer{{5 * time.Second, false}, {5 * time.Second, false}}, -1, 5250 * time.Millisecond, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := New(Config{Self: "alice"})
				defer table.Close()
				var to []mesh.Endpoint
				for i := range c.answers {
					to = append(to, mesh.Endpoint{Host: fmt.Sprintf("192.0.2.%d", i), Port: "655"})
				}
				var begun, closed atomic.Int32
				start := time.Now()
				r, err := table.race(t.Context(), to, 5*time.Second, headStart, false, func(ctx context.Context, at place) attempted {
					begun.Add(1)
					a := c.answers[at.addr.Addr().As4()[3]]
					time.Sleep(a.after) // also when it is not needed any more: it must be closed then
					if !a.ok {
						return attempted{nil, at, errors.New("dead")}
					}
					return attempted{closing{nil, &closed}, at, nil}
				})
				took := time.Since(start)
				switch {
				case c.winner < 0 && (err == nil || strings.Count(err.Error(), "dead") != len(to)):
					t.Errorf("the error is %v", err)
				case c.winner >= 0 && (err != nil || r.at.Endpoint != to[c.winner]):
					t.Errorf("%v was taken, %v", r.at, err)
				}
				if took != c.took || int(begun.Load()) != c.begun {
					t.Errorf("%d attempts took %v; want %d and %v", begun.Load(), took, c.begun, c.took)
				}
				time.Sleep(10 * time.Second)
				var late int32
				for i, a := range c.answers[:c.begun] {
					if a.ok && i != c.winner {
						late++
					}
				}
				if closed.Load() != late {
					t.Errorf("%d of %d late connections were closed", closed.Load(), late)
				}
			})
		})
	}
}

func TestASlowNameDoesNotHoldUpTheAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := New(Config{Self: "alice"})
		defer table.Close()
		table.lookup = func(ctx context.Context, _, _ string) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }
		to := []mesh.Endpoint{{Host: "slow.example", Port: "655"}, {Host: "192.0.2.1", Port: "655"}}
		start, closed := time.Now(), atomic.Int32{}
		r, err := table.race(t.Context(), to, 5*time.Second, headStart, false, func(ctx context.Context, at place) attempted {
			return attempted{closing{nil, &closed}, at, nil}
		})
		if err != nil || r.at.Host != "192.0.2.1" || time.Since(start) != 0 {
			t.Errorf("%v, %v after %v", r.at, err, time.Since(start))
		}
	})
}

func TestBothFamiliesByTurns(t *testing.T) {
	for in, want := range map[string]string{
		"::1 ::2 192.0.2.1 192.0.2.2": "::1 192.0.2.1 ::2 192.0.2.2",
		"192.0.2.1 ::1 ::2":           "192.0.2.1 ::1 ::2",
		"192.0.2.1 192.0.2.2":         "192.0.2.1 192.0.2.2",
		"":                            "",
	} {
		var addrs []netip.Addr
		for _, s := range strings.Fields(in) {
			addrs = append(addrs, netip.MustParseAddr(s))
		}
		if got := strings.Trim(fmt.Sprint(byTurns(addrs)), "[]"); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// connectProxy is an HTTP proxy, which knows the name bob.test.
func connectProxy(t *testing.T) (host, port string) {
	return fixture.Server(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", strings.Replace(r.Host, "bob.test", "127.0.0.1", 1))
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return
		}
		defer out.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(out, c)
		io.Copy(c, out)
	})
}

func TestConnectionsByWayOfAProxy(t *testing.T) {
	host, port := connectProxy(t)
	viaHTTP := config.Proxy{Kind: config.HTTPProxy, Host: host, Port: port}
	b := newHost(t, "bob", nil)
	to := endpoint(b.addr)
	for _, c := range []struct {
		name   string
		via    config.Proxy
		host   string
		remote string
	}{
		{"an address", viaHTTP, "127.0.0.1", b.addr},
		{"a name that only the proxy knows", viaHTTP, "bob.test", "invalid AddrPort"},
		{"a program", config.Proxy{Kind: config.ExecProxy, Command: "exec cat"}, "127.0.0.1", b.addr},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newHost(t, "alice", func(cfg *Config) { cfg.Proxy = c.via })
			a.lookup = func(context.Context, string, string) ([]netip.Addr, error) { return nil, errors.New("no DNS here") }
			a.Do(mesh.Dial{Conn: 1, Node: "bob", To: mesh.Endpoint{Host: c.host, Port: to.Port}, Timeout: patience})
			d := expect[mesh.Dialed](a)
			if d.Remote.String() != c.remote || d.To.Host != c.host {
				t.Errorf("%+v", d)
			}
			if c.via.Kind == config.ExecProxy { // the program repeats what it gets
				a.Do(mesh.SendLine{Conn: 1, Text: "0 alice 17.7"})
				if l := expect[mesh.Line](a); l.Text != "0 alice 17.7" {
					t.Errorf("got %q", l.Text)
				}
				a.Do(mesh.CloseConn{Conn: 1})
				return
			}
			id := expect[mesh.Accepted](b).Conn
			a.Do(mesh.SendLine{Conn: 1, Text: "0 alice 17.7"})
			if l := expect[mesh.Line](b); l.Conn != id || l.Text != "0 alice 17.7" {
				t.Errorf("got %+v", l)
			}
			b.Do(mesh.CloseConn{Conn: id})
			expect[mesh.Closed](a)
		})
	}
}

func TestAProxyThatRefusesIsNamedInTheError(t *testing.T) {
	host, port := connectProxy(t)
	a := newHost(t, "alice", func(cfg *Config) {
		cfg.Proxy = config.Proxy{Kind: config.HTTPProxy, Host: host, Port: port, User: "alice", Password: "hunter2"}
	})
	a.Do(mesh.Dial{Conn: 1, To: endpoint(closedPort(t)), Timeout: patience})
	if err := expect[mesh.Closed](a).Err; err == nil || !strings.Contains(err.Error(), "proxy: it refused to connect, with status 502") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error is %v", err)
	}
	a.SetProxy(config.Proxy{})
	a.Do(mesh.Dial{Conn: 3, To: endpoint(closedPort(t)), Timeout: patience})
	if err := expect[mesh.Closed](a).Err; err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("without the proxy the error is %v", err)
	}
}

func TestWhatTheProxySaysIsToldWithTheNode(t *testing.T) {
	said := make(chan string, 10)
	a := newHost(t, "alice", func(cfg *Config) {
		cfg.Proxy = config.Proxy{Kind: config.ExecProxy, Command: "echo no route >&2"}
		cfg.ProxySays = func(node, address, line string) { said <- node + " " + address + " " + line }
	})
	a.Do(mesh.Dial{Conn: 1, Node: "bob", To: mesh.Endpoint{Host: "192.0.2.1", Port: "655"}, Timeout: patience})
	select {
	case got := <-said:
		if got != "bob 192.0.2.1:655 no route" {
			t.Errorf("said %q", got)
		}
	case <-time.After(patience):
		t.Error("nothing was said")
	}
}

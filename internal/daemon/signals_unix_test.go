//go:build unix

package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tincan/internal/control"
)

func TestSignals(t *testing.T) {
	noLeaks(t)
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a")
	a.add("hosts/a", "Subnet = 10.1.0.0/24")
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	c := b.client()
	eventually(t, "they are connected", func() bool { return b.sees(c, "a") })
	send := func(s syscall.Signal) {
		t.Helper()
		must(t, syscall.Kill(os.Getpid(), s))
	}
	send(syscall.SIGPIPE) // ends nothing
	send(syscall.SIGHUP)
	eventually(t, "both have reloaded", func() bool { return a.said("configuration reloaded") && b.said("configuration reloaded") })
	send(syscall.SIGUSR1)
	send(syscall.SIGUSR2)
	eventually(t, "the report is complete", func() bool { return b.said("End of connections.") && b.said("End of subnet list.") })
	// Other news may come between the lines of a report.
	lines := slices.DeleteFunc(b.lines(), func(line string) bool {
		return strings.HasPrefix(line, "session with ") || strings.HasPrefix(line, "learned ") || strings.Contains(line, " is reached ")
	})
	text := strings.Join(lines, "\n") + "\n"
	for _, want := range []string{
		`Connections:\n a at 127\.0\.0\.1 port \d+ options 7[159d]0000c socket \d+ status 0100 outbuf 0/0/0\nEnd of connections\.\n`,
		`Statistics for dummy dummy:\n total bytes in:           0\n total bytes out:          0\nNodes:\n`,
		`Nodes:\n a at 127\.0\.0\.1 port \d+ cipher 0 digest 0 maclength 0 compression 0 options 7[159d]0000c status 08[0-9a-f]{2} nexthop a via a pmtu \d+ \(min \d+ max \d+\)\n` +
			` b at MYSELF cipher 0 digest 0 maclength 0 compression 0 options 7[159d]0000c status 0058 nexthop b via b pmtu 1518 \(min 0 max 1518\)\nEnd of nodes\.\n`,
		`Edges:\n a to b at 127\.0\.0\.1 port \d+ options 7[159d]0000c weight \d+\n b to a at .*\nEnd of edges\.\n`,
		`Subnet list:\n ff:ff:ff:ff:ff:ff#10 owner \(broadcast\)\n(.*\n)* 10\.1\.0\.0/24#10 owner a\n(.*\n)*End of subnet list\.\n`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the report has nothing like\n%s\nbut\n%s", want, text)
		}
	}
	a.stop()
	eventually(t, "b dials in vain", func() bool { return b.said("next attempt") })
	before := strings.Count(strings.Join(b.lines(), "\n"), "connecting to a")
	send(syscall.SIGALRM)
	eventually(t, "b dials again", func() bool { return strings.Count(strings.Join(b.lines(), "\n"), "connecting to a") > before })
}

func TestSIGTERM(t *testing.T) {
	noLeaks(t)
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	a := newNode(t, "a")
	stopping := false
	err := Run(ctx, Options{
		Layout: a.layout, Control: true, Signals: true,
		Ready: func(d *Daemon) {
			if !d.Alive() {
				t.Error("it is ready and not alive")
			}
			must(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
		},
		Stopping: func() { stopping = true },
	})
	if err != nil || !stopping {
		t.Errorf("error %v, stopping: %v", err, stopping)
	}
	if left := a.files(); len(left) != 4 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAReloadChangesTheLogLevel(t *testing.T) {
	noLeaks(t)
	for _, debug := range []int{0, 1} {
		ctx, stop := context.WithCancel(t.Context())
		a := newNode(t, "a", "LogLevel = 3")
		err := Run(ctx, Options{Layout: a.layout, Control: true, Debug: debug, Ready: func(*Daemon) {
			go func() {
				defer stop()
				c, err := control.Dial(ctx, a.layout.PidFile)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				level := func(when string, with, without int) {
					want := without
					if debug == 0 {
						want = with
					}
					if err := c.Reload(); err != nil {
						t.Error(err)
					}
					if got, err := c.SetDebug(-1); err != nil || got != want {
						t.Errorf("debug level %d: %s it is %d (%v), want %d", debug, when, got, err, want)
					}
				}
				level("at first", 3, 1)
				c.SetDebug(5)
				level("after it was set by hand", 5, 5)
				a.replace("tinc.conf", "LogLevel = 3", "LogLevel = 2")
				level("after a change of the file", 2, 5)
			}()
		}})
		stop()
		must(t, err)
	}
}

func TestSocketsThatAreHandedOver(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	a.replace("hosts/a", "Port = 0", "Port = 700")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, a.tryStart(Options{Listeners: []net.Listener{l}}))
	list, err := a.client().Nodes("")
	must(t, err)
	if list[0].Address.Port != "700" {
		t.Errorf("it announces port %s, not that of the configuration", list[0].Address.Port)
	}
	b := newNode(t, "b", "ConnectTo = a")
	a.knows(b)
	b.knows(a)
	b.start()
	c := b.client()
	eventually(t, "b has connected to the socket", func() bool { return b.sees(c, "a") })
	a.stop()
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the socket is still open")
	}
}

func TestASocketThatIsHandedOverForBothFamilies(t *testing.T) {
	for _, c := range []struct{ network, family, want string }{
		{"tcp", "any", "[:: 0.0.0.0]"},
		{"tcp", "ipv6", "[::]"},
		{"tcp6", "any", "[::]"},
		{"tcp4", "any", "[0.0.0.0]"},
	} {
		a := newNode(t, "a", "AddressFamily = "+c.family)
		address := "[::]:0"
		if c.network == "tcp4" {
			address = "0.0.0.0:0"
		}
		l, err := net.Listen(c.network, address)
		if err != nil {
			t.Skip(err) // no IPv6 here
		}
		d := &Daemon{opts: Options{Layout: a.layout, Listeners: []net.Listener{l}}, core: newCore(nil), log: newLogger(nil, 0)}
		d.socks = sockets{log: d.log, tcp: d.opts.Listeners, handedOver: true}
		must(t, d.load())
		must(t, d.socks.listen(d.network().Settings, false))
		var got []netip.Addr
		for _, s := range d.socks.paths {
			got = append(got, s.Local().Addr())
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s, AddressFamily %s: UDP at %v, want %s", c.network, c.family, got, c.want)
		}
		d.close()
		d.log.close()
	}
}

func TestSocketsOfTheWrongKind(t *testing.T) {
	noLeaks(t)
	a := newNode(t, "a")
	l, err := net.Listen("unix", a.path("s"))
	must(t, err)
	if err := a.tryStart(Options{Listeners: []net.Listener{l}}); err == nil || !strings.Contains(err.Error(), "does not listen on TCP") {
		t.Errorf("error %v", err)
	}
}

func TestInheritedTakesOnlyWhatIsForThisProcess(t *testing.T) {
	for _, c := range []struct{ name, pid, fds, err string }{
		{"nothing", "", "", ""},
		{"for another process", "1", "1", ""},
		{"no number", "self", "many", "LISTEN_FDS"},
		{"too many", "self", "9", "LISTEN_FDS"},
	} {
		if c.pid == "self" {
			c.pid = strconv.Itoa(os.Getpid())
		}
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDS", c.fds)
		list, err := Inherited()
		if list != nil || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", c.name, list, err)
		}
	}
}

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"tincan/internal/lab"
)

// story is one run of the demo.
type story struct {
	tincan string // path of the binary
	began  time.Time
	nodes  []*node // alice, the inviter, first
}

// node is a host that runs tincan.
type node struct {
	host   *lab.Host
	daemon *lab.Process
	addr   netip.Addr // inside the mesh
}

func (n *node) name() string { return n.host.Name() }

// say prints one line of progress after the time that has passed.
func (s *story) say(format string, args ...any) {
	fmt.Printf("%6.2f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// fail says what went wrong and shows how the daemons' logs end.
func (s *story) fail(err error) {
	s.say("FAILED: %v", err)
	for _, n := range s.nodes {
		if n.daemon != nil {
			fmt.Printf("\nthe end of the log of %s:\n%s", n.name(), indent(n.daemon.Tail(15)))
		}
	}
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("          " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}

// run tells the story.
func (s *story) run(verbose bool) error {
	l, err := lab.New()
	if err != nil {
		return err
	}
	defer l.Close()
	if verbose {
		l.LogTo(os.Stderr)
	}
	for _, part := range []func() error{
		func() error { return s.layOut(l) },
		s.found,
		s.invite,
		s.pingAll,
		s.moveFile,
		s.growTogether,
		s.show,
		s.killInviter,
		s.inviterReturns,
		s.stop,
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// layOut makes the three hosts.
func (s *story) layOut(l *lab.Lab) error {
	internet, err := l.Router("internet")
	if err != nil {
		return err
	}
	for _, h := range []struct{ name, addr string }{
		{"alice", "192.0.2.2/24"}, {"bob", "198.51.100.2/24"}, {"carol", "203.0.113.2/24"},
	} {
		host, err := l.Host(h.name)
		if err != nil {
			return err
		}
		if _, err := internet.Attach(host, h.addr); err != nil {
			return err
		}
		s.nodes = append(s.nodes, &node{host: host})
		s.say("host %s has the address %s", h.name, h.addr)
	}
	return nil
}

// cmd runs a tincan command on a node, and shows it.
func (s *story) cmd(n *node, args ...string) (string, error) {
	shown := strings.Join(args, " ")
	if args[0] == "join" {
		// join writes to the network that -n names, so show it all.
		shown = "join " + args[1][:min(len(args[1]), 24)] + "…"
	}
	s.say("%s$ tincan -n home %s", n.name(), shown)
	return n.host.Run(s.tincan, append([]string{"-n", "home"}, args...)...)
}

// up starts the daemon of a node and waits for its interface.
func (s *story) up(n *node) error {
	s.say("%s$ tincan -n home up", n.name())
	daemon, err := n.host.Start(s.tincan, "-n", "home", "up")
	if err != nil {
		return err
	}
	n.daemon = daemon
	n.addr, err = n.host.TunnelAddr("ip4", 100*time.Millisecond)
	for end := time.Now().Add(5 * time.Second); err != nil && !daemon.Ended() && time.Now().Before(end); {
		n.addr, err = n.host.TunnelAddr("ip4", 100*time.Millisecond)
	}
	if daemon.Ended() {
		return fmt.Errorf("the daemon of %s ended at once (%v)", n.name(), daemon.Wait(0))
	}
	if err != nil {
		return fmt.Errorf("%s does not come up: %w", n.name(), err)
	}
	s.say("%s is up as %s", n.name(), n.addr)
	return nil
}

// found creates the network on the first host.
func (s *story) found() error {
	alice := s.nodes[0]
	if _, err := s.cmd(alice, "init", "alice"); err != nil {
		return err
	}
	return s.up(alice)
}

// invite brings in the others.
func (s *story) invite() error {
	alice := s.nodes[0]
	for _, n := range s.nodes[1:] {
		url, err := s.cmd(alice, "invite", n.name())
		if err != nil {
			return err
		}
		if url = strings.TrimSpace(url); url == "" || strings.ContainsAny(url, " \n") {
			return fmt.Errorf("invite printed %q, which is no URL", url)
		}
		began := time.Now()
		if _, err := s.cmd(n, "join", url); err != nil {
			return err
		}
		if err := s.up(n); err != nil {
			return err
		}
		if _, err := n.host.Reach(alice.addr, 10*time.Second); err != nil {
			return fmt.Errorf("%s does not reach the inviter: %w", n.name(), err)
		}
		s.say("%s is in the mesh: first answer %d ms after it began to join", n.name(), time.Since(began).Milliseconds())
	}
	return nil
}

// pingAll pings every pair, both ways.
func (s *story) pingAll() error {
	for _, a := range s.nodes {
		for _, b := range s.nodes {
			if a == b {
				continue
			}
			if _, err := a.host.Reach(b.addr, 10*time.Second); err != nil {
				return fmt.Errorf("%s does not reach %s: %w", a.name(), b.name(), err)
			}
			rtt, err := a.host.Ping(b.addr, 56, 2*time.Second)
			if err != nil {
				return err
			}
			s.say("ping %-5s → %-5s %4d µs", a.name(), b.name(), rtt.Microseconds())
		}
	}
	return nil
}

// growTogether waits until the two newcomers hold on to each other, so that
// the mesh does not hang on the inviter any more.
func (s *story) growTogether() error {
	bob, carol := s.nodes[1], s.nodes[2]
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list, err := bob.host.Run(s.tincan, "-n", "home", "dump", "edges")
		if err != nil {
			return err
		}
		edge := func(a, b *node) bool { return strings.Contains("\n"+list, "\n"+a.name()+" to "+b.name()+" ") }
		if edge(bob, carol) && edge(carol, bob) { // both have activated it: two that dial each other close one connection
			s.say("bob and carol have connected to each other, without being told to")
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("bob and carol do not connect to each other; bob has:\n%s", list)
		}
	}
}

// show prints the mesh as one node sees it.
func (s *story) show() error {
	text, err := s.cmd(s.nodes[2], "status")
	if err != nil {
		return err
	}
	fmt.Print("\n" + indent(text) + "\n")
	return nil
}

// killInviter kills the inviter without warning while the others talk.
func (s *story) killInviter() error {
	alice, bob, carol := s.nodes[0], s.nodes[1], s.nodes[2]
	echoes, err := bob.host.Echo(carol.addr, 20*time.Millisecond)
	if err != nil {
		return err
	}
	s.say("alice$ kill -9 %d", alice.daemon.PID())
	alice.daemon.Kill()
	if _, err := bob.host.Ping(alice.addr, 56, 300*time.Millisecond); err == nil {
		return errors.New("alice still answers although she was killed")
	}
	time.Sleep(3 * time.Second)
	count := echoes.Stop()
	s.say("bob and carol go on talking: %s", count)
	if count.Lost()*10 > count.Sent {
		return errors.New("bob and carol lose more than a tenth of their packets without alice")
	}
	return nil
}

// inviterReturns starts the inviter again and does nothing else.
func (s *story) inviterReturns() error {
	alice := s.nodes[0]
	before := alice.addr
	if err := s.up(alice); err != nil {
		return err
	}
	if alice.addr != before {
		return fmt.Errorf("alice was %s and has come back as %s", before, alice.addr)
	}
	began := time.Now()
	for _, n := range s.nodes[1:] {
		for _, pair := range [][2]*node{{n, alice}, {alice, n}} {
			if _, err := pair[0].host.Reach(pair[1].addr, 30*time.Second); err != nil {
				return fmt.Errorf("after the restart %s does not reach %s: %w", pair[0].name(), pair[1].name(), err)
			}
		}
	}
	s.say("alice is back in the mesh after %d ms", time.Since(began).Milliseconds())
	return nil
}

// stop ends the daemons in the three ways there are, and looks for left-overs.
func (s *story) stop() error {
	alice, bob, carol := s.nodes[0], s.nodes[1], s.nodes[2]
	if _, err := s.cmd(alice, "down"); err != nil {
		return err
	}
	s.say("bob$ ^C")
	if err := bob.daemon.Signal(syscall.SIGINT); err != nil {
		return err
	}
	s.say("carol$ kill %d", carol.daemon.PID())
	if err := carol.daemon.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if err := n.daemon.Wait(10 * time.Second); err != nil {
			return fmt.Errorf("%s does not stop in order: %w", n.name(), err)
		}
		names, err := n.host.Interfaces()
		if err != nil {
			return err
		}
		if got := strings.Join(names, " "); got != "lo eth0" {
			return fmt.Errorf("%s left interfaces behind: %s", n.name(), got)
		}
	}
	s.say("all three stopped and left no interface behind")
	return nil
}

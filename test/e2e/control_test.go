//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/lab"
)

// remote is somebody's tinc command on the node whose daemon it talks with.
type remote struct {
	*node
	program []string
}

// run runs a command and returns both of its streams and whether it did well.
func (r remote) run(args ...string) (out, said string, good bool) {
	r.w.Helper()
	line := slices.Concat(r.program, []string{"-n", "home"}, args)
	out, err := r.Run(line[0], line[1:]...)
	var bad *lab.RunError
	if errors.As(err, &bad) {
		said = bad.Stderr
	} else {
		r.w.must(err)
	}
	return out, said, err == nil
}

// does runs a command that must do well, and returns its results.
func (r remote) does(args ...string) string {
	r.w.Helper()
	out, said, good := r.run(args...)
	if !good {
		r.w.Fatalf("%v failed: %s%s", args, out, said)
	}
	return out
}

// prints checks that the results of a command hold all these texts.
func (r remote) prints(args string, want ...string) {
	r.w.Helper()
	out := r.does(strings.Fields(args)...)
	for _, text := range want {
		if !strings.Contains(out, text) {
			r.w.Errorf("%s: %q is missing in\n%s", args, text, out)
		}
	}
}

// follows starts a command that goes on and on.
func (r remote) follows(args ...string) *lab.Process {
	r.w.Helper()
	line := slices.Concat(r.program, []string{"-n", "home"}, args)
	p, err := r.Start(line[0], line[1:]...)
	r.w.must(err)
	return p
}

// TestControlOfTheOther has each program's command talk with the other's daemon.
func TestControlOfTheOther(t *testing.T) {
	t.Parallel()
	needTinc(t)
	ours := []string{os.Getenv(binaryVar), "tinc"}
	real := []string{filepath.Join(tincDir, "sbin", "tinc")}
	for name, c := range map[string]struct {
		program  []string
		daemon   kind
		connects bool // the daemon knows how to connect when asked
	}{
		"tinc controls tincan": {real, tincan, true},
		"tincan controls tinc": {ours, tinc11, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.static(site{name: "hub", kind: c.daemon}, site{name: "leaf", connect: []string{"hub"}})
			hub, leaf := remote{n[0], c.program}, n[1]
			upAll(n...)
			w.allReach("ip4", n...)
			leaf.talksDirectly(hub.node)

			looking(hub, leaf)
			following(hub, leaf)
			changing(hub, leaf, c.connects)
			stopping(hub)
		})
	}
}

func looking(hub remote, leaf *node) {
	w := hub.w
	w.Helper()
	if pid := strings.TrimSpace(hub.does("pid")); pid != strconv.Itoa(hub.daemon.PID()) {
		w.Errorf("pid printed %q, the daemon has %d", pid, hub.daemon.PID())
	}
	hub.prints("dump nodes", "hub id ", " at MYSELF port ", "leaf id ", " nexthop leaf via leaf distance 1 ")
	hub.prints("dump reachable nodes", "hub id ", "leaf id ")
	hub.prints("dump edges", "hub to leaf at ", "leaf to hub at ")
	hub.prints("dump subnets", "10.7.0.1 owner hub\n", "fd07::2 owner leaf\n", "ff:ff:ff:ff:ff:ff owner (broadcast)\n")
	hub.prints("dump connections", "leaf at ", "<control> at localhost port unix ")
	hub.prints("dump graph", "graph {\n", ` "leaf" -- "hub" [w = `)
	hub.prints("dump digraph", "digraph {\n", ` "hub" -> "leaf" [w = `, ` "leaf" -> "hub" [w = `)
	hub.prints("list nodes", "leaf id ")
	hub.prints("info hub", "Node:         hub\n", "Reachability: can reach itself\n", "Subnets:      ")
	w.eventually("the hub has confirmed UDP, too", patience, func() bool {
		out, _, _ := hub.run("info", "leaf")
		return strings.Contains(out, "udp_confirmed")
	})
	hub.prints("info leaf", "Node:         leaf\n", "Online since: ", "Status:       validkey visited reachable sptps udp_confirmed\n", "Edges:        hub\n", " 10.7.0.2")
	hub.prints("info 10.7.0.2", "Subnet: 10.7.0.2\nOwner:  leaf\n")
	hub.prints("get Name", "hub\n")
	for args, want := range map[string]string{
		"info nobody": "Unknown node nobody", "info 192.0.2.1": "Unknown address 192.0.2.1", "dump nothing": "Unknown dump type",
	} {
		if _, said, good := hub.run(strings.Fields(args)...); good || !strings.Contains(said, want) {
			w.Errorf("%s: good %v, said %q", args, good, said)
		}
	}
}

func following(hub remote, leaf *node) {
	w := hub.w
	w.Helper()
	log, pcap := hub.follows("log", "5"), hub.follows("pcap", "60")
	var top *lab.Process
	var err error
	ours := len(hub.program) > 1
	if ours { // ours prints tables where there is no screen
		top, err = hub.Start(hub.program[0], "-n", "home", "top", "--delay=200ms", "--count=3")
	} else { // the real one wants a terminal
		cmd := hub.Command("script", "-qec", strings.Join(append(hub.program, "-n", "home", "top"), " "), "/dev/null")
		cmd.Env = append(os.Environ(), "TERM=vt100")
		top, err = hub.StartCommand(cmd)
	}
	w.must(err)
	ping := func() { _, _ = leaf.Ping(hub.vpn("ip4"), 56, 200*time.Millisecond) }
	if ours { // whose daemon is tinc: its reload closes the connections of commands that have not said who they are yet
		w.eventually("log, pcap and top are connected", patience, func() bool {
			ping()
			return top.Log() != "" && log.Log() != "" && pcap.Log() != ""
		})
	}
	w.eventually("log, pcap and top show something", patience, func() bool {
		ping()
		hub.does("reload") // which the log tells of
		topped := strings.Contains(top.Log(), "leaf") || strings.Contains(top.Log(), "without support for the curses library")
		// tinc's own log prints what it has only when it ends.
		return topped && (!ours || strings.Contains(log.Log(), "Got 'reload' command")) && len(pcap.Log()) > 24+16+60 && log.Log() != ""
	})
	if !strings.Contains(top.Log(), "leaf") {
		w.Log("this tinc was built without top")
	}
	within := patience
	if !ours {
		within = time.Second // some of them take no notice
	}
	for _, p := range []*lab.Process{log, pcap, top} {
		_ = p.Signal(syscall.SIGINT)
		if err := p.Wait(within); err != nil && ours {
			w.Errorf("after Ctrl-C: %v", err)
		}
	}
	capture := []byte(pcap.Log())
	if magic, snaplen := binary.NativeEndian.Uint32(capture), binary.NativeEndian.Uint32(capture[16:]); magic != 0xa1b2c3d4 || snaplen != 60 {
		w.Errorf("the capture begins with % x", capture[:24])
	}
	if n := binary.NativeEndian.Uint32(capture[24+8:]); n == 0 || n > 60 {
		w.Errorf("the first frame has %d bytes", n)
	}
	// The daemon of tinc 1.1pre18 sends its lines without the time.
	if line, _, _ := strings.Cut(log.Log(), "\n"); !ours && (len(line) < 28 || line[4] != '-' || line[13] != ':') {
		w.Errorf("the log has the line %q", line)
	}
}

func changing(hub remote, leaf *node, connects bool) {
	w := hub.w
	w.Helper()
	hub.does("debug", "4")
	hub.does("add", "Subnet", "10.7.1.0/24") // reloads
	w.eventually("the new subnet is known", patience, func() bool { return strings.Contains(leaf.dump("subnets"), "10.7.1.0/24 owner hub") })
	hub.does("del", "Subnet", "10.7.1.0/24")
	hub.does("reload")
	w.eventually("the subnet is gone", patience, func() bool { return !strings.Contains(leaf.dump("subnets"), "10.7.1.0/24") })

	// Without a ConnectTo there is nobody who connects by himself.
	leaf.tincan("del", "ConnectTo")
	w.eventually("the connection is closed", patience, func() bool { return !hub.connected(leaf) })
	hub.does("purge")
	if _, said, good := hub.run("disconnect", "leaf"); good || !strings.Contains(said, "Could not disconnect leaf") {
		w.Errorf("disconnect without connection: good %v, said %q", good, said)
	}
	if _, said, good := hub.run("connect", "leaf"); good != connects || !good && !strings.Contains(said, "Could not connect to leaf") {
		w.Errorf("connect: good %v, said %q", good, said)
	}
	hub.does("add", "ConnectTo", "leaf")
	hub.does("retry")
	w.eventually("they are connected again", patience, func() bool { return hub.connected(leaf) })
	hub.does("del", "ConnectTo") // also closes it, where it was this that had made it
	if hub.connected(leaf) {
		_, _, _ = hub.run("disconnect", "leaf")
	}
	w.eventually("disconnected", patience, func() bool { return !hub.connected(leaf) })
}

func stopping(hub remote) {
	w := hub.w
	w.Helper()
	hub.does("stop")
	w.must(hub.daemon.Wait(patience))
	for _, args := range []string{"pid", "reload", "dump nodes", "log", "pcap", "retry", "debug 1"} {
		if _, said, good := hub.run(strings.Fields(args)...); good || !strings.Contains(said, "Could not open pid file") {
			w.Errorf("%s without daemon: good %v, said %q", args, good, said)
		}
	}
}
